"""The paired bootstrap: how sure are we that one model's mean loss differs from another's, on the same rows.

Rows without an order: Efron's bootstrap of the pairs (Efron and Tibshirani 1993, ch. 8). Rows in the order of time, whose
losses hang together: the circular block bootstrap (Politis and Romano 1992) with the block length chosen from the data
(Politis and White 2004, as corrected by Patton, Politis and White 2009). Percentile intervals. Knows arrays only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from training.promote import HOLDOUT, Comparison

if TYPE_CHECKING:
    import numpy as np

TIMES = 2000
_BLOCKS = 2000  # more blocks per resample than this are joined to longer ones: bounds time and memory


def paired_bootstrap(
    candidate: np.ndarray,
    reference: np.ndarray,
    *,
    confidence: float,
    ordered: bool,
    seed: int = 0,
    times: int = TIMES,
    window: str = HOLDOUT,
    against: str = "champion",
    metric: str = "loss",
) -> Comparison:
    """Compare per-row losses (same rows, same order; `ordered`: by time). Two-sided `confidence` interval of the mean difference.

    Rows where either loss is not a number are left out. No rows give NaN throughout. The same input gives the same interval.
    """
    import numpy as np

    both = np.isfinite(candidate) & np.isfinite(reference)
    candidate, reference = candidate[both], reference[both]
    n = len(candidate)
    named = {"n": n, "confidence": confidence, "window": window, "against": against, "metric": metric}
    if n == 0:
        return Comparison(candidate=math.nan, reference=math.nan, difference=math.nan, low=math.nan, high=math.nan, **named)
    means = _resampled(candidate - reference, np.random.default_rng(seed), times, ordered=ordered)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Comparison(
        candidate=float(candidate.mean()),
        reference=float(reference.mean()),
        difference=float((candidate - reference).mean()),
        low=float(low),
        high=float(high),
        **named,
    )


def _resampled(differences: np.ndarray, rng: np.random.Generator, times: int, *, ordered: bool) -> np.ndarray:
    """Means of `times` resamples, each of whole circular blocks; unordered rows are shuffled first, so that any block is random."""
    import numpy as np

    n = len(differences)
    if not ordered:
        differences = differences[rng.permutation(n)]
    length = max(block_length(differences) if ordered else 1, math.ceil(n / _BLOCKS))
    blocks = math.ceil(n / length)
    ahead = np.concatenate([[0.0], np.cumsum(np.concatenate([differences, differences[: length - 1]]))])
    sums = ahead[length:] - ahead[:-length]  # of the block that starts at each row, round the end
    starts = rng.integers(0, n, size=(times, blocks), dtype=np.int32)
    return sums[starts].sum(axis=1) / (blocks * length)


def block_length(series: np.ndarray) -> int:
    """The block length for a circular block bootstrap of the mean (Politis and White 2004, section 3.2; corrected 2009), >= 1."""
    import numpy as np

    n = len(series)
    if n < 8:
        return 1
    centred = series - series.mean()
    steps = max(5, math.ceil(math.log10(n)))  # K_N: so many insignificant lags in a row end the search
    lags = min(math.ceil(math.sqrt(n)) + steps, n - 1, 400)
    covariance = np.array([centred[lag:] @ centred[: n - lag] for lag in range(lags + 1)]) / n
    if covariance[0] <= 0:
        return 1
    significant = np.abs(covariance[1:] / covariance[0]) >= 2 * math.sqrt(math.log10(n) / n)
    last = next((lag for lag in range(lags - steps + 1) if not significant[lag : lag + steps].any()), lags - steps)
    width = min(2 * max(last, 1), lags)
    ratio = np.arange(1, width + 1) / width
    weights = np.where(ratio <= 0.5, 1.0, 2 * (1 - ratio))  # the flat-top lag window
    weighted = weights * covariance[1 : width + 1]
    slope, spectrum = 2 * (np.arange(1, width + 1) * weighted).sum(), covariance[0] + 2 * weighted.sum()
    if spectrum <= 0:
        return 1
    best = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3)
    return max(1, min(round(best), math.ceil(min(3 * math.sqrt(n), n / 3))))
