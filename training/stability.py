"""How bad a window's mean loss may be before it means anything, and how few rows or how long a silence.

Limits come from stable history (the losses of the rows that the gate judged) at a stated false-alarm rate. Losses of a series hang
together, so whole blocks are resampled (moving blocks: Kuensch 1989; length: training/bootstrap.py). Arrays in, plain values
out; knows no model and no clock. What is missing or empty never passes: no data is red.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from data.files import finite
from training.bootstrap import block_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

TIMES = 4000
FEW = 5  # windows that a history should hold


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A window of `window` stable rows has a mean loss above `upper` at the rate `false_alarms`. `mean` is history's, of `n` rows.

    `inflation`: how much wider than the resampling said, since the future mean is not history's; `short`: fewer than five windows fit.
    """

    mean: float
    upper: float
    window: int
    false_alarms: float
    n: int
    block: int
    inflation: float
    short: bool
    said: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; None for what is not a number."""
        return finite(asdict(self))

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Limit:
        """What `to_json` gave."""
        known: dict[str, Any] = {name: math.nan if value is None else value for name, value in tree.items()}
        return cls(**known)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """`ratio` is the window's mean over history's; `upper` the limit for this many rows. Without rows: exceeds, and no numbers."""

    mean: float
    upper: float
    exceeds: bool
    ratio: float
    n: int
    said: str


def calibrate(
    losses: np.ndarray,
    *,
    window: int,
    false_alarms: float = 0.05,
    seed: int = 0,
    block: int | None = None,
    times: int = TIMES,
) -> Limit:
    """The limit for windows of `window` rows, from per-row losses in the order of time; what is not a number is left out.

    The upper end is history's mean and `inflation` times the wider of two deviations: that of the resampled quantile, and the normal one
    by the spread of history's own overlapping windows (subsampling: Politis and Romano 1994), which sees what hangs together for
    longer than a block, such as a season. A new window's mean differs from history's by both their errors: sqrt(1 + window/n); and n/window
    windows show spread and extremes only so well: see `_few`. Together that is `inflation`, 1.0 for long history, 1.3 where ten
    windows fit, 4.7 where two do. Fewer than five are called short. Without a finite
    loss nothing can be judged: every number is NaN, and `judge` finds that each window exceeds.
    """
    import numpy as np
    from scipy.stats import norm

    if not 0 < false_alarms < 1 or window < 1:
        raise ValueError(f"false_alarms is a share between 0 and 1 and window a number of rows: {false_alarms}, {window}")
    losses = np.asarray(losses, dtype=float)
    losses = losses[np.isfinite(losses)]
    n = len(losses)
    if n < 2:
        said = f"{n} rows of history: no limit can be set"
        return Limit(
            mean=math.nan,
            upper=math.nan,
            window=window,
            false_alarms=false_alarms,
            n=n,
            block=0,
            inflation=math.nan,
            short=True,
            said=said,
        )
    length = min(block or block_length(losses), n, window)
    mean, fit = float(losses.mean()), n / window
    resampled = _means(losses, window, length, np.random.default_rng(seed), times)
    inflation = math.sqrt(1 + 1 / fit) * _few(false_alarms, fit)
    upper = mean + inflation * max(float(np.quantile(resampled, 1 - false_alarms)) - mean, 0.0)
    if fit >= 2:
        ahead = np.concatenate([[0.0], np.cumsum(losses)])
        own = (ahead[window:] - ahead[:-window]) / window
        upper = max(upper, mean + inflation * float(norm.isf(min(false_alarms, 0.4)) * own.std()))
    said = f"{n} stable rows, blocks of {length}: {100 * false_alarms:g} of 100 stable windows of {window} exceed {upper:.4g}"
    if fit < FEW:
        said += f"; only {fit:.1f} windows fit: the limit is {inflation:.2f} times as far from the mean as resampling says"
    return Limit(
        mean=mean,
        upper=upper,
        window=window,
        false_alarms=false_alarms,
        n=n,
        block=length,
        inflation=inflation,
        short=fit < FEW,
        said=said,
    )


def judge(limit: Limit, losses: np.ndarray) -> Judged:
    """A window's losses against the limit; what is not a number is left out. A smaller window has a wider limit, by the root of its size;
    a larger one has the same. No loss, or no limit: exceeds."""
    import numpy as np

    losses = np.asarray(losses, dtype=float)
    losses = losses[np.isfinite(losses)]
    n = len(losses)
    if not n or not math.isfinite(limit.upper):
        said = "no row with a known loss" if not n else limit.said
        return Judged(mean=math.nan, upper=limit.upper, exceeds=True, ratio=math.nan, n=n, said=said)
    mean = float(losses.mean())
    upper = limit.mean + (limit.upper - limit.mean) * max(1.0, math.sqrt(limit.window / n))
    exceeds = mean > upper
    ratio = mean / limit.mean if limit.mean > 0 else (1.0 if mean == limit.mean else math.inf)
    said = f"mean loss {mean:.4g} of {n} rows {'exceeds' if exceeds else 'is within'} {upper:.4g} (usual: {limit.mean:.4g})"
    return Judged(mean=mean, upper=upper, exceeds=exceeds, ratio=ratio, n=n, said=said)


@dataclass(frozen=True, kw_only=True)
class Between:
    """How many rows a window has, or how long a silence lasts, when all is well. `low` is at least one row: no data is red."""

    low: float
    high: float
    usual: float
    false_alarms: float
    n: int

    def exceeds(self, value: float) -> bool:
        """Too few, too many, or no number."""
        return not self.low <= value <= self.high


def volume(counts: Sequence[float] | np.ndarray, *, false_alarms: float = 0.05) -> Between:
    """The usual numbers of rows of a window, from those of earlier windows (at least one): half of `false_alarms` at either end.

    In logarithms, since traffic multiplies: the median, and the wider of history's own extremes and a t interval of the logs.
    Without history anything from one row on passes.
    """
    import numpy as np

    counts = np.asarray(counts, dtype=float)
    logs = np.log(counts[np.isfinite(counts) & (counts > 0)])
    if not len(logs):
        return Between(low=1, high=math.inf, usual=math.nan, false_alarms=false_alarms, n=0)
    middle = float(np.median(logs))
    reach = _reach(logs, false_alarms / 2)
    low, high = min(float(logs.min()), middle - reach), max(float(logs.max()), middle + reach)
    return Between(
        low=max(1.0, math.floor(math.exp(low))),
        high=math.ceil(math.exp(min(high, 700.0))),
        usual=math.exp(middle),
        false_alarms=false_alarms,
        n=len(logs),
    )


def freshness(gaps: Sequence[float] | np.ndarray, *, false_alarms: float = 0.05) -> Between:
    """How many seconds of silence are usual, from the gaps between arrivals: up to the wider of the longest seen, and a t interval
    of their logarithms. Without history nothing is known, and every silence passes."""
    import numpy as np

    gaps = np.asarray(gaps, dtype=float)
    logs = np.log(np.maximum(gaps[np.isfinite(gaps) & (gaps >= 0)], 1e-3))
    if not len(logs):
        return Between(low=0, high=math.inf, usual=math.nan, false_alarms=false_alarms, n=0)
    middle = float(np.median(logs))
    high = max(float(logs.max()), middle + _reach(logs, false_alarms))
    return Between(low=0, high=math.exp(min(high, 700.0)), usual=math.exp(middle), false_alarms=false_alarms, n=len(logs))


def _means(losses: np.ndarray, window: int, length: int, rng: np.random.Generator, times: int) -> np.ndarray:
    """Means of `times` windows, each of blocks of `length` rows that begin anywhere; the last block is cut to fit."""
    import numpy as np

    n = len(losses)
    whole, rest = divmod(window, length)
    ahead = np.concatenate([[0.0], np.cumsum(losses)])
    sums = np.zeros(times)
    for part, count in ((length, whole), (rest, 1)):
        if part and count:
            of_blocks = ahead[part:] - ahead[:-part]
            step = max(1, 2_000_000 // times)  # bounds memory
            for first in range(0, count, step):
                starts = rng.integers(0, n - part + 1, size=(times, min(step, count - first)))
                sums += of_blocks[starts].sum(axis=1)
    return sums / window


def _few(false_alarms: float, fit: float) -> float:
    """How much wider a limit is that `fit` windows gave, by the normal's quantiles: for a spread that they tell only so well (t), and
    from the rate 1/(fit + 1), which is all that the worst of them stands for, to the stated one; the larger counts."""
    from scipy.stats import norm, t

    tail = min(false_alarms, 0.4)
    stretch = norm.isf(tail) / norm.isf(max(tail, min(1 / (fit + 1), 0.25)))
    return float(max(t.isf(tail, max(fit - 1, 1.0)) / norm.isf(tail), stretch))


def _reach(logs: np.ndarray, tail: float) -> float:
    """A t prediction interval's half width, at least a factor of 1.5; with a single value e^2 stands for what is not known."""
    from scipy.stats import t

    n = len(logs)
    if n < 2:
        return 2.0
    return max(float(t.ppf(1 - tail, n - 1) * logs.std(ddof=1) * math.sqrt(1 + 1 / n)), math.log(1.5))
