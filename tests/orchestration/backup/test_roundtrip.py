"""What was backed up comes back bit by bit, in the same place or in another."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from data import state
from data.errors import UserError
from data.files import sha256
from data.places import Places
from orchestration import verifying
from orchestration.backup import manifest, receipts
from orchestration.backup.restoring import restore
from orchestration.backup.taking import backup
from serving import manifests, routes
from serving.ledger import Ledger
from serving.records import Records
from tests.orchestration.backup.homes import filled, signed_again, version


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


def rows(file: Path) -> list[object]:
    with closing(sqlite3.connect(file)) as database:
        names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table' order by 1")]
        return [database.execute(f'select * from "{name}" order by 1').fetchall() for name in names]


def test_all_of_it_comes_back_in_another_place(places: Places, kept: Path, other: Places) -> None:
    """Models, keys with their mode, MLflow's files, data and online values are bit-equal; ledger and records say the same and go on."""
    before, ids = files(places.home), [one.id for one in Records.at(places.home).predictions("co2")]
    promoted = Ledger.at(places.home).champion("co2")
    backup(places, kept)
    shutil.rmtree(places.home)
    done = restore(other, kept)

    after = files(other.home)
    same = [path for path in before if path.startswith(("models/co2/1/", "mlflow/artifacts", "dvc/cache", "keys", "features"))]
    assert len(same) == 8
    assert {path: after.get(path) for path in same} == {path: before[path] for path in same}
    assert (other.home / "keys" / "signing.pem").stat().st_mode & 0o777 == 0o600
    assert (other.home / "keys").stat().st_mode & 0o777 == 0o700
    assert rows(other.home / "feast" / "co2" / "online.db") == [[(b"\x01", "f_1", b"\x02")]]
    assert Ledger.at(other.home).champion("co2") == promoted
    assert Records.at(other.home).find(ids[-1]) != []
    assert [one.id for one in Records.at(other.home).predictions("co2")] == ids
    assert (other.store("co2") / "dataset.parquet").read_bytes() == b"0123456789" * 300
    told = Ledger.at(other.home).history("co2", "restored")
    assert [(one.version, one.payload["backup"]) for one in told] == [("1", done.manifest.name)]
    assert [one for one in verifying.everything(other) if one.state == "bad"] == []


def test_nothing_names_the_place_of_before(places: Places, kept: Path, other: Places) -> None:
    """No restored file says where the home was; a manifest names the model's folder where it is, and no route leads to a server."""
    (places.home / "dagster").mkdir()
    backup(places, kept)
    restore(other, kept)
    old = str(places.home).encode()
    assert [path for path in other.home.rglob("*") if path.is_file() and old in path.read_bytes()] == []
    assert old not in (other.root / ".dvc" / "config.local").read_bytes()
    manifest = manifests.read(manifests.file(other.home, "co2", "1"))
    assert manifests.argument(manifest, "--model_dir") == str(other.models("co2", "1"))
    [route] = routes.read(other.home).values()
    assert (route.url, route.model, route.sample) == (None, None, 0.5)


def test_what_is_of_a_moment_is_left_out(places: Places, kept: Path) -> None:
    """Addresses, logs, leases and Feast's registry are not kept; half-written files are not either."""
    (places.home / "features" / ".published.json.a1b2c3_d").write_text("half")
    taken = backup(places, kept)
    names = {one.path for one in taken.manifest.files}
    assert not {path for path in names if "services.json" in path or "logs" in path or "registry" in path or "a1b2c3" in path}
    assert {"project/dvc.lock", "home/ledger.db", "home/models/co2/1/model.onnx", "home/keys/signing.pem"} <= names


def test_a_second_backup_costs_no_room_and_stands_alone(places: Places, kept: Path, other: Places) -> None:
    """What did not change is one file on the disk; the backup before can be deleted, and the second restores."""
    first = backup(places, kept)
    version(places, "2")
    second = backup(places, kept)
    assert second.linked > 10
    assert second.copied < first.copied
    assert (second.folder / "home/models/co2/1/model.onnx").stat().st_ino == (
        first.folder / "home/models/co2/1/model.onnx"
    ).stat().st_ino
    assert backup(places, kept, full=True).linked == 0
    for folder in kept.iterdir():
        if folder.is_dir() and folder != second.folder:
            shutil.rmtree(folder)
    restore(other, kept)
    champion = Ledger.at(other.home).champion("co2")
    assert champion is not None
    assert champion.version == "2"


def test_a_changed_file_of_the_same_time_and_size_is_no_old_one(places: Places, kept: Path) -> None:
    """A file replaced by another one with its old time is copied: the inode tells."""
    backup(places, kept)
    file = places.home / "features" / "co2" / "published.json"
    told = file.stat()
    beside = file.with_name("new")
    beside.write_text(file.read_text().replace("x", "y"))
    os.utime(beside, ns=(told.st_atime_ns, told.st_mtime_ns))
    beside.replace(file)
    taken = backup(places, kept)
    assert "y" in (taken.folder / "home/features/co2/published.json").read_text()


def test_a_state_is_not_overwritten_unasked(places: Places, kept: Path, tmp_path: Path) -> None:
    """A restore over a state is refused; with --replace that state lies beside, whole, and so does the other dvc.lock."""
    taken = backup(places, kept)
    version(places, "2")
    (places.root / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    with pytest.raises(UserError, match="there is a state already"):
        restore(places, kept)
    assert Ledger.at(places.home).release("co2").champion == "2"
    done = restore(places, taken.folder, replace=True)
    assert Ledger.at(places.home).release("co2").champion == "1"
    assert done.aside is not None
    assert Ledger.at(done.aside).release("co2").champion == "2"
    assert "dataset@co2" in (places.root / "dvc.lock").read_text()
    assert [file.name for file in places.root.glob("dvc.lock.before-*")] != []
    assert any("dvc.lock" in note for note in done.notes)


def test_workloads_come_back_and_none_is_overwritten(places: Places, kept: Path, other: Places) -> None:
    """A workload that the clone does not have is put back and known to DVC; one whose text differs stays as it is here."""
    defs = places.defs("co2").read_text()
    places.defs("mine").parent.mkdir()
    places.defs("mine").write_text(defs.replace("name: co2", "name: mine"))
    backup(places, kept)
    other.defs("co2").write_text(defs + "# mine\n")
    done = restore(other, kept)
    assert other.defs("mine").read_text() == places.defs("mine").read_text()
    assert "mine" in (other.root / "orchestration/workloads/index.yaml").read_text()
    assert other.defs("co2").read_text().endswith("# mine\n")
    assert sorted(note.split()[0] for note in done.notes) == ["it", "orchestration/workloads/co2/defs.yaml", "the"]


def test_a_newer_state_is_neither_kept_nor_restored(places: Places, kept: Path, other: Places) -> None:
    """What a newer AI Prime made is left to it."""
    backup(places, kept)
    state.write(places.home, state.VERSION + 1)
    with pytest.raises(UserError, match="this AI Prime knows up to"):
        backup(places, kept)
    state.write(places.home, state.VERSION)
    newest = backup(places, kept).folder
    told = manifest.read(newest)
    signed_again(newest, replace(told, schema=state.VERSION + 1))
    with pytest.raises(UserError, match="the backup is of version"):
        restore(other, newest)
    assert not other.home.exists()


def test_nothing_is_backed_up_into_itself(places: Places) -> None:
    """A destination in the home is refused, and so is a home without a state."""
    with pytest.raises(UserError, match="inside of what it is of"):
        backup(places, places.home / "backups")
    with pytest.raises(UserError, match="no state to keep"):
        backup(Places(root=places.root, home=places.home.parent / "none"), places.home.parent / "kept")


def test_receipts_lie_beside_every_backup(places: Places, kept: Path, tmp_path: Path) -> None:
    """A receipt of an erasure is carried to each folder that this home was backed up to; one that cannot be reached is named."""
    backup(places, kept)
    backup(places, tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    (places.home / "receipts").mkdir()
    (places.home / "receipts" / "7.json").write_text("{}")
    assert receipts.spread(places.home) == [tmp_path / "gone"]
    assert (kept / "receipts" / "7.json").read_text() == "{}"


def test_restores_do_not_disturb_each_other(tmp_path: Path, places: Places, kept: Path) -> None:
    """Two homes backed up into one folder are told apart by what they hold."""
    backup(places, kept)
    elsewhere = filled(tmp_path / "elsewhere")
    version(elsewhere, "2")
    second = backup(elsewhere, kept)
    assert manifest.newest(kept) == second.folder
    assert manifest.read(second.folder).home == str(elsewhere.home)
