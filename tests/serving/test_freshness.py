"""How old the stored feature values are, for whoever looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from data.files import write_json
from serving.freshness import Freshness, fresh
from serving.gateway.online import OnlineStore
from tests.serving.gateway.online_rows import write
from training.signature import Input, Output, Signature

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
DAY_S = 86_400


def store(home: Path, *, entity: str | None = "shop", **more: Any) -> None:
    """A version that reads `x` of the store."""
    folder = home / "models" / "w" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    inputs = tuple(Input(name=name, kind="number", tensor=name) for name in ("x", "own"))
    stated: dict[str, Any] = {"stored": ("x",), "entity": entity} | more
    outputs = (Output(name="prediction", datatype="FP64", tensor="y"),)
    Signature(workload="w", family="tabular", task="regression", target="y", inputs=inputs, outputs=outputs, **stated).write(
        folder
    )


def look(home: Path, days: float = 0.0, **more: Any) -> Freshness:
    found = fresh(home, "w", "1", now=NOON.timestamp() + days * DAY_S, **more)
    assert found is not None
    return found


def test_stale_values_are_counted_and_told(tmp_path: Path) -> None:
    """What is older than the ttl is stale; the sentence says how many, how old, and what becomes of a request."""
    store(tmp_path, ttl_seconds=7 * DAY_S)
    write(tmp_path / "feast" / "w", "a", {"x": 1.0}, NOON)
    write(tmp_path / "feast" / "w", "b", {"x": 1.0}, NOON - timedelta(days=5))
    now, later = look(tmp_path), look(tmp_path, days=3)
    assert (now.well, now.stale, now.looked) == (True, 0, 2)
    assert now.said == "known up to 2026-06-26 12:00 or later, of all 2 (shop); used until they are 7 days old"
    assert (later.well, later.stale) == (False, 1)
    assert "those of 1 of 2 (shop) are older than 7 days, the oldest of 2026-06-26 12:00" in later.said
    assert later.said.endswith("is refused")
    store(tmp_path, ttl_seconds=7 * DAY_S, on_stale="flag")
    assert look(tmp_path, days=3).said.endswith("is answered, and the answer says that it is stale")


def test_only_what_the_version_reads_counts(tmp_path: Path) -> None:
    """A column of before that is left in the store makes nothing stale."""
    store(tmp_path, ttl_seconds=DAY_S)
    write(tmp_path / "feast" / "w", "a", {"left": 1.0}, NOON - timedelta(days=500))
    write(tmp_path / "feast" / "w", "a", {"x": 1.0}, NOON)
    assert look(tmp_path).well


def test_a_bounded_number_is_looked_at(tmp_path: Path) -> None:
    """Of many entities the first ones are, and the sentence says so."""
    store(tmp_path, ttl_seconds=DAY_S)
    for number in range(5):
        write(tmp_path / "feast" / "w", f"e{number}", {"x": 1.0, "other": 2.0}, NOON)
    some = look(tmp_path, most=3)
    assert (some.looked, some.more) == (3, True)
    assert "of the first 3 (shop)" in some.said
    online = OnlineStore(tmp_path / "feast" / "w")
    assert len(online.times(("x",), 2)) == 2
    online.close()


def test_without_a_ttl_nothing_is_stale(tmp_path: Path) -> None:
    """Values of any age are used, and the sentence says that this is so and since when nothing is known."""
    store(tmp_path)
    write(tmp_path / "feast" / "w", "a", {"x": 1.0}, NOON)
    found = look(tmp_path, days=9_000)
    assert found.well
    assert found.said.startswith("known up to 2026-07-01 12:00; no features.ttl is set")


def test_a_single_series(tmp_path: Path) -> None:
    """Without an entity the newest row is looked at."""
    store(tmp_path, entity=None, ttl_seconds=DAY_S)
    write_json(tmp_path / "features" / "w" / "latest.json", {"time": "2026-07-01T12:00:00Z", "values": {"x": 1.0}})
    assert look(tmp_path).well
    assert "they are older than 24 h, the oldest of 2026-07-01 12:00" in look(tmp_path, days=2).said


@pytest.mark.parametrize("entity", ["shop", None])
def test_nothing_published_is_told(tmp_path: Path, entity: str | None) -> None:
    """A store that is not there, or is no store, is said to be so: never fresh."""
    store(tmp_path, entity=entity)
    assert (look(tmp_path).well, look(tmp_path).said) == (False, "no features were published yet")
    (tmp_path / "features" / "w").mkdir(parents=True)
    (tmp_path / "features" / "w" / "latest.json").write_text("[")
    (tmp_path / "feast" / "w").mkdir(parents=True)
    (tmp_path / "feast" / "w" / "online.db").write_text("no database")
    write_json(tmp_path / "feast" / "w" / "names.json", {})
    assert not look(tmp_path).well


def test_who_brings_every_value_has_no_age(tmp_path: Path) -> None:
    """A version that reads nothing of the store says nothing of it."""
    store(tmp_path, stored=())
    assert fresh(tmp_path, "w", "1") is None
    assert fresh(tmp_path, "w", "2") is None
