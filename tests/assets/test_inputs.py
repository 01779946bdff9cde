"""Whom a request is about that names nobody."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets import inputs
from data.errors import UserError
from data.places import Places
from tests.assets.test_loop import spec
from tests.serving.gateway.online_rows import write
from training.signature import Signature

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SIGNATURE = Signature(workload="hand", family="tabular", task="regression", target="y", inputs=(), outputs=(), entity="station")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(root=tmp_path, home=tmp_path)


def test_one_entity_is_the_sole_one_and_of_two_none_is(places: Places) -> None:
    """Where there are several, nobody is taken for whom a request is about: one's truth would be joined to another's prediction."""
    folder = places.home / "feast" / "hand"
    assert inputs.sole_entity(places, spec(), SIGNATURE) is None
    write(folder, "north", {"x": 1.0, "y": 2.0}, NOON)
    assert inputs.sole_entity(places, spec(), SIGNATURE) == "north"
    write(folder, "south", {"x": 1.0, "y": 2.0}, NOON)
    assert inputs.sole_entity(places, spec(), SIGNATURE) is None


def test_who_publishes_is_waited_for(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is locked there is no answer, rather than another one than before."""
    folder = places.home / "feast" / "hand"
    write(folder, "north", {"x": 1.0}, NOON)
    store = sqlite3.connect(folder / "online.db", isolation_level=None, check_same_thread=False)
    store.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(inputs, "_LOCKED_S", 0.0)
    with pytest.raises(UserError, match="being written"):
        inputs.sole_entity(places, spec(), SIGNATURE)
    monkeypatch.setattr(inputs, "_LOCKED_S", 30.0)
    ending = threading.Timer(0.2, lambda: store.execute("COMMIT"))
    ending.start()
    assert inputs.sole_entity(places, spec(), SIGNATURE) == "north"
    ending.join()
    store.close()
