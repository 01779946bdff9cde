"""How two opinions are compared, and what is said of it."""

from __future__ import annotations

import numpy as np

from training.explain.agreement import agreement


def test_equal_opinions_agree() -> None:
    """Rank 1, and all of the weightiest are shared."""
    found = agreement(np.array([3.0, -2.0, 1.0, 0.5, 0.1, 0.0]), np.array([6.0, -4.0, 2.0, 1.0, 0.2, 0.0]))
    assert (found.rank, found.shared, found.top) == (1.0, 5, 5)
    assert "these weights can be relied on" in found.said


def test_opposite_opinions_are_said_to_disagree() -> None:
    """Of the same weights with other signs the order is turned round, and a reader is told what still holds."""
    found = agreement(np.array([3.0, -2.0, 1.0]), np.array([-3.0, 2.0, -1.0]))
    assert found.rank == -1.0
    assert "no single bar can be relied on" in found.said


def test_too_little_to_compare_is_no_agreement() -> None:
    """One input, or an answer that nothing moves, has no rank."""
    assert agreement(np.array([1.0]), np.array([1.0])).rank is None
    assert agreement(np.zeros(4), np.zeros(4)).rank is None
    assert "too little to compare" in agreement(np.zeros(4), np.ones(4)).said
