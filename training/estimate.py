"""What a model's loss is likely to be before the truth comes: what its own probabilities and quantiles say that it is.

An estimate believes the model. It sees that rows have become harder; it cannot see that the relation to the truth has changed
(concept drift), nor that the model is too sure of itself where it was never calibrated. Labels decide, when they come.

- Classes: Confidence-Based Performance Estimation (Guillory et al. 2021 and Garg et al. 2022 for the mean confidence; NannyML's
  CBPE for other metrics), on probabilities calibrated by a temperature (Guo et al. 2017).
- Numbers: the expected loss under the predicted quantiles, joined by straight lines (as in Gneiting and Raftery 2007 a proper
  score's expectation under the forecast itself).

N rows, H horizons, Q levels, C classes. Knows no file and no model.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from data.files import finite
from data.schema import Task
from training.metrics import Classes, Numbers, central_80

if TYPE_CHECKING:
    import numpy as np

_GRID = 200  # midpoints of the unit interval by which an expectation is taken
_FLOOR = 1e-6  # as in training/metrics.py
_TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """`mean` is the expected mean loss of these rows (lower is better); the measured one lies within about 2 `error` of it where the
    model is right about itself and rows are independent. NaN without an answer."""

    metric: str
    mean: float
    error: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """Plain values; None for what is not a number."""
        return finite(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Share:
    """Of `n` truths the share inside their intervals, and its standard error; NaN without any."""

    share: float
    error: float
    n: int


def expected_loss(answers: Numbers | Classes, task: Task, metric: str, *, temperature: float = 1.0) -> Estimate:
    """The expected mean of `metric` (accuracy, log_loss, brier; mae, mse, pinball: losses as in training/metrics.py) over the rows.

    `temperature` (of `temperature_of`) calibrates probabilities first. Numbers without quantiles cannot say: ValueError, as for
    answers or a metric of another task. Beyond the outermost levels the quantile function goes on straight:
    under a normal forecast with levels .05 to .95 that gives 1 % too little for mae, 8 % for mse.
    """
    return _estimate(metric, *_rows(answers, task, metric, temperature))


def expected_losses(answers: Numbers | Classes, task: Task, metric: str, *, temperature: float = 1.0) -> np.ndarray:
    """The same row by row [N] (rows with an answer only), for a limit that stable rows set: training/stability.py."""
    return _rows(answers, task, metric, temperature)[0]


def _rows(answers: Numbers | Classes, task: Task, metric: str, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(answers, Classes) != (task == "classification"):
        raise ValueError(f"these are no answers of a {task}")
    if isinstance(answers, Classes):
        return _of_classes(tempered(answers.probabilities, temperature), metric)
    return _of_numbers(answers, metric)


def temperature_of(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature at which the probabilities [N, C] fit the truth (class indices [N], -1: unknown, left out) best; above 1 the
    model was too sure. 1 without a row to judge by. Golden section on the log loss, which is convex in 1/T."""
    import numpy as np

    known = (truth >= 0) & np.isfinite(probabilities).all(axis=1)
    p, truth = np.clip(probabilities[known], _FLOOR, 1.0), truth[known]
    if not len(p) or p.shape[1] < 2:
        return 1.0
    logits, rows = np.log(p), np.arange(len(p))

    def loss(coldness: float) -> float:
        scaled = logits * coldness
        top = scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled - top).sum(axis=1)) + top[:, 0] - scaled[rows, truth]).mean())

    low, high = 1 / _TEMPERATURES[1], 1 / _TEMPERATURES[0]
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return 2 / (low + high)


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities [N, C] at another temperature: p^(1/T), rows summing to 1."""
    import numpy as np

    if temperature == 1.0:
        return probabilities
    logits = np.log(np.clip(probabilities, _FLOOR, 1.0)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def coverage(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> Share:
    """The share of known truths inside [low, high]; rows with anything missing are left out."""
    import numpy as np

    known = np.isfinite(truth) & np.isfinite(low) & np.isfinite(high)
    n = int(known.sum())
    if not n:
        return Share(share=math.nan, error=math.nan, n=0)
    share = float(((low <= truth) & (truth <= high))[known].mean())
    smoothed = (share * n + 1) / (n + 2)  # an error of 0 after five hits would claim too much
    return Share(share=share, error=math.sqrt(smoothed * (1 - smoothed) / n), n=n)


def width(answers: Numbers) -> float:
    """The mean width of the central 80 % interval; NaN without quantiles."""
    import numpy as np

    interval = central_80(answers)
    if interval is None or not np.isfinite(interval[1] - interval[0]).any():
        return math.nan
    return float(np.nanmean(interval[1] - interval[0]))


def width_ratio(answers: Numbers, reference: Numbers) -> float:
    """How much wider the intervals have become than on the reference's rows: above 1, the model itself is less sure."""
    before = width(reference)
    return width(answers) / before if before > 0 else math.nan


def _of_classes(p: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Per row the expected loss and the variance of the loss, when the truth is drawn from p."""
    import numpy as np

    p = p[np.isfinite(p).all(axis=1)]
    p = p / p.sum(axis=1, keepdims=True) if len(p) else p
    if metric == "accuracy":
        right = p.max(axis=1) if len(p) else np.zeros(0)
        return 1 - right, right * (1 - right)
    if metric == "log_loss":
        losses = -np.log(np.clip(p, _FLOOR, 1.0))
    elif metric == "brier":
        losses = (p**2).sum(axis=1, keepdims=True) - 2 * p + 1
    else:
        raise ValueError(f"{metric!r} is no loss of classes: accuracy, log_loss or brier")
    mean = (p * losses).sum(axis=1)
    return mean, (p * losses**2).sum(axis=1) - mean**2


def _of_numbers(answers: Numbers, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """As `_of_classes`; the mean over horizons."""
    import numpy as np

    if answers.quantiles is None or len(answers.levels) < 2:
        raise ValueError("numbers without quantiles say nothing about their own error")
    if metric not in {"mae", "mse", "pinball"}:
        raise ValueError(f"{metric!r} is no loss of numbers: mae, mse or pinball")
    point = answers.point[:, None] if answers.point.ndim == 1 else answers.point
    quantiles = np.sort(answers.quantiles.reshape(*point.shape, len(answers.levels)), axis=-1)
    given = np.isfinite(point).all(axis=1) & np.isfinite(quantiles).all(axis=(1, 2))
    point, quantiles = point[given], quantiles[given]
    means, variances = [], []
    for rows in np.array_split(np.arange(len(point)), max(1, len(point) // 5000)):  # bounds memory
        drawn = _drawn(quantiles[rows], np.asarray(answers.levels, dtype=float))  # [N, H, grid]
        losses = _losses(drawn, point[rows], quantiles[rows], answers.levels, metric)
        mean = losses.mean(axis=-1)
        means.append(mean.mean(axis=1))
        variances.append((losses**2).mean(axis=-1).mean(axis=1) - (mean**2).mean(axis=1))  # horizons hang together: not divided
    return np.concatenate(means), np.concatenate(variances)


def _drawn(quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The quantile function at the grid's midpoints [N, H, grid]: straight between levels and beyond the outermost."""
    import numpy as np

    grid = (np.arange(_GRID) + 0.5) / _GRID
    right = np.clip(np.searchsorted(levels, grid), 1, len(levels) - 1)
    share = (grid - levels[right - 1]) / (levels[right] - levels[right - 1])
    return quantiles[..., right - 1] * (1 - share) + quantiles[..., right] * share


def _losses(drawn: np.ndarray, point: np.ndarray, quantiles: np.ndarray, levels: tuple[float, ...], metric: str) -> np.ndarray:
    import numpy as np

    if metric == "pinball":
        total = np.zeros_like(drawn)
        for q, level in enumerate(levels):
            over = drawn - quantiles[..., q : q + 1]
            total += np.maximum(level * over, (level - 1) * over)
        return total / len(levels)
    error = drawn - point[..., None]
    return np.abs(error) if metric == "mae" else error**2


def _estimate(metric: str, mean: np.ndarray, variance: np.ndarray) -> Estimate:
    """The error of the measured mean around the estimate, given the rows: the truth's own noise."""
    import numpy as np

    n = len(mean)
    if not n:
        return Estimate(metric=metric, mean=math.nan, error=math.nan, n=0)
    return Estimate(
        metric=metric, mean=float(mean.mean()), error=math.sqrt(max(float(np.maximum(variance, 0).sum()), 0.0)) / n, n=n
    )
