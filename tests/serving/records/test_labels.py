"""Labels: what they are about, what they may say, and that saying it twice is saying it once."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import UserError
from serving.records import Label, Labelled, Records, by_id, by_time
from tests.serving.records.samples import FORECAST, WEEK, answered, new_id, prediction


def _label(about: str, value: Any = 1.5, **changed: Any) -> Label:
    return Label(**{"workload": "co2", "about": about, "value": value} | changed)


def test_what_a_label_is_about_is_written_in_one_way() -> None:
    """A prediction's row is named by ID/N, with a forecast's horizon behind it; a time by ISO 8601 in UTC, and the entity."""
    one = new_id()
    assert by_id(one) == f"id:{one}/0"
    assert by_id(f"{one}/3") == by_id(one, 3) == f"id:{one}/3"
    assert by_id(one, 3, 52) == f"id:{one}/3/h52"
    assert by_time("2001-01-06", "mauna-loa") == "at:2001-01-06T00:00:00Z|mauna-loa"
    assert by_time(0) == by_time(datetime(1970, 1, 1, tzinfo=UTC)) == "at:1970-01-01T00:00:00Z|"
    assert by_time(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 7) == "at:1970-01-01T00:00:00Z|7"
    with pytest.raises(ValueError, match="no time"):
        by_time("yesterday")


def test_a_label_is_kept_once(records: Records) -> None:
    """The same label again is no record, in whatever form it comes; another value is a correction, also back to the first."""
    one = new_id()
    labels = [_label(by_id(one, 0, 4), 351.25), _label(by_time(WEEK, "mauna-loa"), "351.25"), _label(by_id(one, 1), "yes")]
    assert records.label(labels) == Labelled(new=3)
    again = [
        _label(by_id(one.upper(), 0, 4), "351.25"),
        _label("at:1970-01-08|mauna-loa", 351.25),
        _label(by_id(one, 1), "yes"),
    ]
    assert records.label(again) == Labelled(same=3)
    assert records.label([_label(by_id(one, 1), "no"), _label(by_id(one, 1), "no")]) == Labelled(corrected=1, same=1)
    assert records.label([_label(by_id(one, 1), "yes")]) == Labelled(corrected=1)
    assert records.label([_label(by_id(one, 1), "yes", workload="other")]) == Labelled(new=1)
    assert records.bounds().labels == 6
    assert records.verify() is None


def test_many_labels_are_kept_in_several_transactions(records: Records) -> None:
    """A list of any length is kept, and again it says nothing new."""
    labels = [_label(by_time(n * WEEK, f"s{n % 7}"), n) for n in range(1700)]
    assert records.label(labels) == Labelled(new=1700)
    assert records.label(labels[::-1]) == Labelled(same=1700)


@pytest.mark.parametrize(
    ("about", "value"),
    [
        ("id:short/0", 1),
        ("about nothing", 1),
        ("at:yesterday|x", 1),
        ("at:2001-01-06|" + "x" * 1001, 1),
        ("at:2001-01-06|\0", 1),
        (by_time(0), math.nan),
        (by_time(0), math.inf),
        (by_time(0), ""),
        (by_time(0), None),
        (by_time(0), [1]),
        (by_time(0), "x" * 1001),
    ],
)
def test_a_label_of_wrong_form_is_named_and_none_is_kept(tmp_path: Path, about: str, value: Any) -> None:
    """A person reads which label is wrong; those beside it are not kept either."""
    records = Records.at(tmp_path)
    with pytest.raises(UserError, match="label 1: "):
        records.label([_label(by_time(0)), _label(about, value)])
    assert records.bounds().labels == 0


_ABOUTS = [by_time(4 * WEEK, "s"), by_time(52 * WEEK, "s"), by_id("0" * 31 + "1", 0, 4), by_id("0" * 31 + "1", 0, 52)]
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("label"), st.lists(st.tuples(st.sampled_from(_ABOUTS), st.integers(0, 3)), min_size=1, max_size=5)),
        st.tuples(st.sampled_from(["append", "absorb", "close"]), st.integers(1, 4)),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(steps=_STEPS)
def test_any_interleaving_keeps_the_chains_and_the_newest_label_wins(tmp_path_factory: Any, steps: list[Any]) -> None:
    """However appends, labels, corrections and absorbing follow each other: both chains hold, and the truth is what was said last."""
    records = Records.at(tmp_path_factory.mktemp("home"))
    records.append([answered(FORECAST, [0], [[1, 2]], id="0" * 31 + "1", entities=("s",))])
    said: dict[str, float] = {}
    order: dict[str, int] = {}
    count, clock = 1, itertools.count()
    for what, how in steps:
        if what == "label":
            for about, value in how:
                if said.get(about) != value:  # the same again says nothing new
                    order[about] = next(clock)
                said[about] = value
            records.label([_label(about, value) for about, value in how])
        elif what == "append":
            records.append([prediction() for _ in range(how)])
            count += how
        elif what == "absorb":
            records.absorb(FORECAST)
        else:
            records.close()
    records.absorb(FORECAST)
    found = {row["horizon"]: row["truth"] for row in _rows(records) if row["sequence"] == 1}
    for horizon, abouts in {4: _ABOUTS[::2], 52: _ABOUTS[1::2]}.items():
        newest = max((about for about in abouts if about in said), key=lambda about: order[about], default=None)
        assert found[horizon] == (None if newest is None else said[newest])
    assert records.newest("co2") == count
    assert records.verify() is None
    records.close()


def _rows(records: Records) -> list[dict[str, Any]]:
    return records.outcomes("co2", since=None, until=None, roles=None).to_pylist()
