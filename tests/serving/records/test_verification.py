"""Verification: no record can be changed, deleted, inserted, moved or cut off unseen; erasure leaves the chains whole."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving.records import Label, Records, by_id, by_time
from tests.serving.records.samples import FORECAST, answered, prediction

_PREDICTIONS, _LABELS = 12, 8


def _filled(home: Path) -> Records:
    records = Records.at(home)
    predictions = [answered(FORECAST, [n], [[n, n + 1]], entities=("s",)) for n in range(_PREDICTIONS)]
    records.append(predictions[:5])
    records.append(predictions[5:])
    named = [Label(workload="co2", about=by_id(one.id, 0, 4), value=1.5) for one in predictions[:4]]
    records.label(named + [Label(workload="co2", about=by_time(n, "s"), value="yes") for n in range(_LABELS - 4)])
    records.close()
    assert records.verify() is None
    return records


_TAMPERINGS: dict[str, tuple[str, int]] = {
    "an answer's version": ("update predictions set version = '2' where sequence = 3", 3),
    "a deleted prediction": ("delete from predictions where sequence = 3", 3),
    "the first, deleted": ("delete from predictions where sequence = 1", 1),
    "a deleted label": ("delete from labels where sequence = 2", 2),
    "two in another order": (
        "update predictions set sequence = 99 where sequence = 3; update predictions set sequence = 3 where sequence = 4;"
        "update predictions set sequence = 4 where sequence = 99",
        3,
    ),
    "two contents exchanged": (
        "update payloads set sequence = 99 where sequence = 3; update payloads set sequence = 3 where sequence = 4;"
        "update payloads set sequence = 4 where sequence = 99",
        3,
    ),
    "an inserted prediction": (
        "insert into predictions select 13, zeroblob(16), workload, version, role, at, rows, status, latency_ms, digest, hash "
        "from predictions where sequence = 12",
        13,
    ),
    "an inserted content": ("insert into payloads select 77, salt, dictionary, content from payloads where sequence = 3", 77),
    "a truth of another workload": ("update truths set workload = 'other' where sequence = 5", 5),
    "a truth of another time": ("update truths set target_time = 7 where sequence = 5", 5),
    "cut off, with its end mended": (
        "delete from predictions where sequence = 12; delete from payloads where sequence = 12;"
        "update chain_ends set sequence = 11, hash = (select hash from predictions where sequence = 11) where chain = 'predictions'",
        12,
    ),
    "labels cut off, with their end mended": (
        "delete from labels where sequence = 8; delete from truths where sequence = 8;"
        "update chain_ends set sequence = 7, hash = (select hash from labels where sequence = 7) where chain = 'labels'",
        8,
    ),
    "everything deleted": ("delete from predictions; delete from payloads; delete from chain_ends", 1),
}


@pytest.mark.parametrize("tampering", _TAMPERINGS)
def test_tampering_is_found(tmp_path: Path, tampering: str) -> None:
    """Edited, deleted, inserted, reordered and cut-off records are found, by their sequence number."""
    records = _filled(tmp_path)
    script, sequence = _TAMPERINGS[tampering]
    with closing(sqlite3.connect(tmp_path / "records.db")) as db:
        db.executescript(script)
    found = records.verify()
    assert found is not None
    assert found.sequence == sequence


def _mutated(value: Any, chance: random.Random) -> Any:
    if value is None:
        return chance.choice([0, "x", b"x"])
    if isinstance(value, bytes):
        if not value or chance.random() < 0.2:
            return value + b"x"
        place = chance.randrange(len(value))
        return value[:place] + bytes([value[place] ^ 0xFF]) + value[place + 1 :]
    if isinstance(value, str):
        return chance.choice([value + "x", "x" + value, value[1:] or "y", value.upper() + "!"])
    return chance.choice([value + 1, value - 1, -value - 7, value + 1000])


_VOUCHED = ("predictions", "payloads", "labels", "truths", "chain_ends")


def test_every_single_mutation_is_found(tmp_path: Path) -> None:
    """Any one value of any row that the chains vouch for, changed to anything else, is found: 200 times at random."""
    records = _filled(tmp_path)
    chance = random.Random(4)
    with closing(sqlite3.connect(tmp_path / "records.db", isolation_level=None)) as db:
        for _ in range(200):
            table = chance.choice(_VOUCHED)
            rows = db.execute(f"select rowid, * from {table}").fetchall()
            columns = [row[1] for row in db.execute(f"pragma table_info({table})")]
            row, place = chance.choice(rows), chance.randrange(len(columns))
            old = row[1 + place]
            new = _mutated(old, chance)
            if table == "truths" and isinstance(old, float):
                new = old + 1  # a name that reads as the same number is the same truth
            key = f'"{columns[place]}"'
            stored = row[0]
            try:
                db.execute(f"update {table} set {key} = ? where rowid = ?", [new, stored])
            except sqlite3.IntegrityError:
                continue  # the database itself refuses it
            assert records.verify() is not None, (table, columns[place], old, new)
            moved = new if columns[place] == "sequence" and table != "chain_ends" else stored
            db.execute(f"update {table} set {key} = ? where rowid = ?", [old, moved])
    assert records.verify() is None


@pytest.mark.parametrize("table", ["predictions", "payloads", "labels", "truths"])
def test_every_kind_of_value_in_any_column_is_found(tmp_path: Path, table: str) -> None:
    """A null, a text or raw bytes where a number stood (SQLite takes any) is a finding, not a traceback."""
    records = _filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "records.db", isolation_level=None)) as db:
        for _, column, *_ in db.execute(f"pragma table_info({table})").fetchall():
            if column == "sequence":
                continue
            (old,) = db.execute(f'select "{column}" from {table} where sequence = 2').fetchone()
            for new in ("text", b"raw", -(2**40), 1.25):
                db.execute(f'update {table} set "{column}" = ? where sequence = 2', [new])
                found = records.verify()
                assert found is not None, (column, new)
                assert found.sequence == 2
            db.execute(f'update {table} set "{column}" = ? where sequence = 2', [old])
    assert records.verify() is None


def test_a_changed_dictionary_is_found(tmp_path: Path) -> None:
    """What contents were packed with cannot be changed or taken away unseen."""
    records = _filled(tmp_path)
    for change in (
        "update dictionaries set content = cast(replace(cast(content as text), 'week', 'weak') as blob)",
        "delete from dictionaries",
    ):
        with closing(sqlite3.connect(tmp_path / "records.db", isolation_level=None)) as db:
            db.execute(change)
        assert records.verify() is not None


def test_an_erased_content_verifies_and_a_chain_that_grew_since_it_was_noted_too(records: Records) -> None:
    """Erasure is no tampering; nor is a chain that is longer than what was noted, as after a kill."""
    predictions = [prediction() for _ in range(10)]
    records.append(predictions)
    records.close()
    records.append([prediction()])
    records.erase("co2", ids=[predictions[3].id])
    assert records.verify() is None


def test_an_unreadable_store_is_reported(tmp_path: Path) -> None:
    """A file that is no database is a broken store, not a traceback."""
    (tmp_path / "records.db").write_bytes(b"not a database" * 1000)
    found = Records.at(tmp_path).verify()
    assert found is not None
    assert "cannot be read" in found.what


def test_verification_goes_over_pages(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains longer than a page verify, and end where a page ends."""
    monkeypatch.setattr("serving.records.verification._PAGE", 5)
    for _ in range(4):
        records.append([prediction() for _ in range(5)])
        assert records.verify() is None
