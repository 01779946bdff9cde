"""A backup that is not what it was when it was finished is refused, and nothing is changed (fault 85)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data.errors import UserError
from data.places import Places
from orchestration import verifying
from orchestration.backup import manifest
from orchestration.backup.restoring import restore
from orchestration.backup.taking import backup
from tests.orchestration.backup.homes import signed_again


def _flip(folder: Path) -> None:
    file = folder / "home/models/co2/1/model.onnx"
    raw = bytearray(file.read_bytes())
    raw[2500] ^= 1
    file.write_bytes(raw)


def _truncate(folder: Path) -> None:
    file = folder / "home/ledger.db"
    file.write_bytes(file.read_bytes()[:-4096])


def _delete(folder: Path) -> None:
    (folder / "home/keys/signing.pem").unlink()


def _add(folder: Path) -> None:
    (folder / "home/models/co2/1/extra.py").write_text("")


def _link(folder: Path) -> None:
    file = folder / "home/models/co2/1/model.json"
    file.unlink()
    file.symlink_to("/etc/passwd")


def _unfinish(folder: Path) -> None:
    (folder / manifest.FINISHED).unlink()


def _rewrite(folder: Path) -> None:
    file = folder / manifest.MANIFEST
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 2').replace('"mode": 420', '"mode": 511'))


def _truncated_manifest(folder: Path) -> None:
    file = folder / manifest.MANIFEST
    file.write_text(file.read_text()[:-50])


def _outside(folder: Path) -> None:
    """Whoever wrote this one wants a file elsewhere."""
    told = manifest.read(folder)
    bad = manifest.Kept("home/../../../evil", "0" * 64, 0, 0o644, 0, 0)
    signed_again(folder, replace(told, files=(*told.files, bad)))


def _empty_path(folder: Path) -> None:
    told = manifest.read(folder)
    signed_again(folder, replace(told, files=(*told.files, manifest.Kept("", "0" * 64, 0, 0o644, 0, 0))))


def _another_shape(folder: Path) -> None:
    told = manifest.read(folder)
    bad = manifest.Kept("home/x", "0" * 64, 0, None, 0, 0)  # pyright: ignore[reportArgumentType]
    signed_again(folder, replace(told, files=(*told.files, bad)))


def _broken_chain(folder: Path) -> None:
    """All digests hold: the ledger was broken, the manifest made to fit and signed."""
    import sqlite3
    from contextlib import closing

    from data.files import sha256

    file = folder / "home/ledger.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("update decisions set actor = 'nobody' where sequence = 1")
    told = manifest.read(folder)
    size, digest = file.stat().st_size, sha256(file)
    files = tuple(replace(one, sha256=digest, size=size) if one.path == "home/ledger.db" else one for one in told.files)
    for left in (folder / "home").glob("ledger.db-*"):
        left.unlink()
    signed_again(folder, replace(told, files=files))


_DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a flipped bit": (_flip, r"model\.onnx is changed: sha256"),
    "a truncated file": (_truncate, r"ledger\.db has \d+ bytes"),
    "a missing file": (_delete, r"signing\.pem is missing"),
    "a file more": (_add, r"extra\.py is not in the manifest"),
    "a link": (_link, r"model\.json is missing"),
    "no end": (_unfinish, "no finished backup"),
    "a changed manifest": (_rewrite, "not what the backup ended with"),
    "a cut-off manifest": (_truncated_manifest, "not what the backup ended with"),
    "a path that leads out": (_outside, "no file of a backup"),
    "an empty path": (_empty_path, "no file of a backup"),
    "another shape": (_another_shape, "not of the shape"),
    "a broken chain": (_broken_chain, "broken at 1"),
}


@pytest.mark.parametrize("damage", _DAMAGE)
def test_it_is_refused_and_nothing_changes(places: Places, kept: Path, other: Places, damage: str) -> None:
    """Each kind of damage is named, also by `aiprime verify BACKUP`; no home appears, and no temporary folder stays."""
    taken = backup(places, kept)
    act, said = _DAMAGE[damage]
    act(taken.folder)
    with pytest.raises(UserError, match=said):
        restore(other, taken.folder)
    assert list(other.home.parent.iterdir()) == [other.root]
    assert not (other.root / "dvc.lock").exists()
    assert "bad" in {one.state for one in verifying.of_backup(taken.folder, places.home)}


def test_a_backup_that_is_looked_at_is_left_alone(places: Places, kept: Path) -> None:
    """`aiprime verify BACKUP` says of each chain that it holds, and leaves no file in the backup: it is whole afterwards too."""
    taken = backup(places, kept)
    found = verifying.of_backup(taken.folder, places.home)
    assert [one for one in found if one.state == "bad"] == []
    assert {"ledger's chain", "records's chain"} <= {one.what for one in found}
    manifest.verify(taken.folder)


def test_the_broken_chain_is_named(places: Places, kept: Path) -> None:
    """Where all digests hold and a chain does not, the line names the chain and the place."""
    taken = backup(places, kept)
    _broken_chain(taken.folder)
    [bad] = [one for one in verifying.of_backup(taken.folder, places.home) if one.state == "bad"]
    assert (bad.what, bad.said.split(":")[0]) == ("ledger's chain", "broken at 1")


def test_no_mode_gives_more_than_a_file_s_own_rights(places: Places, kept: Path, other: Places) -> None:
    """A manifest that names setuid gives a file its rwx bits and no more."""
    taken = backup(places, kept)
    told = manifest.read(taken.folder)
    files = tuple(replace(one, mode=one.mode | 0o6000) for one in told.files)
    signed_again(taken.folder, replace(told, files=files))
    assert {one.mode >> 9 for one in manifest.read(taken.folder).files} == {0}
    restore(other, taken.folder)
    assert (other.home / "models/co2/1/model.onnx").stat().st_mode & 0o6000 == 0


def test_a_folder_without_backups_is_said(tmp_path: Path, other: Places) -> None:
    """A folder that holds no backup, or does not exist, is a mistake that is named."""
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="no finished backup"):
            restore(other, folder)


def test_a_flipped_bit_in_a_linked_file_is_found_in_each_backup(places: Places, kept: Path) -> None:
    """What several backups share is hashed for each of them; the next backup copies it anew, and is whole."""
    first, second = backup(places, kept), backup(places, kept)
    assert (second.folder / "home/models/co2/1/model.onnx").samefile(first.folder / "home/models/co2/1/model.onnx")
    _flip(first.folder)
    for one in (first, second):
        with pytest.raises(UserError, match=r"model\.onnx is changed: sha256"):
            manifest.verify(one.folder)
        assert [found.what for found in verifying.of_backup(one.folder, places.home) if found.state == "bad"] == ["backup"]
    manifest.verify(backup(places, kept).folder)


def test_what_rots_unseen_is_not_taken_for_a_new_copy(places: Places, kept: Path) -> None:
    """A file whose source was written anew, with the same bytes, is linked only once the earlier copy was hashed again."""
    first = backup(places, kept)
    file = first.folder / "home/models/co2/1/model.onnx"
    told = file.stat()
    _flip(first.folder)
    os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns))  # as a disk does: nobody wrote it
    (places.models("co2", "1") / "model.onnx").touch()
    manifest.verify(backup(places, kept).folder)


def test_what_is_linked_stays_linked(places: Places, kept: Path) -> None:
    """A touched source and a database without changes are one file on the disk with the backup before, and with the one before that."""
    backup(places, kept)
    (places.models("co2", "1") / "model.onnx").touch()
    names = ("home/models/co2/1/model.onnx", "home/feast/co2/online.db", "home/models/co2/1/model.json")
    second, third = backup(places, kept), backup(places, kept)
    assert [(third.folder / name).samefile(second.folder / name) for name in names] == [True] * 3
    assert [(third.folder / name).stat().st_nlink for name in names] == [3] * 3
