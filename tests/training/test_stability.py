import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.stability import Limit, calibrate, freshness, judge, volume


def losses(n: int, seed: int, memory: float = 0.0) -> np.ndarray:
    """Positive, skewed, and hanging together in time."""
    noise = np.random.default_rng(seed).normal(size=n + 100)
    series = np.zeros(n + 100)
    for i in range(1, n + 100):
        series[i] = memory * series[i - 1] + noise[i]
    return np.exp(0.5 * series[100:] * math.sqrt(1 - memory**2))


@pytest.mark.parametrize(("memory", "n", "window"), [(0.0, 4000, 200), (0.8, 6000, 300), (0.8, 1500, 300)])
def test_the_rate_holds_on_fresh_windows(memory, n, window):
    """Over many histories at most the stated share of fresh stable windows exceeds, autocorrelated or not, and chance."""
    found = []
    for seed in range(60):
        limit = calibrate(losses(n, seed, memory), window=window, false_alarms=0.05, seed=seed, times=1000)
        fresh = losses(window * 10, 1000 + seed, memory).reshape(10, window)
        found += [judge(limit, one).exceeds for one in fresh]
    assert np.mean(found) <= 0.07  # 600 windows, 0.05 stated


def test_independent_limits_would_cry_wolf():
    """Losses that hang together need blocks: single rows resampled give a limit that is too near."""
    history = losses(20_000, 0, 0.9)
    blocks, rows = (calibrate(history, window=200, block=block) for block in (None, 1))
    assert blocks.block > 5
    assert blocks.upper > rows.mean + (rows.upper - rows.mean) * 0.999


def test_a_worse_model_is_noticed():
    """Twice the loss exceeds, and the ratio says how much."""
    limit = calibrate(losses(5000, 0), window=250)
    found = judge(limit, 2 * losses(250, 1))
    assert found.exceeds
    assert found.ratio == pytest.approx(2, rel=0.1)
    assert "exceeds" in found.said


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 1000))
def test_the_unit_of_the_loss_does_not_matter(seed, factor):
    """Metres or feet: the same windows exceed."""
    history, window = losses(400, seed), losses(40, seed + 1)
    first = calibrate(history, window=40, times=200)
    second = calibrate(history * factor, window=40, times=200)
    assert second.upper == pytest.approx(first.upper * factor)
    assert judge(second, window * factor).exceeds == judge(first, window).exceeds


def test_history_never_exceeds_its_own_limit():
    """The rows that set the limit are within it."""
    history = losses(3000, 3, 0.5)
    assert not judge(calibrate(history, window=300), history).exceeds


def test_short_history_is_said_and_widened():
    """Where fewer than five windows fit, the limit says so and lies further out, the more the shorter history is."""
    history = losses(4000, 5)
    found = [calibrate(history[:n], window=200) for n in (4000, 800, 300)]
    assert [limit.short for limit in found] == [False, True, True]
    assert found[0].inflation < found[1].inflation < found[2].inflation
    assert "only 4.0 windows fit" in found[1].said


@pytest.mark.parametrize("nothing", [[], [math.nan, math.nan]])
def test_no_losses_are_red(nothing):
    """A window without a known loss exceeds, and so does every window where history had none."""
    limit = calibrate(losses(500, 0), window=50)
    assert judge(limit, np.array(nothing)).exceeds
    unknown = calibrate(np.array(nothing), window=50)
    assert judge(unknown, losses(50, 1)).exceeds
    json.dumps(unknown.to_json(), allow_nan=False)


def test_a_small_window_is_given_more_room():
    """A quarter of the rows may lie twice as far from the mean."""
    limit = calibrate(losses(2000, 0), window=100)
    full, quarter = judge(limit, losses(100, 1)), judge(limit, losses(25, 1))
    assert quarter.upper - limit.mean == pytest.approx(2 * (full.upper - limit.mean))


def test_a_perfect_history_lets_nothing_worse_pass():
    """Where nothing ever went wrong, any loss exceeds and none does not."""
    limit = calibrate(np.zeros(500), window=50)
    assert not judge(limit, np.zeros(50)).exceeds
    assert judge(limit, np.full(50, 0.1)).exceeds


def test_a_limit_is_a_record():
    """Written as JSON and read again it is the same."""
    limit = calibrate(losses(500, 0), window=50)
    assert Limit.from_json(json.loads(json.dumps(limit.to_json()))) == limit


def test_no_data_is_red():
    """Whatever history was, a window without a row exceeds, and so does one that is not a number."""
    for history in ([], [5.0], [100.0] * 10, [1.0, 1000.0]):
        limit = volume(history)
        assert limit.exceeds(0)
        assert limit.exceeds(math.nan)


@settings(deadline=None)
@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=30))
def test_usual_volumes_pass(counts):
    """No count that history had exceeds, and a hundredth of the least of a steady history does."""
    limit = volume(counts)
    assert not any(limit.exceeds(count) for count in counts)
    assert volume([1000] * 10).exceeds(10)
    assert volume([1000] * 10).exceeds(100_000)


def test_silence_is_noticed():
    """Gaps like history's pass, a silence many times as long does not."""
    limit = freshness([60.0] * 20)
    assert not limit.exceeds(70)
    assert limit.exceeds(600)
    assert not freshness([]).exceeds(1e9)
