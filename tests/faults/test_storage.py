"""The disk under faults: full, read-only, damaged, failing at any write. What is acknowledged is kept; what is damaged is found."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from data import versions
from data.errors import UserError
from data.files import tree_digest, write_atomically
from serving.ledger import Ledger
from serving.records import Label, Records, by_id
from tests.conftest import ROOT
from tests.data import project
from tests.data.door import Door
from tests.faults import disks, every_write
from tests.faults.reporting import ROUNDS
from tests.serving.records.samples import prediction

pytestmark = [pytest.mark.xdist_group("disks"), pytest.mark.timeout(900)]
LONG = ROUNDS > 1


# -- row 28


@pytest.mark.slow
@pytest.mark.fault(28)
@pytest.mark.parametrize("what", every_write.ACTS)
def test_a_write_that_fails_leaves_before_or_after(tmp_path: Path, preload: dict[str, str], what: str, track):
    """EIO and ENOSPC at the k-th write, for every k: never between, never lost once acknowledged, and the next try goes through."""
    command = [sys.executable, "-m", "tests.faults.every_write", str(tmp_path), what, *(["--every"] if LONG else [])]
    done = subprocess.run(command, check=False, cwd=ROOT, env=preload, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["injections"] > 0
    track(what=f"at each write of {what}", **figures)


# -- rows 19, 27, 29


def _full(folder: Path) -> Path:
    """Fill a file system, to the last byte."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                os.write(file.fileno(), bytes(4096))
        except OSError:
            return filler


def _no_inodes(folder: Path) -> Path:
    (folder / "filler").mkdir()
    try:
        for number in range(10_000):
            (folder / "filler" / str(number)).touch()
    except OSError:
        return folder / "filler"
    raise AssertionError("inodes without end")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "fill"),
    [
        pytest.param("size=16m", _full, id="space", marks=pytest.mark.fault(19)),
        pytest.param("size=16m,nr_inodes=60", _no_inodes, id="inodes", marks=pytest.mark.fault(29)),
    ],
)
def test_a_full_disk_refuses_and_recovers(tmp_path: Path, options: str, fill: Callable[[Path], Path], track):
    """While it is full a decision, a prediction and a file are refused with an error that says so; all that was acknowledged is kept; then it goes on."""
    rounds, refused, kept, took = (20 if LONG else 2), 0, 0, []
    with disks.small(tmp_path / "home", options) as home:
        for number in range(rounds):
            one = prediction(id=str(uuid4()))
            Ledger.at(home).record("registered", "co2", number, key=f"{number}")
            _append(home, one.id)
            write_atomically(home / "pointer", f"{number}")
            kept += 3
            filler = fill(home)
            acts: list[Callable[[], object]] = [
                lambda number=number: Ledger.at(home).record(
                    "registered", "co2", number, {"x": "y" * 9000}, key=f"{number}:full"
                ),
                lambda: _append(home, str(uuid4())),
                lambda: write_atomically(home / "pointer", "x" * 50_000),
            ]
            for act in acts:
                try:
                    act()
                except (UserError, OSError):
                    refused += 1
            assert [f for f in home.iterdir() if f.name.startswith(".pointer")] == []
            filler.unlink() if filler.is_file() else shutil.rmtree(filler)
            began = time.monotonic()
            Ledger.at(home).record("registered", "co2", number, key=f"{number}:after")
            _append(home, str(uuid4()))
            took.append(time.monotonic() - began)
            assert Records.at(home).sizes([one.id])
        ledger = Ledger.at(home)
        assert {f"{n}" for n in range(rounds)} | {f"{n}:after" for n in range(rounds)} <= {one.key for one in ledger.history()}
        assert ledger.verify() is None
        assert Records.at(home).verify() is None
    assert refused >= rounds
    track(injections=3 * rounds, acknowledged=kept, lost=0, said=f"{refused} refused", recovery_s=round(max(took), 2))


def _append(home: Path, one: str) -> None:
    records = Records.at(home)
    try:
        records.append([prediction(id=one)])
    finally:
        records.close()


@pytest.mark.fault(27)
def test_a_read_only_file_system_is_said(tmp_path: Path, track):
    """What cannot be written is an error that names the place; nothing is changed by trying."""
    with disks.small(tmp_path / "home", "size=16m") as home:
        Ledger.at(home).record("registered", "co2", 1, key="1")
        _append(home, str(uuid4()))
        write_atomically(home / "pointer", "1")
        before = tree_digest(home)
        disks.remount(home, "ro")
        with pytest.raises(UserError, match=r"ledger\S* cannot be used"):
            Ledger.at(home).record("registered", "co2", 2)
        with pytest.raises(UserError, match=r"records\S* cannot be used"):
            _append(home, str(uuid4()))
        with pytest.raises(OSError, match="Read-only file system"):
            write_atomically(home / "pointer", "2")
        disks.remount(home, "rw")
        assert tree_digest(home) == before
        assert Ledger.at(home).verify() is None
    track(injections=3, lost=0)


# -- rows 21, 22, 23


@pytest.mark.slow
@pytest.mark.parametrize(
    "truncated",
    [pytest.param(True, marks=pytest.mark.fault(21)), pytest.param(False, marks=pytest.mark.fault(22))],
    ids=["cut", "flip"],
)
def test_damaged_data_is_never_used(tmp_path: Path, truncated: bool, track):
    """Truncations and flipped bits in what DVC restored or keeps: each is refused, by file and hash, before a stage reads it."""
    door = Door(project.make(tmp_path / "project"))
    door.up()
    chance, count = random.Random(21), 1000 if LONG else 25
    found = 0
    outputs = [(stage, path) for stage, outs in versions.outputs(door.root, "w").items() for path in outs]
    for _ in range(count):
        stage, path = chance.choice(outputs)
        file = _file_of(door.root / path, chance)
        whole = file.read_bytes()
        file.chmod(0o644)
        file.write_bytes(_damaged(whole, truncated, chance))
        try:
            with pytest.raises(UserError, match="is damaged"):
                versions.verify(door.root, "w", stage)
            found += 1
        finally:
            file.write_bytes(whole)
    versions.verify(door.root, "w", "model")
    track(seeds=21, injections=count, lost=count - found, said=f"{found} refused")


def _file_of(path: Path, chance: random.Random) -> Path:
    return (
        path
        if path.is_file()
        else chance.choice(sorted(one for one in path.rglob("*") if one.is_file() and one.stat().st_size))
    )


def _damaged(whole: bytes, truncated: bool, chance: random.Random) -> bytes:
    at = chance.randrange(len(whole))
    return whole[:at] if truncated else whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :]


@pytest.mark.slow
@pytest.mark.fault(23)
def test_a_flipped_bit_in_a_model_is_found_before_it_is_read(tmp_path: Path, track):
    """Of random bits of any file of a version's folder each is noticed by the folder's digest, which a server compares before it parses."""
    folder, chance, count = tmp_path / "model", random.Random(23), 1000 if LONG else 50
    folder.mkdir()
    for name in ("model.json", "model.onnx", "weights.safetensors"):
        (folder / name).write_bytes(chance.randbytes(20_000))
    digest = tree_digest(folder)
    for _ in range(count):
        file = _file_of(folder, chance)
        whole = file.read_bytes()
        file.write_bytes(_damaged(whole, False, chance))
        assert tree_digest(folder) != digest
        file.write_bytes(whole)
    assert tree_digest(folder) == digest
    track(seeds=23, injections=count, lost=0)


# -- rows 24, 25, 26


@pytest.mark.slow
@pytest.mark.fault(24)
def test_a_database_that_is_locked_for_twelve_seconds_is_waited_for(tmp_path: Path, track):
    """Decisions, predictions and labels that came meanwhile are kept when the lock is gone; none is refused."""
    one = prediction(id=str(uuid4()))
    Ledger.at(tmp_path).record("registered", "co2", 1)
    _append(tmp_path, one.id)
    held = [sqlite3.connect(tmp_path / name, isolation_level=None) for name in ("ledger.db", "records.db")]
    for other in held:
        other.execute("begin exclusive")
    done: list[str] = []
    acts: dict[str, Callable[[], object]] = {
        "decision": lambda: Ledger.at(tmp_path).record("registered", "co2", 2),
        "prediction": lambda: _append(tmp_path, str(uuid4())),
        "label": lambda: Records.at(tmp_path).label([Label(workload="co2", about=by_id(one.id), value=1)]),
    }
    threads = [threading.Thread(target=lambda what=what, act=act: (act(), done.append(what))) for what, act in acts.items()]
    for thread in threads:
        thread.start()
    threads[0].join(12)
    assert done == []
    for other in held:
        other.execute("rollback")
        other.close()
    began = time.monotonic()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == sorted(acts)
    assert Ledger.at(tmp_path).verify() is None
    assert Records.at(tmp_path).verify() is None
    track(injections=2, acknowledged=len(done), lost=0, recovery_s=round(time.monotonic() - began, 2))


def _checkpointed(home: Path) -> None:
    """Everything in the databases' own files, nothing in their logs."""
    for name in ("ledger.db", "records.db"):
        with sqlite3.connect(home / name) as database:
            database.execute("pragma wal_checkpoint(truncate)")
        database.close()


@pytest.mark.slow
@pytest.mark.fault(25)
@pytest.mark.parametrize("name", ["ledger.db", "records.db"])
def test_overwritten_pages_are_found(tmp_path: Path, name: str, track):
    """Random bytes anywhere in the file: the chain does not verify or SQLite's own check says so, or no record reads otherwise than before."""
    home, chance, count = tmp_path / "home", random.Random(25), 500 if LONG else 25
    ledger, records = Ledger.at(home), Records.at(home)
    ids = [str(uuid4()) for _ in range(60)]
    for number, one in enumerate(ids):
        ledger.record("registered", "co2", number, {"x": "y" * 100}, key=one)
        records.append([prediction(id=one)])
    records.close()
    _checkpointed(home)
    whole = (home / name).read_bytes()
    before = _read(home, ids)
    found = harmless = 0
    for _ in range(count):
        for beside in home.glob(f"{name}-*"):
            beside.unlink()
        at, length = chance.randrange(len(whole)), chance.choice([1, 16, 512, 4096])
        (home / name).write_bytes(whole[:at] + chance.randbytes(min(length, len(whole) - at)) + whole[at + length :])
        if _is_found(home, name):
            found += 1
        else:
            assert _read(home, ids) == before, f"byte {at}, {length} long: other records, and nobody says so"
            harmless += 1
    assert found > count / 4
    track(what=name, seeds=25, injections=count, lost=0, said=f"{found} found, {harmless} where nothing is kept")


def _is_found(home: Path, name: str) -> bool:
    try:
        if (Ledger.at(home) if name == "ledger.db" else Records.at(home)).verify() is not None:
            return True
        with sqlite3.connect(home / name) as database:
            return database.execute("pragma integrity_check").fetchone() != ("ok",)
    except (UserError, sqlite3.DatabaseError):
        return True


def _read(home: Path, ids: list[str]) -> object:
    ledger, records = Ledger.at(home), Records.at(home)
    return (
        [one.hash for one in ledger.history()],
        sorted(records.sizes(ids)),
        [one.request for one in records.predictions("co2")],
    )


@pytest.mark.fault(26)
def test_a_deleted_log_is_found(tmp_path: Path, track):
    """Records that were only in SQLite's log, which is then deleted: the noted ends say that the chains were longer."""
    home, copy = tmp_path / "home", tmp_path / "copy"
    ledger, records = Ledger.at(home), Records.at(home)
    ledger.record("registered", "co2", 0)
    records.append([prediction(id=str(uuid4()))])
    records.close()
    _checkpointed(home)
    reading = [sqlite3.connect(home / name) for name in ("ledger.db", "records.db")]
    for one in reading:  # who reads keeps the log from being taken in
        one.execute("begin")
        one.execute("select count(*) from sqlite_master").fetchone()
    ledger.record("registered", "co2", 1)
    records.append([prediction(id=str(uuid4()))])
    records.close()
    shutil.copytree(home, copy)
    for one in reading:
        one.close()
    for log in [*copy.glob("*.db-wal"), *copy.glob("*.db-shm")]:
        log.unlink()
    for kept in (Ledger.at(copy), Records.at(copy)):
        broken = kept.verify()
        assert broken is not None
        assert "cut off" in broken.what
    assert Ledger.at(home).verify() is None
    track(injections=2, lost=0, said="2 found")
