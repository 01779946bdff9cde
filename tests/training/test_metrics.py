import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from training.metrics import Classes, Numbers, class_losses, class_metrics, number_losses, number_metrics

RNG = np.random.default_rng(0)


def test_numbers_equal_scikit_learn():
    """mae, rmse and pinball are those of scikit-learn."""
    truth, point = RNG.normal(size=(2, 300, 1))
    levels = (0.1, 0.5, 0.9)
    quantiles = point[..., None] + np.array([-1.0, 0.0, 1.0])
    found = number_metrics(truth, Numbers(point, quantiles, levels), levels)
    assert found["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(truth, point))
    assert found["rmse"] == pytest.approx(sklearn_metrics.root_mean_squared_error(truth, point))
    by_level = [sklearn_metrics.mean_pinball_loss(truth, quantiles[:, :, i], alpha=level) for i, level in enumerate(levels)]
    assert found["pinball"] == pytest.approx(np.mean(by_level))
    assert found["coverage_80"] == pytest.approx((np.abs(truth - point) <= 1).mean())


def test_a_point_is_judged_as_its_own_quantiles():
    """A baseline without quantiles has the pinball loss of a point: half its absolute error for symmetric levels."""
    truth, point = RNG.normal(size=(2, 50, 2))
    losses = number_losses(truth, Numbers(point), (0.1, 0.5, 0.9))
    np.testing.assert_allclose(losses["pinball"], losses["mae"] / 2)
    assert "coverage_80" not in number_metrics(truth, Numbers(point), (0.1, 0.5, 0.9))


def test_classes_equal_scikit_learn():
    """accuracy, balanced accuracy, log loss and the two-class AUC are those of scikit-learn."""
    p = RNG.dirichlet([1, 1], size=400)
    p[:50, 1] = p[:50, 1].round(1)
    p[:, 0] = 1 - p[:, 1]
    truth = (RNG.random(400) < p[:, 1]).astype(int)
    found, answer = class_metrics(truth, Classes(p)), p.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, answer))
    assert found["balanced_accuracy"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(truth, answer))
    assert found["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(truth, p[:, 1]))
    assert found["brier"] == pytest.approx(2 * sklearn_metrics.brier_score_loss(truth, p[:, 1]))
    clipped = np.clip(p[np.arange(400), truth], 1e-6, 1)
    assert found["log_loss"] == pytest.approx(-np.log(clipped).mean())


def test_calibration_error_knows_a_braggart():
    """Probabilities that come true have nearly no calibration error; a model that is always sure has its error rate."""
    p = RNG.uniform(0.5, 1, 20_000)
    hit = RNG.random(20_000) < p
    honest = np.stack([p, 1 - p], axis=1)
    assert class_metrics(np.where(hit, 0, 1), Classes(honest))["ece"] < 0.02
    sure = np.tile([1.0, 0.0], (1000, 1))
    assert class_metrics((np.arange(1000) % 4 == 0).astype(int), Classes(sure))["ece"] == pytest.approx(0.25)


def test_a_class_that_the_model_never_saw_is_an_error():
    """A truth that is none of the model's classes counts as wrong, with the floor's log loss."""
    losses = class_losses(np.array([-1, 0]), Classes(np.array([[0.9, 0.1], [0.9, 0.1]])))
    assert list(losses["accuracy"]) == [1, 0]
    assert losses["log_loss"][0] == pytest.approx(-np.log(1e-6))
    assert losses["brier"][0] == pytest.approx(0.82 + 1)


def test_one_sure_mistake_does_not_decide_a_mean():
    """A probability of zero for the truth has a finite loss."""
    assert np.isfinite(class_losses(np.array([1]), Classes(np.array([[1.0, 0.0]])))["log_loss"]).all()
