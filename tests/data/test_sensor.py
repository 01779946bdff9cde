import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.sensor import learn, on_grid, suspect


def healthy(n: int, seed: int = 0, season: int = 52) -> np.ndarray:
    """A season, growth, noise to a tenth, and some missing values."""
    rng, at = np.random.default_rng(seed), np.arange(n)
    series = 300 + 0.03 * at + 3 * np.sin(2 * np.pi * at / season) + rng.normal(0, 0.4, n)
    series = np.round(series, 1)
    series[rng.random(n) < 0.03] = np.nan
    return series


HISTORY, LATER = healthy(1600), healthy(2200)[1600:]


def co2() -> tuple[np.ndarray, int]:
    from statsmodels.datasets import co2

    series = co2.load().data["co2"]
    return series.to_numpy(float), int((series.index < "1990").sum())


def kinds(recent: np.ndarray) -> list[str]:
    return [one.kind for one in suspect(HISTORY, recent, season=52)]


def test_mauna_loa_is_healthy():
    """Weekly CO2 from 1990 on, judged by the years before, raises nothing: growth, and faster growth, is no fault."""
    values, split = co2()
    assert suspect(values[:split], values[split:], season=52) == []


@pytest.mark.parametrize(("offset", "within"), [(3.0, 8), (-3.0, 8), (10.0, 4)])
def test_a_shifted_sensor_is_found_at_mauna_loa(offset, within):
    """An offset of 3 ppm in a series that moves by 6 within the year is a jump, dated to a few weeks."""
    values, split = co2()
    recent = values[split:].copy()
    recent[100:] += offset
    (found,) = suspect(values[:split], recent, season=52)
    assert (found.kind, found.since) == ("jump", pytest.approx(100, abs=within))
    assert found.size == pytest.approx(offset, abs=2)


@pytest.mark.parametrize("step", [0.1, -0.1])
def test_a_creeping_sensor_is_found_at_mauna_loa(step):
    """A tenth of a ppm more each week (growth is .03) is a drift, noticed within 110 weeks."""
    values, split = co2()
    recent = values[split:].copy()
    recent[100:] += step * np.arange(len(recent) - 100)
    found = suspect(values[:split], recent[:210], season=52)
    assert [one.kind for one in found] == ["drift"]


def test_a_stuck_sensor_is_found():
    """A value that repeats longer than it ever did is stuck, since its first repetition; missing values do not hide it."""
    recent = LATER.copy()
    recent[50:90] = recent[np.isfinite(recent)][50]
    recent[60] = np.nan
    (found, *_) = suspect(HISTORY, recent, season=52)
    assert (found.kind, found.since) == ("stuck", pytest.approx(50, abs=1))
    assert found.size >= 39


def test_healthy_series_are_believed():
    """Of 500 further stretches of such series, with season and growth, at most 1 in 200 is suspected: far below the stated bound."""
    suspected = 0
    for seed in range(1000, 1500):
        series = healthy(2200, seed)
        suspected += bool(suspect(series[:1600], series[1600:], season=52))
    assert suspected / 500 <= 0.005
    assert learn(HISTORY, season=52).false_alarms >= suspected / 500


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 100), st.floats(-1e4, 1e4))
def test_the_unit_does_not_matter(factor, offset):
    """Fahrenheit or Celsius: the same fault, at the same place."""
    recent = LATER.copy()
    recent[100:] += 6
    first = suspect(HISTORY, recent, season=52)
    second = suspect(HISTORY * factor + offset, recent * factor + offset, season=52)
    assert [(one.kind, one.since) for one in first] == [(one.kind, one.since) for one in second]
    assert [one.kind for one in first] == ["jump"]


def test_what_came_before_is_not_suspected():
    """A fault that lies in history is not found in recent values that are well."""
    broken = HISTORY.copy()
    broken[700:760] = 310.0
    assert suspect(broken, LATER, season=52) == []


@pytest.mark.parametrize("recent", [[], [np.nan] * 5, [np.inf, 1.0]])
def test_little_is_no_exception(recent):
    """Empty and missing values are for the volume's limit to judge; here they raise nothing."""
    assert suspect(HISTORY, recent, season=52) == []
    assert suspect([], recent, season=52) == []


def test_too_short_a_history_judges_nothing_and_says_so():
    """What cannot be calibrated is not judged, in words."""
    usual = learn(HISTORY[:60], season=52)
    assert usual.levels == ()
    assert learn([1.0, 1.0], season=52).run is None
    assert "too few" in learn([1.0, 1.0], season=52).said


def test_fewer_than_thirteen_seasons_judge_no_level():
    """How a level usually moves is learnt from a quarter of a year of weeks, not from a few: a new season is no broken sensor."""
    assert learn(HISTORY[: 52 * 12], season=52).levels == ()
    assert learn(HISTORY[: 52 * 16], season=52).levels != ()


def test_labels_have_runs_only():
    """Classes as numbers are judged by their runs; their level means nothing."""
    labels = (np.random.default_rng(0).random(2000) < 0.4).astype(float)
    stuck = np.concatenate([labels[:50], np.ones(200)])
    assert [one.kind for one in suspect(labels, stuck, numeric=False)] == ["stuck"]
    assert suspect(labels, labels[::-1], numeric=False) == []


def test_a_suspicion_is_a_record():
    """Plain values, ready for JSON."""
    recent = LATER.copy()
    recent[100:] += 6
    assert json.loads(json.dumps([one.to_json() for one in suspect(HISTORY, recent, season=52)]))[0]["kind"] == "jump"


def test_times_become_a_grid():
    """Rows in any order land on their step; a gap is NaN and of two on one step the later wins."""
    found = on_grid(np.array([7200, 0, 3601, 14_400]), np.array([3.0, 1.0, 2.0, 5.0]), 3600)
    assert found[[0, 1, 2, 4]].tolist() == [1, 2, 3, 5]
    assert np.isnan(found[3])
    assert len(on_grid(np.array([]), np.array([]), 60)) == 0
