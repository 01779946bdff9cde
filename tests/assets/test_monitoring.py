"""Which rows the next window holds, whatever clients send; and signals of models that erred nowhere."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets import monitoring, signals
from assets.spec import Spec
from assets.windows import Signal, Window
from tests.assets.test_loop import spec

WINDOW = Window(
    workload="hand",
    version="1",
    start=0.0,
    end=0.0,
    labels_from=0.0,
    labels_to=0.0,
    sequence=0,
    rows=0,
    labelled=0,
    signals={"volume": Signal(state="ok", said="")},
)


def watched(window: int | str) -> Spec:
    return spec().model_copy(update={"monitor": spec().monitor.model_copy(update={"window": window})})


def answered(*requests: tuple[int, float]) -> pd.DataFrame:
    """A row for each row of each request, which is (rows, time); the first is record 1."""
    rows = [(n, row, at) for n, (count, at) in enumerate(requests, 1) for row in range(count)]
    return pd.DataFrame(rows, columns=["sequence", "row", "time"])


def windows(of: Spec, rows: pd.DataFrame) -> list[monitoring.Span]:
    """Every window that closes over these rows, one after the other."""
    found: list[monitoring.Span] = []
    before = None
    while True:
        after = found[-1].sequence if found else 0
        span = monitoring._span(of, rows[rows["sequence"] > after], before, after)
        if span is None:
            return found
        found.append(span)
        assert len(found) <= len(rows), "a window closes again and again"
        before = replace(WINDOW, end=span.end, sequence=span.sequence)


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0, 100)), max_size=30), st.integers(1, 25))
def test_each_request_is_in_one_window_of_rows(requests: list[tuple[int, float]], count: int) -> None:
    """A batch that is longer than a window closes one window, once; every request lies whole in one, in whatever order times are."""
    rows = answered(*requests)
    found = windows(watched(count), rows)
    held = [
        rows[(rows["sequence"] > a) & (rows["sequence"] <= b.sequence)]
        for a, b in zip([0, *(f.sequence for f in found)], found, strict=False)
    ]
    assert [len(one) for one in held] == [one.rows for one in found]
    assert all(len(one) >= count for one in held)
    assert len(rows) - sum(map(len, held)) < count
    assert all(
        (span.start <= one["time"]).all() and (one["time"] < span.end).all() for span, one in zip(found, held, strict=True)
    )


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 100)), max_size=30))
def test_windows_of_time_end_and_hold_what_lies_in_them(requests: list[tuple[int, float]]) -> None:
    """Each window of an hour closes once, and every row that it counts was asked up to its newest record."""
    rows = answered(*((count, 600.0 * at) for count, at in requests))
    for span in windows(watched("1h"), rows):
        inside = rows[(rows["time"] >= span.start) & (rows["time"] < span.end)]
        assert span.rows <= len(inside)
        assert span.end - span.start == 3600
        assert span.newest >= inside["sequence"].min()


def test_one_request_over_many_windows_is_sampled_in_each() -> None:
    """What is read for a window's sample reaches the batch that it lies in, though the batch is read again for the next one."""
    rows = pd.DataFrame({"sequence": 1, "row": range(5), "time": [0.0, 3600.0, 7200.0, 10800.0, 14400.0]})
    found = windows(watched("1h"), rows)
    assert [(one.rows, one.newest) for one in found] == [(1, 1)] * 4


def test_a_time_of_another_century_closes_no_window() -> None:
    """Milliseconds where seconds are meant are left out: they would end each window to come with its first row."""
    import pyarrow as pa

    now = time.time()
    rows = answered((1, now), (1, 1000 * now), (1, now + 40))
    kept: Any = SimpleNamespace(outcomes=lambda *_, **__: pa.Table.from_pandas(rows))
    assert monitoring._answered(kept, "hand", 0)["sequence"].tolist() == [1, 3]


@pytest.mark.parametrize(("mean", "upper", "found"), [(0.0, 0.0, 0.0), (0.1, 0.0, float("inf")), (1.0, 2.0, 0.5)])
def test_a_limit_of_zero_is_a_limit(mean: float, upper: float, found: float) -> None:
    """A model that erred nowhere in its gate can be judged: its first mistake is beyond every other horizon's."""
    assert found == signals._beyond(mean, upper)
