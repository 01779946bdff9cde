"""What a person reads in the place of column names."""

from __future__ import annotations

import math

import pytest

from training.explain import wording
from training.signature import MISSING_TIME, Input, Signature


def series(step: int = 604_800, **more: object) -> Signature:
    stated: dict[str, object] = {"workload": "w", "family": "tabular", "task": "forecasting", "target": "co2", "outputs": ()}
    stored = ("co2_lag0", "co2_lag1", "co2_lag52", "co2_mean52", "co2_mean52_lag52", "co2_median48")
    stated |= {"stored": stored, "inputs": (), "horizons": (4,), "step_seconds": step, "time": "week", "known": ("promo",)}
    return Signature.model_validate(stated | more)


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("co2_lag0", "co2 now"),
        ("co2_lag1", "co2 1 week earlier"),
        ("co2_lag52", "co2 52 weeks earlier"),
        ("co2_mean52", "mean co2 of 52 weeks"),
        ("co2_mean52_lag52", "mean co2 of 52 weeks, up to 52 weeks earlier"),
        ("co2_median48", "seasonal co2 (median, newest 48 weeks earlier)"),
        ("week", "the date (week)"),
        ("promo", "promo 4 weeks ahead"),
        ("else_lag1", "else_lag1"),
    ],
)
def test_features_of_a_series_are_named_in_words(name: str, readable: str) -> None:
    """A lag is a time, not a number; a column that only looks like one keeps its name."""
    assert wording.readable(name, series()) == readable


def test_a_table_keeps_its_own_names() -> None:
    """A person's columns are called what the person called them, whatever they look like."""
    plain = series(step_seconds=None, horizons=(), stored=("x_lag1",))
    assert wording.readable("x_lag1", plain) == "x_lag1"


@pytest.mark.parametrize(
    ("seconds", "said"), [(3600, "1 hour"), (1800, "30 minutes"), (86_400, "1 day"), (172_800 * 7, "2 weeks")]
)
def test_spans_are_in_whole_units(seconds: int, said: str) -> None:
    """The largest unit that it is whole of."""
    assert wording.span(seconds) == said


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (math.nan, "number", "missing"),
        (None, "number", "missing"),
        ("", "category", "missing"),
        (MISSING_TIME, "time", "missing"),
        (0, "time", "1970-01-01"),
        (90, "time", "1970-01-01 00:01"),
        (True, "boolean", "yes"),
        (352.1251, "number", "352.13"),
        (0.0, "number", "0"),
        ("東京", "category", "東京"),
    ],
)
def test_values_are_said_as_people_write_them(value: object, kind: str, said: str) -> None:
    """Missing is a word, times are dates, and a number has as many figures as mean something."""
    assert wording.said(value, Input.model_validate({"name": "x", "kind": kind, "nullable": True, "tensor": "x0"})) == said
