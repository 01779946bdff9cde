"""The reader of Feast's online store: the same values as Feast gives, and what was written last."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serving.gateway.online import OnlineStore
from tests.serving.gateway.conftest import ROOT
from tests.serving.gateway.feast_store import shown
from tests.serving.gateway.online_rows import write

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def in_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.slow
@pytest.mark.parametrize("in_zone", ["America/New_York"], indirect=True)  # its clocks change: Feast stores local times
def test_it_reads_what_feast_reads(tmp_path: Path, in_zone: str) -> None:
    """Values of every scalar type, with their time, for text and number entities, equal `get_online_features`, in any time zone."""
    command = [sys.executable, "-m", "tests.serving.gateway.feast_store", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "TZ": in_zone})
    for workload, answers in json.loads(found.stdout.splitlines()[-1]).items():
        store = OnlineStore(tmp_path / "feast" / workload)
        *known, unknown = answers
        for expected in known:
            row = store.read(expected["entity"])
            assert row is not None
            assert {name: shown(value) for name, value in row.values.items()} == expected["values"]
            assert row.at(list(row.values)) == datetime.fromisoformat(expected["at"])
        assert store.read(unknown["entity"]) is None
        assert store.any_entity() in {one["entity"] for one in known}


def test_what_was_written_last_is_read(tmp_path: Path) -> None:
    """A value that another process writes is seen by the next read, though rows are kept in memory."""
    write(tmp_path, "a", {"x": 1.0}, NOON)
    store = OnlineStore(tmp_path)
    for number in range(5):
        write(tmp_path, "a", {"x": float(number)}, NOON)
        row = store.read("a")
        assert row is not None
        assert row.values == {"x": float(number)}
        assert store.read("a") is row  # nothing was written: not read again


def test_a_store_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    """A new online.db under the old name is read, not the deleted file."""
    write(tmp_path, "a", {"x": 1.0}, NOON)
    store = OnlineStore(tmp_path)
    assert store.read("a") is not None
    write(tmp_path / "new", "b", {"x": 2.0}, NOON)
    for name in ("online.db", "names.json"):
        (tmp_path / "new" / name).replace(tmp_path / name)
    assert store.read("a") is None
    assert store.read("b") is not None


def test_a_feature_that_the_view_no_longer_names_is_left_out(tmp_path: Path) -> None:
    """Rows that an older view left in the store are not mixed into the newer one's values."""
    write(tmp_path, "a", {"x": 1.0, "old": 2.0}, NOON)
    names = json.loads((tmp_path / "names.json").read_text())
    names["features"] = {feature: column for feature, column in names["features"].items() if column != "old"}
    (tmp_path / "names.json").write_text(json.dumps(names))
    row = OnlineStore(tmp_path).read("a")
    assert row is not None
    assert row.values == {"x": 1.0}


@pytest.mark.parametrize("wrong", [1, None, 1.5, ["a"], True])
def test_an_entity_of_another_type_is_not_looked_for(tmp_path: Path, wrong: Any) -> None:
    """A value that cannot be this entity is a ValueError that says what is expected, not an unknown entity."""
    write(tmp_path, "a", {"x": 1.0}, NOON)
    with pytest.raises(ValueError, match="text"):
        OnlineStore(tmp_path).read(wrong)


@pytest.mark.parametrize("wrong", ["1", None, 1.5, True, 2**63])
def test_a_number_entity_takes_whole_numbers(tmp_path: Path, wrong: Any) -> None:
    """Text, fractions, truth values and what 64 bits cannot hold are refused for a number entity."""
    write(tmp_path, -5, {"x": 1.0}, NOON)
    store = OnlineStore(tmp_path)
    assert store.read(-5) is not None
    with pytest.raises(ValueError, match="whole number"):
        store.read(wrong)


def test_a_locked_store_is_not_waited_for_here(tmp_path: Path) -> None:
    """While Feast commits, reading raises at once: whoever asks decides how long to wait."""
    write(tmp_path, "a", {"x": 1.0}, NOON)
    store = OnlineStore(tmp_path)
    writer = sqlite3.connect(tmp_path / "online.db", isolation_level=None)
    writer.execute("begin exclusive")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        store.read("a")
    writer.execute("rollback")
    assert store.read("a") is not None
