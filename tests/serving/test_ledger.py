"""The ledger: what was decided stays decided, in one order, and a changed record is found."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import UserError
from serving.ledger import Conflict, Ledger


@pytest.fixture
def ledger(database: Path | str) -> Ledger:
    return Ledger(database)


def test_the_champion_is_what_was_promoted_last(ledger: Ledger) -> None:
    """The champion is the newest promotion's version, and its fencing token only grows, also when it goes back."""
    assert ledger.champion("co2") is None
    first = ledger.promote("co2", 1, expected=None, reason="the first")
    second = ledger.promote("co2", 2, expected=1, reason="better")
    back = ledger.promote("co2", 1, expected=2, reason="rolled back")

    champion = ledger.champion("co2")
    assert champion == back
    assert champion is not None
    assert champion.version == "1"
    assert champion.payload == {"reason": "rolled back", "replaces": "2"}
    assert first.sequence < second.sequence < back.sequence


def test_the_newest_are_read_without_the_rest(ledger: Ledger) -> None:
    """The newest decisions of one workload come oldest first, of the kinds that were asked for, and no more than asked."""
    for number in range(5):
        ledger.record("window", "co2", 1, {"n": number})
        ledger.record("window", "bikes", 1, {"n": -1})
    ledger.record("declined", "co2", 1, {"n": 5})
    assert [one.payload["n"] for one in ledger.latest("co2", 3)] == [3, 4, 5]
    assert [one.payload["n"] for one in ledger.latest("co2", 2, ("window",))] == [3, 4]
    assert ledger.latest("nothing", 9) == []
    found = [ledger.first("co2", "window"), ledger.first("co2", "window", after=1), ledger.first("co2", "called")]
    assert [one and one.payload["n"] for one in found] == [0, 1, None]


def test_an_outdated_expectation_is_refused(ledger: Ledger) -> None:
    """A promotion that expects another champion than there is raises Conflict, names it, and leaves nothing."""
    ledger.promote("co2", 1, expected=None, reason="the first")
    with pytest.raises(Conflict) as raised:
        ledger.promote("co2", 3, expected=None, reason="late")
    assert raised.value.champion == "1"
    assert len(ledger.history()) == 1
    assert ledger.verify() is None


def test_asking_again_for_the_same_champion_is_no_second_promotion(ledger: Ledger) -> None:
    """A caller that was cut off after its promotion gets the same record when it asks again."""
    first = ledger.promote("co2", 2, expected=None, reason="x")
    assert ledger.promote("co2", 2, expected=None, reason="x") == first
    assert ledger.verify() is None


def test_a_key_is_recorded_once(ledger: Ledger) -> None:
    """Registering the same model digest twice gives the first record; a key of another kind is our mistake."""
    first = ledger.record("registered", "co2", 1, {"digest": "abc"}, key="registered:co2:abc")
    again = ledger.record("registered", "co2", 2, {"digest": "abc"}, key="registered:co2:abc")
    assert again == first
    assert again.version == "1"
    with pytest.raises(ValueError, match="belongs to a registered record"):
        ledger.record("refused", "co2", 2, key="registered:co2:abc")
    assert ledger.verify() is None


def test_a_retired_champion_serves_no_more(ledger: Ledger) -> None:
    """Retiring the champion leaves the workload known and without a champion; retiring an older version changes nothing."""
    ledger.promote("co2", 1, expected=None, reason="x")
    ledger.promote("co2", 2, expected=1, reason="x")
    ledger.record("retired", "co2", 1)
    assert ledger.champion("co2") is not None
    ledger.record("retired", "co2", 2)
    assert ledger.champions() == {"co2": None}


def test_histories_are_kept_apart(ledger: Ledger) -> None:
    """A workload's history holds its own records, in order, with payloads in any script."""
    ledger.record("registered", "größe", 1, {"por qué": ["☃", 1.5, None]})
    ledger.record("registered", "co2", 1)
    ledger.record("refused", "größe", 2)
    assert [(d.kind, d.version) for d in ledger.history("größe")] == [("registered", "1"), ("refused", "2")]
    assert ledger.history("größe")[0].payload == {"por qué": ["☃", 1.5, None]}
    assert ledger.history(kind="refused")[0].workload == "größe"


def _filled(ledger: Ledger) -> None:
    ledger.record("registered", "co2", 1, {"digest": "a"})
    for version in range(1, 6):
        ledger.promote("co2", version, expected=None if version == 1 else version - 1, reason="x")


def _edit(db: sqlite3.Connection) -> None:
    db.execute("update decisions set payload = replace(payload, 'x', 'y') where sequence = 3")


def _delete(db: sqlite3.Connection) -> None:
    db.execute("delete from decisions where sequence = 3")


def _delete_the_last(db: sqlite3.Connection) -> None:
    db.execute("delete from decisions where sequence = 6")


def _cut_off(db: sqlite3.Connection) -> None:
    """The attacker also mends the head."""
    db.execute("delete from decisions where sequence = 6")
    db.execute("update head set sequence = 5, hash = (select hash from decisions where sequence = 5)")


def _insert(db: sqlite3.Connection) -> None:
    columns = "at, kind, workload, version, payload, actor, previous, hash"
    db.execute(f"insert into decisions (sequence, key, {columns}) select 7, 'k', {columns} from decisions where sequence = 6")


def _reorder(db: sqlite3.Connection) -> None:
    db.execute("update decisions set sequence = 99 where sequence = 3")
    db.execute("update decisions set sequence = 3 where sequence = 4")
    db.execute("update decisions set sequence = 4 where sequence = 99")


@pytest.mark.parametrize(
    ("tamper", "broken"), [(_edit, 3), (_delete, 3), (_delete_the_last, 6), (_cut_off, 6), (_insert, 7), (_reorder, 3)]
)
def test_tampering_is_found(tmp_path: Path, tamper: Callable[[sqlite3.Connection], None], broken: int) -> None:
    """Edited, deleted, inserted, reordered and cut-off records are found, by their sequence number."""
    ledger = Ledger.at(tmp_path)
    _filled(ledger)
    assert ledger.verify() is None
    db = sqlite3.connect(tmp_path / "ledger.db")
    with db:
        tamper(db)
    db.close()
    found = Ledger.at(tmp_path).verify()
    assert found is not None
    assert found.sequence == broken


def test_every_single_changed_value_is_found(tmp_path: Path) -> None:
    """Any one value of any one record, changed to anything, breaks the chain there."""
    ledger = Ledger.at(tmp_path)
    _filled(ledger)
    chance = random.Random(0)
    for _ in range(40):
        sequence = chance.randint(1, 6)
        column = chance.choice(["at", "kind", "workload", "version", "actor", "key", "previous", "hash"])
        db = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        (old,) = db.execute(f"select {column} from decisions where sequence = ?", [sequence]).fetchone()
        db.execute(f"update decisions set {column} = ? where sequence = ?", [old + "0", sequence])
        found = ledger.verify()
        assert found is not None, (sequence, column)
        assert found.sequence == sequence
        db.execute(f"update decisions set {column} = ? where sequence = ?", [old, sequence])
        db.close()
    assert ledger.verify() is None


def test_an_unreadable_ledger_is_reported(tmp_path: Path) -> None:
    """A file that is no database is a broken ledger, not a traceback."""
    (tmp_path / "ledger.db").write_bytes(b"not a database" * 1000)
    found = Ledger.at(tmp_path).verify()
    assert found is not None
    assert "cannot be read" in found.what


def _python(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


_RACE = """
import sys
from pathlib import Path
from serving.ledger import Conflict, Ledger
home, me = Path(sys.argv[1]), int(sys.argv[2])
for turn in range(8):
    ledger = Ledger.at(home)
    champion = ledger.champion("co2")
    try:
        ledger.promote("co2", f"{me}.{turn}", expected=champion and champion.version, reason="race")
        print("won", f"{me}.{turn}", champion and champion.version)
    except Conflict:
        print("lost", f"{me}.{turn}")
    ledger.record("registered", "co2", turn, key=f"turn {turn}")
"""


def test_of_promotions_at_once_one_wins(tmp_path: Path) -> None:
    """Four processes that create the ledger and promote at once: each win replaced just what it expected, nothing is lost."""
    racers = [_python(_RACE, tmp_path, n) for n in range(4)]
    outputs = [racer.communicate(timeout=60)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 4

    wins = {line.split()[1]: line.split()[2] for out in outputs for line in out.splitlines() if line.startswith("won")}
    ledger = Ledger.at(tmp_path)
    promoted = ledger.history("co2", "promoted")
    assert {d.version: str(d.payload["replaces"]) for d in promoted} == wins
    assert [d.payload["replaces"] for d in promoted] == [None, *(d.version for d in promoted[:-1])]  # one unbroken line
    assert len(ledger.history(kind="registered")) == 8  # four times each key
    assert ledger.verify() is None


_ENDLESS = """
import sys
from pathlib import Path
from serving.ledger import Ledger
ledger = Ledger.at(Path(sys.argv[1]))
n = 0
while True:
    n += 1
    ledger.record("registered", "co2", n, key=f"{sys.argv[2]}:{n}")
    print(n, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """A writer that is killed at any instant has lost no acknowledged record and left a whole chain."""
    for kill in range(4):
        writer = _python(_ENDLESS, tmp_path, kill)
        assert writer.stdout is not None
        acknowledged = 0
        for line in writer.stdout:
            acknowledged = int(line)
            if acknowledged == 3 + kill:
                os.kill(writer.pid, signal.SIGKILL)
        writer.wait(timeout=10)
        ledger = Ledger.at(tmp_path)
        kept = [d for d in ledger.history() if d.key.startswith(f"{kill}:")]
        assert acknowledged <= len(kept) <= acknowledged + 1  # the one in flight may be there
        assert ledger.verify() is None


def test_a_locked_ledger_is_waited_for(tmp_path: Path) -> None:
    """A writer waits for another one's lock instead of failing."""
    ledger = Ledger.at(tmp_path)
    ledger.record("registered", "co2", 1)
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    release = threading.Timer(0.5, other.rollback)
    release.start()
    ledger.record("registered", "co2", 2)
    release.join()
    assert len(ledger.history()) == 2


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """Where the database cannot be opened a person reads what and where, not SQLAlchemy's traceback."""
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(UserError, match="ledger cannot be used"):
        Ledger.at(tmp_path).record("registered", "co2", 1)


@pytest.mark.parametrize(
    "url", ["postgres://u:secret@h/db", "secret", "postgresql://u:secret@h:port/db", "postgresql+none://u:secret@h/d"]
)
def test_a_mistyped_url_is_said_without_its_password(url: str) -> None:
    """What no database can be reached by is a person's mistake: it names the setting and a form that works."""
    with pytest.raises(UserError, match="URL cannot be used") as raised:
        Ledger(url).newest()
    assert "AIPRIME_LEDGER_URL" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_importing_the_ledger_is_light() -> None:
    """Nothing heavy comes with the import: `aiprime --help` pays nothing for it."""
    found = subprocess.run(
        [sys.executable, "-c", "import sys, serving.ledger; print('sqlalchemy' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "False"
