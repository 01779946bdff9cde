"""Features of series: only the past, by time and not by rows, whatever the gaps and however many series."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import series
from data.errors import UserError
from data.series import Feature, Timeline

HOUR = 3600
HORIZONS = (1, 24)


def line(steps: list[int], entity: list[str] | None = None, reach: int = 800) -> Timeline:
    time = pd.Series(pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(steps, unit="h")).astype("datetime64[us, UTC]")
    return Timeline.of(None if entity is None else pd.Series(entity), time, HOUR, reach)


def inputs(timeline: Timeline, values: np.ndarray) -> pd.DataFrame:
    plan = series.target_plan("y", HORIZONS, HOUR, 168)
    return pd.DataFrame(series.compute(timeline, {"y": values}, plan))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 3), min_size=3, max_size=400),
    st.data(),
    st.sampled_from([np.nan, np.inf, -1e300, 0.0, 7.5]),
)
def test_no_value_after_t_moves_a_feature_at_t(gaps: list[int], data: st.DataObject, later: float):
    """Whatever stands after t, missing or huge, the features and naive forecasts at t and before are the same to the bit."""
    steps = np.cumsum(gaps).tolist()
    cut = data.draw(st.integers(0, len(steps) - 2))
    values = np.random.default_rng(len(steps)).normal(100, 10, len(steps))
    changed = values.copy()
    changed[cut + 1 :] = later
    timeline = line(steps)
    with np.errstate(over="ignore", invalid="ignore"):
        one, two = inputs(timeline, values), inputs(timeline, changed)
        pd.testing.assert_frame_equal(one[: cut + 1], two[: cut + 1], check_exact=True)
        for horizon in HORIZONS:
            naive, other = (series.baselines(timeline, v, horizon, 168) for v in (values, changed))
            for kind in naive:
                np.testing.assert_array_equal(naive[kind][: cut + 1], other[kind][: cut + 1])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=120), st.lists(st.integers(1, 4), min_size=2, max_size=120))
def test_one_series_never_sees_another(first: list[int], second: list[int]):
    """The features of a series beside another are those it has alone."""
    a, b = np.cumsum(first), np.cumsum(second)
    values = np.random.default_rng(1).normal(5, 1, len(a) + len(b))
    both = inputs(line([*a, *b], ["a"] * len(a) + ["b"] * len(b)), values)
    alone = inputs(line(b.tolist()), values[len(a) :])
    pd.testing.assert_frame_equal(both[len(a) :].reset_index(drop=True), alone, rtol=1e-12)


def test_lags_are_by_time():
    """A missing hour is a missing lag: the row before is not taken in its place."""
    timeline = line([0, 1, 3, 4])
    made = series.compute(timeline, {"y": np.array([10.0, 11, 13, 14])}, [Feature(name="l", column="y", how="lag", steps=(1,))])
    np.testing.assert_array_equal(made["l"], [np.nan, 10, np.nan, 13])


def test_lags_of_text_are_text():
    """A class's past is its label, None where it is unknown."""
    timeline = line([0, 1, 3])
    labels = np.array(["up", "down", "up"], dtype=object)
    assert timeline.pick(labels, -1).tolist() == [None, "up", None]


def test_means_need_half_their_window():
    """A mean is that of what is known in its window, and unknown when more than half of it is."""
    timeline = line([0, 1, 2, 3, 9])
    values = np.array([1.0, 2, np.nan, 6, 5])
    np.testing.assert_allclose(timeline.mean(values, 4), [np.nan, 1.5, 1.5, 3, np.nan])


def test_a_high_level_costs_no_precision():
    """Means of a series near 1e9 that moves by 1e-3 are right to 1e-6."""
    values = 1e9 + np.sin(np.arange(5000)) * 1e-3
    found = line(list(range(5000))).mean(values, 100)[200:]
    np.testing.assert_allclose(found - 1e9, pd.Series(values - 1e9).rolling(100).mean().to_numpy()[200:], atol=1e-6)


def test_slots_stand_whole_cycles_before_the_target():
    """A day's and a week's lag are counted from the time that is forecast, and none lies after t."""
    names = {feature.name for feature in series.target_plan("y", HORIZONS, HOUR, 168)}
    assert {"y_lag0", "y_lag23", "y_lag167", "y_lag144", "y_median144", "y_mean168", "y_mean672"} <= names
    assert not [name for name in names if "-" in name]


def test_naive_forecasts_of_a_known_series():
    """On a line plus a weekly wave, seasonal-drift is exact, seasonal-naive is a week's growth behind, persistence is the last value."""
    hours = np.arange(24 * 7 * 6)
    values = 0.5 * hours + np.sin(2 * np.pi * hours / 168)
    timeline = line(hours.tolist())
    truth = timeline.pick(values, 24)
    naive = series.baselines(timeline, values, 24, 168)
    late = slice(400, -24)
    np.testing.assert_allclose(naive["seasonal-drift"][late], truth[late])
    np.testing.assert_allclose(naive["seasonal-naive"][late] + 84, truth[late])
    np.testing.assert_array_equal(naive["persistence"], values)


def test_a_wrong_step_is_told():
    """Rows that share a step of their series are an error that names data.step."""
    with pytest.raises(UserError, match=r"data\.step"):
        line([0, 0, 0, 1, 1, 1])


@pytest.mark.slow
def test_a_million_rows_of_a_thousand_series():
    """The whole plan for 1,000,000 rows is worked out in seconds, and every row has its features."""
    steps, names = np.tile(np.arange(1000), 1000), np.repeat([f"e{i:03d}" for i in range(1000)], 1000)
    timeline = line(steps.tolist(), names.tolist())
    made = inputs(timeline, np.random.default_rng(0).normal(size=1_000_000))
    assert len(made) == 1_000_000
    assert made["y_lag0"].notna().all()
