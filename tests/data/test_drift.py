import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data import drift
from data.drift import replay, statistics
from data.drift.reference import places
from data.errors import UserError
from data.schema import Column

COLUMNS = (
    Column(name="x", kind="number", nullable=True),
    Column(name="n", kind="integer"),
    Column(name="tiny", kind="number"),
    Column(name="still", kind="number"),
    Column(name="per", kind="number"),  # a name that Evidently's own tables use
    Column(name="colour", kind="category", nullable=True),
    Column(name="on", kind="boolean"),
    Column(name="when", kind="time"),
)


def rows(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    lost = (rng.random(n) < 0.05) & (np.arange(n) > 0)
    return pd.DataFrame(
        {
            "x": np.where(lost, np.nan, rng.normal(10, 3, n)),
            "n": rng.poisson(4, n),
            "tiny": rng.normal(0, 1e-6, n),
            "still": np.full(n, 7.0),
            "per": rng.gamma(2, 1, n),
            "colour": rng.choice(["red", "green", "blue"], n, p=[0.6, 0.3, 0.1]),
            "on": rng.random(n) < 0.3,
            "when": pd.date_range("2020-01-01", periods=n, freq="h", tz="UTC"),
        }
    )


@pytest.fixture(scope="module")
def known() -> drift.Reference:
    return drift.reference(rows(6000), COLUMNS, rows=3000)


@pytest.fixture(scope="module")
def limits() -> drift.Thresholds:
    return drift.calibrate(rows(6000), COLUMNS, window=500, rows=3000, ordered=False, rounds=100)


def quick(current: pd.DataFrame, known: drift.Reference, limits: drift.Thresholds) -> drift.Drift:
    return drift.compare(current, known, limits, evidently=False)


def feature(found: drift.Drift, name: str) -> drift.Feature:
    return next(one for one in found.features if one.name == name)


numbers = arrays(float, st.integers(5, 60), elements=st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3)))


@given(numbers)
def test_equal_samples_are_no_distance_apart(values):
    """A sample has no distance from itself, in any order."""
    of, ordered = statistics.spread(values), np.sort(values)
    assert statistics.wasserstein(ordered, np.sort(values[::-1]), of) == 0
    count = np.unique(values, return_counts=True)[1]
    assert statistics.jensenshannon(count, count) == pytest.approx(0, abs=1e-7)
    assert statistics.share_moved(count, 3 * count) == pytest.approx(0, abs=1e-12)


@given(numbers, numbers, st.floats(0.01, 100), st.floats(-1000, 1000))
def test_the_distance_of_numbers_does_not_know_their_unit(old, new, factor, offset):
    """Wasserstein in std is the same in Celsius and Fahrenheit, unless the column never moved."""
    if old.std() < 1e-2:
        return
    first = statistics.wasserstein(np.sort(old), np.sort(new), statistics.spread(old))
    old, new = old * factor + offset, new * factor + offset
    assert statistics.wasserstein(np.sort(old), np.sort(new), statistics.spread(old)) == pytest.approx(
        first, rel=1e-6, abs=1e-6
    )


@given(st.integers(1, 500), st.integers(1, 100), st.integers(0, 9))
def test_a_sample_is_even_and_repeats(n, most, seed):
    """A sample has the asked size, no row twice, in order, one of each stretch, and the same for the same seed."""
    found = places(n, most, seed)
    assert len(found) == min(n, most)
    assert (np.diff(found) > 0).all()
    assert found.max(initial=0) < n
    assert (found == places(n, most, seed)).all()
    if n > most:
        assert (np.abs(found - np.arange(most) * n / most) <= n / most + 1).all()


def test_the_quick_statistics_are_evidentlys(known, limits):
    """What calibrates thresholds equals what Evidently computes, to 1e-6, for each kind of column, moved or not."""
    moved = rows(700, seed=9).assign(x=lambda t: t["x"] + 1, tiny=lambda t: t["tiny"] * 3, still=8.0)
    moved.loc[:99, "colour"] = "blue"
    for current in (rows(700, seed=8), moved):
        theirs, ours = drift.compare(current, known, limits), quick(current, known, limits)
        assert len(theirs.features) == 7
        for one, other in zip(theirs.features, ours.features, strict=True):
            assert one.statistic == pytest.approx(other.statistic, rel=1e-6, abs=1e-6), one.name
            assert (one.drifted, one.said) == (other.drifted, other.said)
        assert theirs.alarm == ours.alarm


def test_evidently_writes_its_page_only_where_asked(known, limits, tmp_path):
    """The full report is one HTML file, and the verdict is the same with and without it."""
    page = tmp_path / "pages" / "window.html"
    found = drift.compare(rows(500, seed=3), known, limits, html=page)
    assert page.read_text(encoding="utf-8").lstrip().startswith("<!DOCTYPE html>") or "<html" in page.read_text(
        encoding="utf-8"
    )
    assert "colour" in page.read_text(encoding="utf-8")
    assert [path.name for path in page.parent.iterdir()] == ["window.html"]
    assert found == drift.compare(rows(500, seed=3), known, limits)


def test_the_reference_is_no_drift_from_itself(known, limits):
    """The rows that the reference was made of raise no alarm, and every statistic is below its limit."""
    found = quick(rows(6000), known, limits)
    assert not found.alarm, found.said
    assert all(one.scaled < 1 for one in found.features)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(60, 900), st.booleans())
def test_no_history_alarms_at_itself(seed, n, ordered):
    """Whatever stable history was, as a window it is no drift from its own reference."""
    history = rows(n, seed)
    known = drift.reference(history, COLUMNS, seed=seed, rows=300, ordered=ordered)
    limits = drift.calibrate(history, COLUMNS, window=n // 6, seed=seed, rows=300, rounds=30, ordered=ordered)
    found = drift.compare(history, known, limits, seed=seed, evidently=False)
    assert not found.alarm, found.said


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_order_of_rows_means_nothing(seed):
    """Shuffling a window changes no figure, where nothing is sampled away."""
    known = drift.reference(rows(400), COLUMNS)
    limits = drift.calibrate(rows(400), COLUMNS, window=100, rounds=20)
    window = rows(100, seed=seed)
    first, second = quick(window, known, limits), quick(window.sample(frac=1, random_state=seed), known, limits)
    assert [one.statistic for one in first.features] == pytest.approx([one.statistic for one in second.features])


def test_what_moved_is_named_with_its_effect(known, limits):
    """A shifted mean, moved classes and lost values each raise the alarm, named in the words of their unit."""
    window = rows(500, seed=4).assign(per=lambda t: t["per"] + 2)
    window.loc[:199, "colour"] = "blue"
    window["n"] = window["n"].astype(float).where(np.arange(500) >= 150)
    found = quick(window, known, limits)
    assert found.alarm
    assert {one.name for one in found.features if one.alarming} == {"per", "colour", "n"}
    assert feature(found, "per").effect == pytest.approx(2 / 2**0.5, abs=0.15)
    assert "std" in feature(found, "per").said
    assert feature(found, "colour").effect == pytest.approx(0.36, abs=0.05)
    assert "'blue'" in feature(found, "colour").said
    assert feature(found, "n").missing == pytest.approx(0.3)
    assert feature(found, "n").missing_drifted
    assert not feature(found, "x").drifted


@pytest.mark.parametrize(
    ("change", "kind", "column"),
    [
        (lambda t: t.iloc[:0], "no data", None),
        (lambda t: t.drop(columns="x"), "missing column", "x"),
        (lambda t: t.assign(x=np.nan), "all missing", "x"),
        (lambda t: t.assign(x=np.inf), "all missing", "x"),
        (lambda t: t.assign(x="seven"), "all missing", "x"),
        (lambda t: t.assign(colour=None), "all missing", "colour"),
        (lambda t: t.assign(colour=["violet", *t["colour"][1:]]), "new category", "colour"),
        (lambda t: t.assign(colour=[["a", "list"]] * len(t)), "new category", "colour"),
        (lambda t: t.assign(x=[1.0, 2.0, *[np.nan] * (len(t) - 2)]), "too few values", "x"),
    ],
)
@pytest.mark.parametrize("evidently", [False, True])
def test_what_cannot_be_compared_is_red(known, limits, change, kind, column, evidently):
    """No rows, absent columns, nothing but missing values, text for numbers and unknown classes are findings: red, and no exception."""
    found = drift.compare(change(rows(300, seed=5)), known, limits, evidently=evidently)
    assert found.alarm
    assert (kind, column) in {(finding.kind, finding.column) for finding in found.findings}
    json.dumps(found.to_json(), allow_nan=False)


def test_one_row_is_compared_without_an_exception(known, limits):
    """A window of a single row says what it can."""
    json.dumps(quick(rows(1, seed=1), known, limits).to_json(), allow_nan=False)


def test_numbers_that_evidently_cannot_draw_are_said(known, limits):
    """Numbers beyond all measure are drift or a finding; they stop neither the other columns nor the monitor."""
    window = rows(300, seed=5).assign(x=lambda t: t["x"] * 1e300)
    found = drift.compare(window, known, limits)
    assert found.alarm
    assert feature(found, "per").statistic is not None


def test_a_growing_column_is_shown_and_does_not_alarm():
    """A level that rises steadily in stable history differs from any old reference; that alone is no alarm."""
    n = 3000
    rng = np.random.default_rng(0)

    def grown(first: int, count: int) -> pd.DataFrame:
        at = np.arange(first, first + count)
        return pd.DataFrame({"level": at / 100 + rng.normal(0, 1, count), "noise": rng.normal(0, 1, count)})

    columns = (Column(name="level", kind="number", nullable=True), Column(name="noise", kind="number"))
    history = grown(0, n)
    known, limits = drift.reference(history, columns), drift.calibrate(history, columns, window=150)
    found = quick(grown(2 * n, 150), known, limits)
    assert (limits.limits["level"].trending, limits.limits["noise"].trending) == (True, False)
    assert feature(found, "level").drifted
    assert feature(found, "level").trending
    assert not found.alarm, found.said
    lost = grown(2 * n, 150).assign(level=lambda t: t["level"].where(np.arange(150) > 75))
    assert quick(lost, known, limits).alarm


def test_pictures_are_compared_by_their_light():
    """An image column becomes mean, std and ink; a camera that went dark is noticed, a broken picture is a missing value."""
    rng = np.random.default_rng(0)
    columns = (Column(name="image", kind="image", shape=(8, 8)),)

    def pictures(n: int, light: float = 1.0) -> pd.DataFrame:
        return pd.DataFrame({"image": [list(rng.random(64) * light) for _ in range(n)]})

    known = drift.reference(pictures(400), columns)
    limits = drift.calibrate(pictures(400), columns, window=50, ordered=False)
    assert [one.name for one in known.traits] == ["image: mean", "image: std", "image: ink"]
    assert not quick(pictures(50), known, limits).alarm
    dark = quick(pictures(50, 0.5), known, limits)
    assert dark.alarm
    assert feature(dark, "image: mean").effect < -3
    assert quick(pictures(50).assign(image=None), known, limits).findings[0].kind == "all missing"


def test_the_rate_holds_on_fresh_rows(known, limits):
    """Of 100 windows of the same distribution at most the stated share, and chance, raise an alarm."""
    fresh = rows(50_000, seed=77)
    alarms = sum(quick(fresh.iloc[i : i + 500], known, limits).alarm for i in range(0, 50_000, 500))
    assert alarms <= 10  # 5 are stated; 11 of 100 has a chance of 1 %


def test_small_windows_have_wider_limits(known, limits):
    """A fiftieth of the rows differs more by chance: the limit grows with the root, and small stable windows stay quiet."""
    fresh = rows(2000, seed=78)
    small = [quick(fresh.iloc[i : i + 20], known, limits) for i in range(0, 2000, 20)]
    assert small[0].widened == pytest.approx(5)
    assert sum(found.alarm for found in small) <= 10


def test_short_history_says_so_and_widens():
    """Where fewer windows fit than the rate needs, the thresholds say it and are wider than those of long history."""
    short = drift.calibrate(rows(900), COLUMNS, window=300)
    long = drift.calibrate(rows(30_000), COLUMNS, window=300)
    assert (short.short, long.short) == (True, False)
    assert short.inflation > long.inflation
    assert "too few" in short.said or "do not fit" in short.said or "no rate below" in short.said
    with pytest.raises(UserError, match="too few"):
        drift.calibrate(rows(10), COLUMNS, window=300)


@pytest.mark.parametrize("n", [4, 8, 16])
def test_a_limit_of_few_windows_keeps_the_rate(n):
    """Beyond the largest of a few exponential values, times the stretch, lies another one at the stated rate: their own chance is counted."""
    values = np.random.default_rng(0).exponential(size=(400_000, n + 1))
    beyond = values[:, 0] > replay._stretch(n, 0.025) * values[:, 1:].max(axis=1)
    assert beyond.mean() == pytest.approx(0.025, abs=0.001)


def test_long_history_needs_no_stretch():
    """Where the windows show the rate themselves, the limit is what they showed."""
    assert [replay._stretch(n, 0.025) for n in (40, 100, 1e4)] == [1.0, 1.0, 1.0]


def test_a_reference_and_its_thresholds_are_files(known, limits, tmp_path):
    """What is stored and read again judges exactly alike."""
    known.write(tmp_path / "reference.parquet")
    again = drift.Reference.read(tmp_path / "reference.parquet")
    told = drift.Thresholds.from_json(json.loads(json.dumps(limits.to_json(), allow_nan=False)))
    assert again.traits == known.traits
    assert told == limits
    window = rows(400, seed=6)
    assert quick(window, again, told) == quick(window, known, limits)
    rows(5).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="no drift reference"):
        drift.Reference.read(tmp_path / "other.parquet")


def test_the_reference_knows_no_first_rows_without_a_past():
    """Rows in which a lag has no value yet are no part of what is usual."""
    history = rows(1000).assign(n=lambda t: t["n"].where(np.arange(1000) >= 150))
    assert drift.reference(history, COLUMNS).all_rows == 850
    assert drift.reference(history, COLUMNS, ordered=False).all_rows == 1000


@pytest.mark.slow
def test_a_window_of_forty_columns_takes_under_five_seconds():
    """2,000 rows by 40 columns, Evidently included and imported, in seconds of this process: the machine may be busy."""
    import time

    import evidently.metrics  # noqa: F401

    rng = np.random.default_rng(0)
    columns = tuple(Column(name=f"x{i}", kind="number") for i in range(40))
    history = pd.DataFrame(rng.normal(size=(5000, 40)), columns=[c.name for c in columns])
    known, limits = drift.reference(history, columns), drift.calibrate(history, columns, window=2000, rounds=20)
    began = time.process_time()
    drift.compare(history.iloc[:2000], known, limits)
    assert time.process_time() - began <= 5
