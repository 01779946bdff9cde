import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from training.estimate import coverage, expected_loss, temperature_of, tempered, width, width_ratio
from training.metrics import Classes, Numbers, class_losses, number_losses

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def probabilities(n: int, seed: int = 0, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([1.0] * classes, n)


def drawn(p: np.ndarray, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1)


def normal(n: int, std: float = 1.0, horizons: int = 1) -> Numbers:
    point = np.random.default_rng(0).normal(0, 5, (n, horizons))
    return Numbers(point, point[..., None] + std * norm.ppf(LEVELS), LEVELS)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "brier"])
def test_a_calibrated_classifier_knows_its_loss(metric):
    """Where truths are drawn from the probabilities, the estimate meets the measured mean within three of its errors."""
    p = probabilities(20_000)
    found = expected_loss(Classes(p), "classification", metric)
    assert class_losses(drawn(p), Classes(p))[metric].mean() == pytest.approx(found.mean, abs=3 * found.error)
    assert found.n == 20_000


@pytest.mark.parametrize("metric", ["mae", "mse", "pinball"])
def test_right_quantiles_know_their_error(metric):
    """Where truths are drawn from the predicted distribution, the estimate meets the measured mean within 4 % (squares: 8 %, for the tails)."""
    answers = normal(20_000)
    truth = answers.point + np.random.default_rng(1).normal(size=answers.point.shape)
    found = expected_loss(answers, "forecasting", metric)
    measured = number_losses(truth, answers, LEVELS)[metric].mean()
    assert found.mean == pytest.approx(measured, rel=0.08 if metric == "mse" else 0.04)
    assert found.error == pytest.approx(number_losses(truth, answers, LEVELS)[metric].std() / 20_000**0.5, rel=0.25)


@given(st.floats(0.1, 50))
def test_the_expected_error_has_the_unit_of_the_truth(factor):
    """Quantiles twice as far apart promise twice the error."""
    answers = normal(50)
    wider = Numbers(answers.point * factor, answers.quantiles * factor, LEVELS)
    first, second = (expected_loss(one, "regression", "mae") for one in (answers, wider))
    assert second.mean == pytest.approx(factor * first.mean, rel=1e-9)
    assert width_ratio(wider, answers) == pytest.approx(factor, rel=1e-9)


def test_a_temperature_takes_back_what_was_claimed_too_much():
    """Probabilities sharpened by a known temperature are brought back, and with them the estimate."""
    honest = probabilities(20_000)
    truth, sharp = drawn(honest), tempered(honest, 0.5)
    temperature = temperature_of(sharp, truth)
    assert temperature == pytest.approx(2, rel=0.05)
    right = class_losses(truth, Classes(honest))["accuracy"].mean()
    found = expected_loss(Classes(sharp), "classification", "accuracy", temperature=temperature)
    assert found.mean == pytest.approx(right, abs=0.015)
    assert expected_loss(Classes(sharp), "classification", "accuracy").mean < right - 0.05


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_tempering_keeps_probabilities(seed, temperature):
    """Rows still sum to one, and the most likely class stays it."""
    p = probabilities(20, seed)
    found = tempered(p, temperature)
    assert found.sum(axis=1) == pytest.approx(np.ones(20))
    assert (found.argmax(axis=1) == p.argmax(axis=1)).all()


def test_sure_answers_promise_no_loss():
    """Probability one and quantiles on the point expect nothing to go wrong."""
    assert expected_loss(Classes(np.eye(3)), "classification", "accuracy").mean == 0
    flat = Numbers(np.zeros((4, 1)), np.zeros((4, 1, 7)), LEVELS)
    assert expected_loss(flat, "regression", "mae").mean == 0


def test_without_answers_there_is_no_number():
    """Empty and unanswered windows give NaN and no rows, in JSON null: nobody can take them for a good estimate."""
    nothing = np.full((3, 2), math.nan)
    for answers, task, metric in (
        (Classes(nothing), "classification", "log_loss"),
        (Classes(nothing[:0]), "classification", "accuracy"),
        (Numbers(nothing[:, :1], np.full((3, 1, 7), math.nan), LEVELS), "forecasting", "mae"),
        (Numbers(nothing[:0], np.zeros((0, 2, 7)), LEVELS), "forecasting", "pinball"),
    ):
        found = expected_loss(answers, task, metric)
        assert found.n == 0
        assert math.isnan(found.mean)
        assert found.to_json()["mean"] is None
    assert math.isnan(coverage(nothing[:, 0], nothing[:, 0], nothing[:, 0]).share)
    assert math.isnan(width(Numbers(nothing)))


def test_what_cannot_be_asked_is_refused():
    """Numbers without quantiles, another task's answers and unknown metrics are errors, not estimates."""
    with pytest.raises(ValueError, match="without quantiles"):
        expected_loss(Numbers(np.zeros((2, 1))), "regression", "mae")
    with pytest.raises(ValueError, match="no answers of a regression"):
        expected_loss(Classes(np.eye(2)), "regression", "mae")
    with pytest.raises(ValueError, match="no loss of classes"):
        expected_loss(Classes(np.eye(2)), "classification", "mae")


def test_coverage_counts_known_truths():
    """The share of truths inside, and an error that stays above nothing even when all are."""
    truth = np.array([0.0, 1.0, 5.0, math.nan])
    found = coverage(truth, np.zeros(4), np.full(4, 2.0))
    assert (found.share, found.n) == (pytest.approx(2 / 3), 3)
    assert coverage(np.zeros(5), np.zeros(5), np.zeros(5)).error > 0
