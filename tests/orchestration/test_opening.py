"""Before anything is started, a home is looked at and brought to this version; or left alone, aloud."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assets.platform import Platform
from data import state
from data.errors import UserError
from data.places import Places
from orchestration import databases, opening, verifying
from orchestration.backup import manifest
from orchestration.backup.restoring import restore
from orchestration.cli import app
from orchestration.opening import Step, migrate, prepare
from serving import noted
from serving.ledger import Ledger
from serving.records import Records
from tests.orchestration.backup.homes import filled
from tests.serving.records.samples import prediction


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """The project and home that this process is in: of version 1, for it has no schema.json."""
    made = filled(tmp_path, signed=False)
    monkeypatch.delenv("AIPRIME_LEDGER_URL", raising=False)
    monkeypatch.setenv("AIPRIME_HOME", str(made.home))
    monkeypatch.chdir(made.root)
    return made


def test_a_new_home_is_of_this_version(tmp_path: Path, places: Places) -> None:
    """Where nothing was decided there is nothing to migrate, and no backup is made."""
    fresh = Places(root=places.root, home=tmp_path / "fresh")
    prepare(fresh)
    assert state.version(fresh.home) == state.VERSION
    prepare(fresh)
    assert not opening.backups(fresh).exists()


def test_an_older_home_is_backed_up_and_migrated_once(places: Places) -> None:
    """From version 1 it comes to ours, the state as it was is kept first, and a record says so; a second time nothing happens."""
    assert state.version(places.home) == 1
    prepare(places)
    assert state.version(places.home) == state.VERSION
    [kept] = manifest.finished(opening.backups(places))
    assert manifest.verify(kept).schema == 1
    [told] = Ledger.at(places.home).history("co2", "migrated")
    assert told.payload["backup"] == kept.name
    assert [one for one in verifying.everything(places) if one.state == "bad"] == []
    [looked] = [one.said for one in verifying.everything(places) if one.what == "signatures"]
    assert looked.startswith("1 versions are signed")
    before = Ledger.at(places.home).newest()
    prepare(places)
    assert Ledger.at(places.home).newest() == before
    assert len(manifest.finished(opening.backups(places))) == 1


def test_what_was_kept_before_a_migration_can_be_gone_back_to(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup of an older state restores in another place, where its manifests named a folder that is not there, and migrates."""
    prepare(places)
    shutil.rmtree(places.home)
    other = Places(root=places.root, home=tmp_path / "elsewhere")
    restore(other, opening.backups(places))
    assert state.version(other.home) == 1
    monkeypatch.setenv("AIPRIME_HOME", str(other.home))
    prepare(other)
    assert state.version(other.home) == state.VERSION
    assert [one for one in verifying.everything(other) if one.state == "bad"] == []
    assert [one.kind for one in Ledger.at(other.home).history("co2")] == [
        *("registered", "promoted", "restored", "cleared", "migrated"),
    ]


def test_steps_are_taken_in_order_and_again_where_they_were_cut_off(places: Places) -> None:
    """A step that fails leaves the version before it; the next try keeps what is there by then, and goes on at that step."""
    done: list[int] = []
    fails = [True]

    def act(to: int) -> Step:
        def acted(_: Platform) -> list[str]:
            if to == 3 and fails.pop():
                raise UserError("cut off")
            done.append(to)
            return []

        return Step(to=to, said=f"step {to}", act=acted)

    steps = (act(4), act(2), act(3))
    with pytest.raises(UserError, match="cut off"):
        migrate(places, steps)
    assert (done, state.version(places.home)) == ([2], 2)
    fails.append(False)
    assert migrate(places, steps) == [3, 4]
    assert (done, state.version(places.home)) == ([2, 3, 4], 4)
    assert [one.payload["to"] for one in Ledger.at(places.home).history("co2", "migrated")] == [2, 3, 4]
    assert [manifest.read(one).schema for one in manifest.finished(opening.backups(places))] == [1, 2]


def test_a_backup_that_was_changed_is_not_taken_for_the_state_as_it_was(
    places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    """A migration that was cut off keeps the state once more where the backup before does not verify, and names that one."""

    def cut_off(_: Platform) -> list[str]:
        raise UserError("cut off")

    steps = (Step(to=2, said="step 2", act=cut_off),)
    with pytest.raises(UserError, match="cut off"):
        migrate(places, steps)
    [first] = manifest.finished(opening.backups(places))
    (first / manifest.MANIFEST).write_text("{}")
    with pytest.raises(UserError, match="cut off"):
        migrate(places, steps)
    assert len(manifest.finished(opening.backups(places))) == 2
    assert f"{first} is passed over: manifest.json is not what the backup ended with" in caplog.text


def test_without_room_for_a_backup_nothing_is_migrated(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older state is not changed where its backup cannot be made; the setting that names another folder is named."""
    (places.root / "file").write_text("")
    monkeypatch.setenv(opening.BACKUPS, str(places.root / "file" / "folder"))
    with pytest.raises(UserError, match="AIPRIME_BACKUPS"):
        prepare(places)
    assert state.version(places.home) == 1


_WRITING = (
    *(["up"], ["run", "co2"], ["retrain", "co2", "--reason", "x"], ["replay", "co2", "--from", "1990"], ["gc"]),
    *(["remove", "co2", "--yes"], ["release", "rollback", "co2", "--reason", "x"], ["backup", "kept"]),
    *(["release", "promote", "co2", "--reason", "x"], ["release", "pause", "co2", "--reason", "x"]),
)


def test_a_newer_state_is_changed_by_no_command(places: Places) -> None:
    """Every command that writes refuses a newer home and leaves it byte for byte; those that look still answer."""
    state.write(places.home, state.VERSION + 1)
    before = {path: path.read_bytes() for path in places.home.rglob("*") if path.is_file()}
    aiprime = CliRunner()
    for words in _WRITING:
        done = aiprime.invoke(app, words)
        assert isinstance(done.exception, UserError), words
        assert f"this state is of version {state.VERSION + 1}" in str(done.exception), words
    assert aiprime.invoke(app, ["release", "list"]).exit_code == 0
    assert f"of version {state.VERSION + 1}" in aiprime.invoke(app, ["verify"]).stdout
    assert {path: path.read_bytes() for path in places.home.rglob("*") if path in before} == before


def test_a_damaged_database_starts_nothing(places: Places) -> None:
    """An overwritten page of any database is said by name before a process is started, with the restore as the next step (fault 25)."""
    file = places.home / "records.db"
    Records.at(places.home).close()
    with file.open("r+b") as damaged:
        damaged.seek(4096 * 2)
        damaged.write(b"\xff" * 4096)
    with pytest.raises(UserError, match=r"records\.db") as raised:
        prepare(places)
    assert "aiprime restore" in str(raised.value)


def test_a_file_that_is_no_database_is_said(places: Places) -> None:
    """So is a file whose first bytes are not SQLite's."""
    (places.home / "mlflow" / "mlflow.db").write_bytes(b"nothing of the kind" * 300)
    with pytest.raises(UserError, match=r"mlflow\.db: file is not a database"):
        prepare(places)


def test_the_look_ends_in_time(places: Places) -> None:
    """A large database is not looked through for longer than was given."""
    file = places.home / "large.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("create table large (n integer primary key, said text)")
        database.executemany("insert into large (said) values (?)", ((os.urandom(50).hex(),) for _ in range(40_000)))
    with pytest.raises(TimeoutError):
        databases.damage(file, quick=True, until=time.monotonic() - 1)
    databases.refuse_damaged(places.home, budget_s=0.0)


def test_a_database_that_is_being_written_is_no_damaged_one(places: Places) -> None:
    """Who holds MLflow's database for a moment does not keep the home from being opened."""
    with closing(sqlite3.connect(places.home / "mlflow" / "mlflow.db", isolation_level=None)) as writer:
        writer.execute("begin exclusive")
        databases.refuse_damaged(places.home)


_WRITER = """
import sys, time
from pathlib import Path
from serving.ledger import Ledger
from serving.records import Records
from tests.serving.records.samples import prediction
import sqlite3
home = Path(sys.argv[1])
held = [sqlite3.connect(home / name) for name in ("ledger.db", "records.db")]  # the last to close would write the log back
for one in held:
    one.execute("select count(*) from sqlite_master").fetchall()
Ledger.at(home).record("window", "co2", "1", {"n": 1})
records = Records.at(home)
records.append([prediction(version="1")])
records._note(records._appender, at_once=True)
print("done", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("name", "said"), [("ledger.db", "decisions reached number 3"), ("records.db", "predictions reached number 7")]
)
def test_a_deleted_log_is_noticed(places: Places, name: str, said: str) -> None:
    """After a kill, without the database's -wal, the newest records are gone and the file is whole: the noted end tells (fault 26)."""
    from tests.conftest import ROOT

    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(places.home)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "done\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait(timeout=10)
    (places.home / f"{name}-wal").unlink()
    (places.home / f"{name}-shm").unlink(missing_ok=True)
    [lost] = noted.lost(places.home)
    assert said in lost
    with pytest.raises(UserError, match="some are gone"):
        prepare(places)


def test_ends_that_were_noted_late_are_no_loss(places: Places) -> None:
    """A noted end that lies behind the chain, as after a kill, is one that the chain still has."""
    head = (places.home / "records.head").read_bytes()
    records = Records.at(places.home)
    records.append([prediction(version="1")])
    records.close()
    (places.home / "records.head").write_bytes(head)
    assert noted.lost(places.home) == []
