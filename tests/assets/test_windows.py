"""Windows: when one is due, and its record."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from assets.windows import MonitorSection, Signal, Window, completed, due, length_rows, read
from serving.chain import Decision

WINDOW = Window(
    workload="w",
    version="1",
    start=0.0,
    end=10.0,
    labels_from=0.0,
    labels_to=5.0,
    sequence=3,
    rows=2,
    labelled=1,
    signals={"quality": Signal(state="alarm", said="x", value=math.nan, limit=math.inf, detail={"h4": {"upper": math.nan}})},
)


def recorded(window: Window) -> Decision:
    return Decision(kind="window", workload="w", version="1", payload=window.payload(), actor="monitor", key="k", sequence=7)


def test_what_is_no_number_is_recorded_as_nothing() -> None:
    """A window whose limit could not be computed can be put on record and read again."""
    payload = json.loads(json.dumps(WINDOW.payload(), allow_nan=False))
    assert payload["signals"]["quality"]["value"] is None
    again = read(recorded(WINDOW))
    assert again.signals["quality"].limit is None
    assert again.seen == 7
    assert again.alarms == ("quality",)


def test_no_data_is_red() -> None:
    """A window in which nothing came is red, though nothing is beyond a limit."""
    silent = Window(**{**vars(WINDOW), "signals": {"volume": Signal(state="no data", said="no request")}})
    assert silent.red
    assert silent.alarms == ()


@given(st.lists(st.floats(0, 1000), max_size=50), st.floats(1, 100))
def test_a_span_is_due_when_something_newer_has_come(times: list[float], length: float) -> None:
    """A window of time closes exactly when an event at or behind its end is known, and ends where it should."""
    times.sort()
    end = due(0.0, length, times)
    assert (end is not None) == bool(times and times[-1] >= length)
    assert end in {None, length}


@given(st.lists(st.integers(0, 1000), max_size=50), st.integers(1, 20))
def test_a_count_is_complete_when_its_rows_are_there(sequences: list[int], rows: int) -> None:
    """A window of rows closes with the request that holds its last row."""
    sequences.sort()
    assert completed(sequences, rows) == (sequences[rows - 1] if len(sequences) >= rows else None)


def test_a_number_is_rows_and_a_duration_is_time() -> None:
    """`window: 300` counts rows."""
    assert length_rows(MonitorSection(window=300)) == 300
