"""What was forgotten after a backup is forgotten again when that backup is restored, wherever the restore was cut off."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from assets import forgetting
from assets.platform import Platform
from data import forgotten
from data.errors import UserError
from data.files import sha256
from data.places import Places
from orchestration import erasure, opening
from orchestration.backup import erasures, manifest, placing, restoring
from orchestration.backup.restoring import restore
from orchestration.backup.taking import backup
from serving.ledger import Ledger
from serving.records import Records
from tests.orchestration.backup.homes import filled, signed_again
from tests.serving.records.samples import prediction


@pytest.mark.parametrize("beside", [True, False])
def test_a_restore_forgets_again(
    places: Places, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    """The receipt is found beside the backup, or in the folder that is named; the restored records no longer hold the entity."""
    monkeypatch.setenv("AIPRIME_HOME", str(places.home))
    monkeypatch.chdir(places.root)
    shutil.rmtree(places.home / "feast")  # no store of Feast's own making
    records = Records.at(places.home)
    asked = prediction(version="1", entities=("atlantis",), request=b'{"instances": [{"station": "atlantis"}]}')
    records.append([asked])
    records.close()
    backup(places, kept)
    told = erasure.forget(places, "atlantis", "co2")
    assert told["not_copied_to"] == []
    assert [one.request for one in Records.at(places.home).find(asked.id)] == [b""]
    carried = tmp_path / "carried"
    shutil.copytree(kept / "receipts", carried)
    if not beside:
        shutil.rmtree(kept / "receipts")
    shutil.rmtree(places.home)

    done = restore(places, kept, receipts_from=None if beside else carried)
    assert done.forgotten == 1
    assert [one.request for one in Records.at(places.home).find(asked.id)] == [b""]
    assert Records.at(places.home).verify() is None
    spec = forgetting.workloads_with_entities(places, "co2")[0]
    assert not forgetting.find(Platform(), spec, "atlantis").predictions


@pytest.fixture
def asked(places: Places, kept: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a prediction about an entity that was forgotten after a backup; the receipt lies in the home and beside the backup."""
    monkeypatch.setenv("AIPRIME_HOME", str(places.home))
    monkeypatch.chdir(places.root)
    shutil.rmtree(places.home / "feast")
    records = Records.at(places.home)
    one = prediction(version="1", entities=("atlantis",), request=b'{"instances": [{"station": "atlantis"}]}')
    records.append([one])
    records.close()
    backup(places, kept)
    erasure.forget(places, "atlantis", "co2")
    return one.id


class Died(BaseException):
    """As a kill: nobody catches it."""


def _dies(*_: object, **__: object) -> None:
    raise Died


def _request(places: Places, number: str) -> list[bytes]:
    return [one.request for one in Records.at(places.home).find(number)]


@pytest.mark.parametrize("cut", ["_project", "_told", "sealing.seal", "erasures.again"])
def test_up_forgets_what_a_cut_off_restore_did_not(
    places: Places, kept: Path, asked: str, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    """Whatever comes after the home is in its place and dies: receipt and tombstone are there, and the next start forgets, once."""
    with monkeypatch.context() as patched:
        patched.setattr(f"orchestration.backup.restoring.{cut}", _dies)
        with pytest.raises(Died):
            restore(places, kept, replace=True)
    assert [one.workload for one in forgotten.tombstones(places.home)] == ["co2"]
    assert len(list((places.home / "receipts").glob("*.json"))) == 1
    assert _request(places, asked) != [b""]
    opening.prepare(places)
    assert _request(places, asked) == [b""]
    assert len(Ledger.at(places.home).history("co2", "forgotten")) == 1
    before = Ledger.at(places.home).newest()
    opening.prepare(places)
    assert Ledger.at(places.home).newest() == before


def test_an_error_afterwards_says_that_the_home_is_in_its_place(
    places: Places, kept: Path, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails once the home was replaced does not pass for a restore that changed nothing."""

    def fails(*_: object) -> None:
        raise UserError("the cache is gone", next_step="mend it")

    with monkeypatch.context() as patched:
        patched.setattr(restoring, "_project", fails)
        with pytest.raises(UserError, match="in its place, and then: the cache is gone") as raised:
            restore(places, kept, replace=True)
    assert "aiprime up forgets" in str(raised.value)
    opening.prepare(places)
    assert _request(places, asked) == [b""]


def _flip(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[60] ^= 1
    file.write_bytes(raw)


def _empty(file: Path) -> None:
    file.write_bytes(b"{}")


_BAD: dict[str, Callable[[Path], None]] = {"changed": _flip, "none": _empty}


@pytest.mark.parametrize("where", ["home", "beside", "named"])
@pytest.mark.parametrize("bad", _BAD)
def test_a_receipt_that_does_not_hold_changes_nothing(
    places: Places, kept: Path, asked: str, tmp_path: Path, where: str, bad: str
) -> None:
    """Wherever it lies, it is named before anything is put into place: the home is the one that was there."""
    named = tmp_path / "named"
    shutil.copytree(kept / "receipts", named)
    if where != "beside":
        shutil.rmtree(kept / "receipts")
    if where != "home":
        shutil.rmtree(places.home / "receipts")
    folder = {"home": places.home / "receipts", "beside": kept / "receipts", "named": named}[where]
    file = next(folder.glob("*.json"))
    _BAD[bad](file)
    before = places.home.stat().st_ino
    with pytest.raises(UserError, match="receipt of an erasure does not hold") as raised:
        restore(places, kept, replace=True, receipts_from=named if where == "named" else None)
    assert str(file) in str(raised.value)
    assert places.home.stat().st_ino == before
    assert placing.asides(places.home) == []
    assert _request(places, asked) == [b""]


def test_a_receipt_of_another_home_changes_nothing(places: Places, kept: Path, asked: str) -> None:
    """Who it is about cannot be told with this backup's secret: refused before anything is put into place."""
    folder = next(one for one in kept.iterdir() if one.name.startswith("2"))
    told = manifest.read(folder)
    key = folder / "home" / "keys" / "forgetting.key"
    key.write_bytes(secrets.token_bytes(32))
    files = tuple(replace(one, sha256=sha256(key)) if one.path.endswith("forgetting.key") else one for one in told.files)
    signed_again(folder, replace(told, files=files))
    with pytest.raises(UserError, match="made with another key"):
        restore(places, kept, replace=True)
    assert placing.asides(places.home) == []
    assert _request(places, asked) == [b""]


def test_a_folder_of_receipts_that_is_not_there_is_said(places: Places, kept: Path, asked: str, tmp_path: Path) -> None:
    """A mistyped --receipts forgets nobody unseen."""
    with pytest.raises(UserError, match="no such folder of receipts"):
        restore(places, kept, replace=True, receipts_from=tmp_path / "carryed")


def test_receipts_of_a_home_that_was_put_beside_are_found(places: Places, kept: Path, asked: str) -> None:
    """Cut off between the renames, the old home with the only receipt lies beside: the next restore forgets by it."""
    shutil.rmtree(kept / "receipts")
    places.home.rename(places.home.with_name(f"{places.home.name}.before-20260101T000000Z"))
    assert restore(places, kept).forgotten == 1
    assert _request(places, asked) == [b""]


def test_what_is_not_there_is_looked_for_once(places: Places, kept: Path, tmp_path: Path, asked: str) -> None:
    """A restored state that knows nothing of the entity has a record of it too: the next start does not look through everything again."""
    older = Places(root=places.root, home=places.home)
    shutil.rmtree(older.home)
    filled_before = filled(tmp_path / "before")
    shutil.rmtree(filled_before.home / "feast")
    shutil.copytree(next(kept.glob("2*")) / "home" / "keys", filled_before.home / "keys", dirs_exist_ok=True)
    filled_before.home.rename(older.home)
    (older.home / "receipts").mkdir()
    shutil.copy(next((kept / "receipts").glob("*.json")), older.home / "receipts")
    assert len(erasures.due(older)) == 1
    opening.forget_again(older)
    assert erasures.due(older) == []
    [told] = Ledger.at(older.home).history("co2", "forgotten")
    assert "nothing of it was found" in told.payload["reason"]
