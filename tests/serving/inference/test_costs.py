"""What a prediction of a size takes, learnt: right within its class of sizes, whatever other sizes and single accidents do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.inference.costs import MOST, UNKNOWN_S, WEIGHT, Costs

SIZES = st.integers(1, 1 << 20)


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-4, 1), st.floats(0, 1e-3), st.lists(SIZES, min_size=1, max_size=60))
def test_a_size_that_was_met_is_known_within_twice(fixed: float, per_row: float, sizes: list[int]) -> None:
    """Of a model whose time is a fixed part and a part per row, in whatever order sizes come."""
    costs = Costs()
    for rows in sizes:
        costs.learn(rows, fixed + per_row * rows)
    for rows in sizes:
        assert 0.499 <= costs.expected(rows) / (fixed + per_row * rows) <= 2.001


@given(st.lists(st.floats(1e-3, 10), min_size=1), st.floats(1e-3, 1e6))
def test_one_accident_counts_for_little(measured: list[float], accident: float) -> None:
    """However long one measurement was, what is expected grows by a tenth at most; and nothing of it reaches another size."""
    costs = Costs()
    costs.learn(1, 0.001)
    for seconds in measured:
        costs.learn(1000, seconds)
    before = costs.expected(1000)
    costs.learn(1000, accident)
    assert costs.expected(1000) <= before * (1 + WEIGHT * (MOST - 1)) + 1e-12
    assert costs.expected(1) == 0.001


def test_a_lasting_change_is_followed() -> None:
    """Ten times slower from now on is known after some fifty predictions, ten times quicker too."""
    costs = Costs()
    for now in (0.01, 0.1, 0.01):
        for _ in range(60):
            costs.learn(8, now)
        assert costs.expected(8) == pytest.approx(now, rel=0.1)


def test_what_was_never_measured_is_taken_from_the_nearest() -> None:
    """In proportion where that is smaller; as it is where it is larger."""
    costs = Costs()
    assert costs.expected(5) == UNKNOWN_S
    costs.learn(4, 0.1)
    assert (costs.expected(16), costs.expected(1)) == (0.4, 0.1)
