"""What the feature store knew at a time: the row at or before it, never one of after, and a bounded read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data.files import write_json
from serving.why import stored


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


@pytest.fixture(params=["text", "number"])
def published(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Any, Any]:
    """A home whose store knows two entities on three days; (home, first entity, second entity)."""
    one, two = ("a", "b") if request.param == "text" else (1, 2)
    folder = tmp_path / "feast" / "w"
    rows = {"entity": [one, one, one, two], "event_timestamp": [day(1), day(2), day(4), day(3)], "f_1": [1.0, 2.0, 4.0, 9.0]}
    folder.mkdir(parents=True)
    table = pd.DataFrame(rows)
    table["event_timestamp"] = table["event_timestamp"].astype("datetime64[us, UTC]")
    table.to_parquet(folder / "source.parquet", index=False)
    names = {"project": "w", "view": "v", "join_key": "entity", "entity_type": "STRING", "features": {"f_1": "level"}}
    write_json(folder / "names.json", names)
    return tmp_path, one, two


@pytest.mark.parametrize(("at", "value"), [(1, 1.0), (2, 2.0), (3, 2.0), (4, 4.0), (9, 4.0)])
def test_the_newest_row_by_then(published: tuple[Path, Any, Any], at: int, value: float) -> None:
    """At or before the moment, of this entity alone."""
    home, one, _ = published
    found = stored.known(home, "w", one, day(at))
    assert found.values == {"level": value}
    assert found.at is not None
    assert found.at <= day(at)
    assert found.source == "feast/w/source.parquet"


def test_before_the_first_row_nothing_was_known(published: tuple[Path, Any, Any]) -> None:
    """A later row is not put in its place."""
    home, _, two = published
    found = stored.known(home, "w", two, day(2))
    assert (found.values, found.at) == ({}, None)
    assert "nothing was known" in found.said


def test_a_series_without_an_entity_has_its_newest_row(tmp_path: Path) -> None:
    """HOME/features/WORKLOAD/latest.json, as the gateway reads it."""
    file = tmp_path / "features" / "w" / "latest.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"time": "2026-01-02T00:00:00+00:00", "values": {"level": 3.0}}))
    found = stored.known(tmp_path, "w", None, None)
    assert (found.values, found.at) == ({"level": 3.0}, day(2))


@pytest.mark.parametrize("entity", [None, "a"])
def test_what_was_never_published_is_said(tmp_path: Path, entity: str | None) -> None:
    """Nothing there is no row, and no error."""
    assert "no features were published" in stored.known(tmp_path, "w", entity, day(1)).said


def test_a_damaged_store_is_said(published: tuple[Path, Any, Any]) -> None:
    """It cannot be read, and the walk goes on."""
    home, one, _ = published
    (home / "feast" / "w" / "source.parquet").write_bytes(b"PAR1 nothing")
    assert "cannot be read" in stored.known(home, "w", one, day(2)).said


def test_a_file_beyond_the_bound_is_not_looked_through(
    published: tuple[Path, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the online store's newest row is what can be had; here there is none."""
    home, one, _ = published
    monkeypatch.setattr(stored, "LARGEST", 10)
    assert stored.known(home, "w", one, day(2)).source != "feast/w/source.parquet"
