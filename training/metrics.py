"""Losses of single rows and metrics of many, for numbers and for classes. Arrays in, numbers out; no table, no model, no file.

N rows, H horizons (1 where there are none), Q quantile levels, C classes. Losses are lower-is-better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

HIGHER_IS_BETTER = ("accuracy", "balanced_accuracy", "auc")
_FLOOR = 1e-6  # a probability below counts as this much: one sure mistake must not decide a mean alone
_BINS = 15  # of the calibration error


@dataclass(frozen=True)
class Numbers:
    """Predicted numbers: points [N, H], and quantiles [N, H, Q] at `levels` where the model has them."""

    point: np.ndarray
    quantiles: np.ndarray | None = None
    levels: tuple[float, ...] = ()


@dataclass(frozen=True)
class Classes:
    """Predicted probabilities [N, C], each row summing to 1."""

    probabilities: np.ndarray


def number_losses(truth: np.ndarray, answers: Numbers, levels: tuple[float, ...]) -> dict[str, np.ndarray]:
    """`mae`, `mse` and `pinball` of each row and horizon [N, H]. Pinball (Koenker and Bassett 1978) is the mean over `levels`;
    an answer without quantiles is judged as if each were its point."""
    import numpy as np

    error = truth - answers.point
    losses = {"mae": np.abs(error), "mse": error**2}
    if levels:
        own = answers.quantiles is not None and answers.levels == levels
        quantiles = answers.quantiles if own else np.repeat(answers.point[..., None], len(levels), axis=-1)
        over = truth[..., None] - quantiles
        losses["pinball"] = np.maximum(np.asarray(levels) * over, (np.asarray(levels) - 1) * over).mean(axis=-1)
    return losses


def number_metrics(truth: np.ndarray, answers: Numbers, levels: tuple[float, ...]) -> dict[str, float]:
    """mae, rmse, pinball, and the share of truths inside the central 80 % interval, over all rows and horizons."""
    losses = number_losses(truth, answers, levels)
    metrics = {"mae": float(losses["mae"].mean()), "rmse": float(losses["mse"].mean() ** 0.5)}
    if "pinball" in losses:
        metrics["pinball"] = float(losses["pinball"].mean())
    if (interval := central_80(answers)) is not None:
        metrics["coverage_80"] = float(((interval[0] <= truth) & (truth <= interval[1])).mean())
    return metrics


def central_80(answers: Numbers) -> tuple[np.ndarray, np.ndarray] | None:
    """The 10 % and 90 % quantiles, each [N, H]; None where the model has them not."""
    if answers.quantiles is None or not {0.1, 0.9} <= set(answers.levels):
        return None
    low, high = answers.levels.index(0.1), answers.levels.index(0.9)
    return answers.quantiles[..., low], answers.quantiles[..., high]


def class_losses(truth: np.ndarray, answers: Classes) -> dict[str, np.ndarray]:
    """`accuracy` (0 right, 1 wrong), `log_loss` and `brier` of each row [N]. `truth` is the class's index; -1: none that is known."""
    import numpy as np

    p, rows = answers.probabilities, np.arange(len(truth))
    known = truth >= 0
    right = np.where(known, p[rows, np.where(known, truth, 0)], 0.0) if p.shape[1] else np.zeros(len(truth))
    return {
        "accuracy": (p.argmax(axis=1) != truth).astype(float),
        "log_loss": -np.log(np.clip(right, _FLOOR, 1.0)),
        "brier": (p**2).sum(axis=1) - 2 * right + 1,  # Brier 1950, over all classes: 0 to 2
    }


def class_metrics(truth: np.ndarray, answers: Classes) -> dict[str, float]:
    """accuracy, balanced_accuracy, log_loss, brier, ece, and auc where there are two classes and both occur."""
    import numpy as np

    losses, p = class_losses(truth, answers), answers.probabilities
    hit = losses["accuracy"] == 0
    metrics = {
        "accuracy": float(hit.mean()),
        "balanced_accuracy": float(np.mean([hit[truth == label].mean() for label in np.unique(truth)])),
        "log_loss": float(losses["log_loss"].mean()),
        "brier": float(losses["brier"].mean()),
        "ece": calibration_error(p.max(axis=1), hit),
    }
    if p.shape[1] == 2 and set(np.unique(truth)) == {0, 1}:
        metrics["auc"] = area_under_curve(p[:, 1], truth == 1)
    return metrics


def calibration_error(confidence: np.ndarray, hit: np.ndarray) -> float:
    """Expected calibration error with 15 bins of equal width (Guo et al. 2017)."""
    import numpy as np

    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - hit, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(hit))


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """The area under the ROC curve by ranks, ties counted half (Mann and Whitney 1947)."""
    import numpy as np

    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    n, m = positive.sum(), (~positive).sum()
    return float((rank[positive].sum() - n * (n + 1) / 2) / (n * m))
