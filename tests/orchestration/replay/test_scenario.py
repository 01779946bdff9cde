"""What a replay plays: every row from its start, and no truth before it is known."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest

from assets.spec import Spec, load
from data.errors import UserError
from data.faults import Fault
from data.places import Places
from data.schema import TIME
from orchestration.replay import scenario
from orchestration.replay.playing import pace
from tests.conftest import ROOT

SPAN = (pd.Timestamp("1991-01-01", tz="UTC"), pd.Timestamp("1996-01-01", tz="UTC"))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(root=ROOT, home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def spec(places: Places) -> Spec:
    return load(places, "co2")


def test_every_row_from_the_start_is_played_once(spec: Spec, places: Places) -> None:
    """The steps cover the replay without gap or overlap, and hold every example whose truth exists, also those that training would leave out."""
    played = scenario.load(spec, places, "1991", "1996")
    steps = list(played.steps(pd.Timedelta(days=91)))
    assert steps[0][0] == played.start
    assert steps[-1][1] == played.end
    assert all(first[1] == second[0] for first, second in pairwise(steps))
    rows = [played.examples[(played.examples[TIME] >= a) & (played.examples[TIME] < b)] for a, b in steps]
    assert sum(map(len, rows)) == len(played.examples)
    assert played.examples[TIME].diff().max() < pd.Timedelta(days=90)  # no year is missing


def test_a_truth_arrives_after_its_delay(spec: Spec, places: Places) -> None:
    """With a label delay of four weeks nothing is told earlier than that."""
    late = spec.model_copy(update={"data": spec.data.model_copy(update={"label_delay": "28d"})})
    played = scenario.load(late, places, "1991", "1992")
    played = played.known_from(played.start)
    assert ((played.truths["known"] - played.truths["time"]) == pd.Timedelta(days=28)).all()
    told = played.labels(played.start, played.start + pd.Timedelta(days=28))
    assert told == []


def test_truths_between_training_and_the_start_are_told_first(spec: Spec, places: Places) -> None:
    """A model trained to 1990 and played from 1991 is told of the year between."""
    known = pd.Timestamp("1990-01-01", tz="UTC")
    played = scenario.load(spec, places, "1991", "1992").known_from(known)
    between = [pd.Timestamp(one["time"]) for one in played.before()]
    assert min(between).year == max(between).year == 1990
    assert len(between) > 45


def test_a_fault_is_in_what_is_asked_and_in_what_is_told(spec: Spec, places: Places) -> None:
    """A stuck sensor reports the same to the model and to whoever labels."""
    fault = Fault(kind="stuck", at=pd.Timestamp("1993-01-01", tz="UTC"))
    played = scenario.load(spec, places, "1991", "1996", fault)
    late = played.truths[played.truths["time"] >= fault.at]
    asked = played.examples[played.examples[TIME] >= fault.at + pd.Timedelta(days=10)]
    assert late["value"].nunique() == 1
    assert set(asked["co2_lag0"]) == set(late["value"])


def test_after_a_fault_the_right_values_can_be_told(spec: Spec, places: Places) -> None:
    """What a planted fault told wrongly is told rightly at the end: nothing is learnt from a fault that was played."""
    fault = Fault(kind="stuck", at=pd.Timestamp("1993-01-01", tz="UTC"))
    right = {one["time"]: one["value"] for one in scenario.load(spec, places, "1991", "1995").labels(*SPAN)}
    mended = scenario.load(spec, places, "1991", "1995", fault).mended()
    assert len(mended) > 90
    assert all(right[one["time"]] == one["value"] for one in mended)
    assert scenario.load(spec, places, "1991", "1995").mended() == []


@pytest.mark.parametrize(("end", "fault"), [("1990", None), ("1992", "1999-01-01"), ("1992", "1985-01-01")])
def test_an_end_or_a_fault_outside_the_replay_is_said(spec: Spec, places: Places, end: str, fault: str | None) -> None:
    """An end before the start, or a fault that would never come, is refused."""
    planted = Fault(kind="stuck", at=pd.Timestamp(fault, tz="UTC")) if fault else None
    with pytest.raises(UserError, match=r"--to|--fault"):
        scenario.load(spec, places, "1991", end, planted)


@pytest.mark.parametrize("start", ["1900", "2050", "soon"])
def test_a_start_outside_the_data_is_said(spec: Spec, places: Places, start: str) -> None:
    """A date before or behind the source, or no date, is refused and named."""
    with pytest.raises(UserError, match=r"--from|has rows from"):
        scenario.load(spec, places, start)


def test_a_workload_without_time_cannot_be_replayed(places: Places) -> None:
    """digits has no later years."""
    with pytest.raises(UserError, match="no series"):
        scenario.load(load(places, "digits"), places, "1991")


def test_speeds() -> None:
    """`max`, or a positive number."""
    assert pace("max") is None
    assert pace("86400") == 86_400
    for wrong in ("fast", "0", "-1", "inf", "nan"):
        with pytest.raises(UserError, match="speed"):
            pace(wrong)
