"""A backup that is taken while everything goes on is of one moment, and a backup that was cut off is none."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.places import Places
from orchestration import verifying
from orchestration.backup import copying, manifest, taking
from orchestration.backup.restoring import restore
from orchestration.backup.taking import backup
from serving import snapshot
from serving.ledger import Ledger
from serving.records import Records
from tests.orchestration.backup.homes import version
from tests.serving.records.samples import prediction


@contextmanager
def going_on(write: Callable[[int], None]) -> Iterator[list[int]]:
    """`write(1)`, `write(2)` ... in a thread; what was acknowledged so far."""
    acknowledged, stop = [0], threading.Event()

    def run() -> None:
        while not stop.is_set():
            write(acknowledged[0] + 1)
            acknowledged[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        thread.join(timeout=30)


def test_what_was_acknowledged_before_is_in_it(places: Places, kept: Path) -> None:
    """While predictions and decisions are appended, each backup holds all that was acknowledged before it began, and both chains."""
    records, ledger = Records.at(places.home), Ledger.at(places.home)
    with (
        going_on(lambda _: records.append([prediction(version="1")])) as predicted,
        going_on(lambda n: ledger.record("window", "co2", "1", {"n": n}) and None) as decided,
    ):
        for _ in range(4):
            before = predicted[0], decided[0]
            taken = backup(places, kept)
            home = taken.folder / manifest.HOME
            assert Records(home / "records.db", noted=home / "records.head").verify() is None
            copied = Ledger(home / "ledger.db", noted=home / "ledger.head")
            assert copied.verify() is None
            assert taken.manifest.ends.predictions[0] >= 6 + before[0]
            assert len(copied.history("co2", "window")) >= before[1]
            assert Records(home / "records.db").newest("co2") == taken.manifest.ends.predictions[0]
            for left in home.glob("*.lock"):
                left.unlink()
    records.close()


def test_a_decision_in_it_finds_its_model(places: Places, kept: Path, other: Places) -> None:
    """While versions come and go on, every version that a backup's ledger knows has its files and manifest in it."""
    numbers = iter(range(2, 1000))
    with going_on(lambda _: version(places, str(next(numbers)))):
        taken = [backup(places, kept) for _ in range(4)]
    assert max(one.manifest.ends.decisions[0] for one in taken) > min(one.manifest.ends.decisions[0] for one in taken)
    for one in taken:
        if other.home.exists():
            shutil.rmtree(other.home)
            (other.root / "dvc.lock").unlink()
        restore(other, one.folder)
        assert [found for found in verifying.everything(other) if found.state == "bad"] == []


def test_the_cut_is_at_one_instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would decide and then predict while the ledger is being read and the records not yet, waits: a cut has both, or neither."""
    ledger, records = Ledger.at(tmp_path), Records.at(tmp_path)
    ledger.record("window", "co2", "1")
    records.append([prediction(version="1")])

    def write() -> None:
        ledger.record("window", "co2", "1")
        records.append([prediction(version="1")])

    writer = threading.Thread(target=write)

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:
            done = super().execute(sql, *given)
            if sql.startswith("SELECT count") and not writer.ident:  # the first of the readers has begun
                writer.start()
                writer.join(timeout=1.0)
            return done

    with monkeypatch.context() as patched:
        patched.setattr(snapshot, "_connected", lambda file: sqlite3.connect(file, 30, isolation_level=None, factory=Watched))
        ends = snapshot.take(tmp_path, tmp_path / "cut")
    writer.join(timeout=30)
    assert ledger.newest() == 2
    assert (ends.decisions[0], ends.predictions[0]) == (1, 1)
    records.close()


def test_nobody_deletes_what_is_being_kept(places: Places, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`aiprime gc` waits its turn: while a backup is taken it is refused, and a second backup too."""
    code = "import sys; from orchestration.cli import main; main()"
    refused: list[subprocess.CompletedProcess[str]] = []
    env = os.environ | {"AIPRIME_HOME": str(places.home), "PYTHONPATH": str(places.root)}
    take = snapshot.take

    def meanwhile(home: Path, into: Path) -> snapshot.Ends:
        for words in (["gc"], ["backup", str(kept)]):
            command = [sys.executable, "-c", code, *words]
            refused.append(subprocess.run(command, cwd=places.root, env=env, capture_output=True, text=True, check=False))
        return take(home, into)

    monkeypatch.setattr(snapshot, "take", meanwhile)
    backup(places, kept)
    assert [one.returncode for one in refused] == [1, 1]
    assert "a backup is being taken" in refused[0].stderr
    assert "another backup is being written" in refused[1].stderr


@pytest.mark.parametrize("point", ["manifest.json", "manifest.sha256"])
def test_a_cut_off_backup_is_none(places: Places, kept: Path, other: Places, point: str) -> None:
    """Killed before its end is written, a backup is never taken for one, and the next backup clears it away."""
    env = os.environ | {"AIPRIME_HOME": str(places.home), "PYTHONPATH": str(places.root)}
    env["AIPRIME_FAILPOINTS"] = f"before-rename@{point}=SIGKILL"
    command = [sys.executable, "-m", "orchestration.cli", "backup", str(kept)]
    assert subprocess.run(command, cwd=places.root, env=env, capture_output=True, check=False).returncode == -9
    assert len(list(kept.glob(".partial-*"))) == 1
    with pytest.raises(UserError, match="no finished backup"):
        restore(other, kept)
    with pytest.raises(UserError, match="no finished backup"):
        restore(other, next(kept.glob(".partial-*")))
    backup(places, kept)
    assert list(kept.glob(".partial-*")) == []
    restore(other, kept)


def test_a_full_disk_is_said_and_leaves_nothing(places: Places, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is full, before or on the way, the backup is refused and gone, and the one before it is whole."""
    first = backup(places, kept)
    version(places, "2")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left", "x")

    with monkeypatch.context() as patched:
        patched.setattr(copying, "_copied", full)
        with pytest.raises(UserError, match="the disk is full: there is no backup"):
            backup(places, kept)
    with monkeypatch.context() as patched:
        patched.setattr(taking.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
        with pytest.raises(UserError, match="MB are needed"):
            backup(places, kept)
    assert [one for one in kept.iterdir() if one.is_dir() and one.name != "receipts"] == [first.folder]
    manifest.verify(first.folder)


def test_damage_is_not_carried_into_a_backup(places: Places, kept: Path) -> None:
    """A database with an overwritten page, or a ledger that lost its newest records, is refused by name."""
    file = places.home / "feast" / "co2" / "online.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.executemany("insert into co2_features values (?, 'f', x'00')", [(os.urandom(900),) for _ in range(60)])
    whole = file.read_bytes()
    with file.open("r+b") as damaged:
        damaged.seek(4096 * 3)
        damaged.write(b"\xff" * 4096)
    with pytest.raises(UserError, match=r"online\.db is damaged"):
        backup(places, kept)
    file.write_bytes(whole)
    older = (places.home / "ledger.db").read_bytes()
    Ledger.at(places.home).record("window", "co2", "1")
    (places.home / "ledger.db").write_bytes(older)
    with pytest.raises(UserError, match="some are gone"):
        backup(places, kept)
    assert manifest.finished(kept) == []


@pytest.mark.parametrize(("method", "gone"), [("iterdir", "checkpoints/co2"), ("is_dir", "checkpoints/co2/state.json")])
def test_what_goes_away_meanwhile_is_passed_over(
    places: Places, kept: Path, other: Places, monkeypatch: pytest.MonkeyPatch, method: str, gone: str
) -> None:
    """A folder or a file that is deleted while it is listed ends no backup: it is noted, and the rest is in it."""
    folder = places.home / "checkpoints" / "co2"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    asked, doomed = getattr(Path, method), places.home / gone

    def goes(self: Path) -> Any:
        if self == doomed:
            shutil.rmtree(self) if method == "iterdir" else self.unlink(missing_ok=True)
        return asked(self)

    monkeypatch.setattr(taking, "_room", lambda *_: None)  # it lists them too, and they are to go later
    monkeypatch.setattr(taking.contents, "follows", lambda home, gone: [])
    monkeypatch.setattr(Path, method, goes)
    taken = backup(places, kept)
    assert taken.manifest.gone == (gone,)
    assert "home/models/co2/1/model.onnx" in {one.path for one in taken.manifest.files}
