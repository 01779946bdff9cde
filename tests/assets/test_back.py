"""Truth that came back is learnt from, and answers that came back as truth are not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assets import back
from data.errors import UserError
from data.places import Places
from serving.records import Label, Records, by_time
from tests.serving.records.samples import FORECAST, WEEK, answered

SPEC: Any = SimpleNamespace(name="co2", task="forecasting")


@pytest.mark.parametrize(("own", "refused"), [(25, True), (5, False)])
def test_a_model_s_own_answers_are_no_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: int, refused: bool):
    """Labels that are the forecasts to the last digit are refused as truth; a few that happen to be are not."""
    monkeypatch.delenv("AIPRIME_LEDGER_URL", raising=False)
    records = Records.at(tmp_path)
    said = [330.123456789 + n / 7 for n in range(30)]
    records.append([answered(FORECAST, [n * WEEK], [[said[n], 1.0]], entities=("a",)) for n in range(30)])
    records.absorb(FORECAST)
    records.label(
        [Label(workload="co2", about=by_time((n + 4) * WEEK, "a"), value=said[n] + (0 if n < own else 0.4)) for n in range(30)]
    )
    places = Places(root=tmp_path, home=tmp_path)
    if refused:
        with pytest.raises(UserError, match="to the last digit"):
            back.labels(SPEC, places, datetime(2030, 1, 1, tzinfo=UTC))
    else:
        assert back.labels(SPEC, places, datetime(2030, 1, 1, tzinfo=UTC)).num_rows == 30


@pytest.fixture
def asked_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Records, Places]:
    """Twelve weeks, each predicted twenty times and told twice; a last one told of that nobody predicted."""
    monkeypatch.delenv("AIPRIME_LEDGER_URL", raising=False)
    records = Records.at(tmp_path)
    for _ in range(20):
        records.append([answered(FORECAST, [n * WEEK], [[300.5, 1.0]], entities=("a",)) for n in range(12)])
    records.absorb(FORECAST)
    for value in (1.0, 2.0):
        told = [Label(workload="co2", about=by_time((n + 4) * WEEK, "a"), value=value + n) for n in range(12)]
        records.label([*told, Label(workload="co2", about=by_time(99 * WEEK, "a"), value=9.0)])
    return records, Places(root=tmp_path, home=tmp_path)


def test_as_many_rows_are_read_as_truths(asked_often: tuple[Records, Places], monkeypatch: pytest.MonkeyPatch):
    """What is read grows with what was told to be true, not with how often it was predicted; the newest truth of each time counts."""
    read: list[int] = []
    for name in ("outcomes", "joined", "truths"):
        original = getattr(Records, name)

        def counted(self: Records, *args: Any, original: Any = original, **more: Any) -> Any:
            table = original(self, *args, **more)
            read.append(table.num_rows)
            return table

        monkeypatch.setattr(Records, name, counted)
    monkeypatch.setattr(back, "_LOOKED", 30)
    found = back.labels(SPEC, asked_often[1], datetime(2030, 1, 1, tzinfo=UTC))
    assert found["value"].to_pylist() == [2.0 + n for n in range(12)] + [9.0]
    assert [one.timestamp() for one in found["time"].to_pylist()] == [*((n + 4) * WEEK for n in range(12)), 99 * WEEK]
    assert sum(read) == 30 + 12 + 13
    read.clear()
    assert back.known_until(SPEC, asked_often[1]) == datetime.fromtimestamp(99 * WEEK + 1, UTC)
    assert sum(read) == 30


def test_only_what_was_known_by_then_is_given(asked_often: tuple[Records, Places]):
    """Truths of times at or after `until` are left out, joined to a prediction or not."""
    found = back.labels(SPEC, asked_often[1], datetime.fromtimestamp(8 * WEEK, UTC))
    assert [one.timestamp() for one in found["time"].to_pylist()] == [4 * WEEK, 5 * WEEK, 6 * WEEK, 7 * WEEK]
