"""Patience: who moves is waited for, who trickles is not, and nobody is remembered who is not waited for."""

from __future__ import annotations

from serving.limits import Limits
from serving.patience import Patience

LIMITS = Limits(seconds=6, rate=1000)


def test_what_stands_still_is_overdue_after_its_time() -> None:
    """Up to `seconds` it is waited for, then not."""
    patience = Patience(LIMITS)
    assert [patience.overdue({"a": 0}, now) for now in (100, 103, 106, 106.1)] == [[], [], [], ["a"]]


def test_what_moves_gets_more_time() -> None:
    """A second for each `rate` bytes, of what came or of what there was to go."""
    coming = Patience(LIMITS)
    assert [coming.overdue({"a": 1000 * now}, now) for now in range(0, 60, 5)] == [[]] * 12
    going = Patience(LIMITS)
    assert [going.overdue({"a": size}, now) for now, size in ((0, 4000), (5, 2000), (9.9, 1), (10.1, 1))] == [[], [], [], ["a"]]


def test_what_stands_still_is_given_up_however_much_it_moved() -> None:
    """A megabyte in the first second buys no idle minute."""
    patience = Patience(LIMITS)
    assert [patience.overdue({"a": size}, now) for now, size in ((0, 0), (1, 10**6), (7, 10**6), (7.1, 10**6))] == [
        [],
        [],
        [],
        ["a"],
    ]


def test_a_trickle_is_not_movement() -> None:
    """A byte per second does not hold a place."""
    patience = Patience(LIMITS)
    assert ["a"] in [patience.overdue({"a": now}, now) for now in range(8)]


def test_what_was_not_waited_for_begins_anew() -> None:
    """An end that was heard of in between has all its time again."""
    patience = Patience(LIMITS)
    assert [patience.overdue(waiting, now) for waiting, now in (({"a": 0}, 0), ({}, 5), ({"a": 0}, 7), ({"a": 0}, 12))] == [
        []
    ] * 4
