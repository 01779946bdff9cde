"""Thresholds with a stated false-alarm rate: stable history is replayed window by window against its own reference.

The control over many columns is Westfall and Young's (1993): one limit for the largest scaled statistic of a window, found by
resampling, so that columns that hang together are not paid for twice. Each column is scaled by the largest statistic of other
stretches of history; each stretch is judged by the scales of the others (five folds, in order of time), so that the limit
knows how far the next stretch may exceed all earlier ones. A column that comes in bursts (a price) is limited by its own worst
alone, and does not set the limit of all. Distances exceed by a factor; missing shares, which come in bursts, by
a difference; each family has half of the rate. A window is compared with the reference without the window's own rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.drift import measured
from data.drift.measured import Trait
from data.drift.reference import ROWS, places, remembered
from data.drift.statistics import jensenshannon, wasserstein
from data.drift.thresholds import Limit, Thresholds
from data.errors import UserError
from data.schema import Column

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SAMPLE = 2000
_FOLDS = 5
_LEAST_DISTANCE = 0.01  # of a std, or of Jensen-Shannon's .83: smaller moves mean nothing, whatever history says
_BURST = 2.5  # a fifth of history went this many times as far above the usual as all the others
_BURSTS_MORE = 1.5  # the next burst may be worse than the worst
_LEAST_REACH = 0.15  # of the largest distance: few windows may be alike by chance
_LEAST_MISSING = 0.02
_FEW_CELLS = 4  # missing cells in a window mean nothing
_UNKNOWN = 0.5  # over the windows that fit: what a burst may miss that so short a history had not
_LEAST_ROWS = 40
_PARTS = 12  # of history, to see a trend by
_STEADY = 0.8  # rank correlation of the parts' means with their order
_FAR = 1.0  # std that a trend covers over all of history
_FAR_SHARE = 0.3  # the same for a class's share


@dataclass(frozen=True)
class _History:
    """Every trait's values over all of history: float64, or the level's code with -1 for missing."""

    traits: tuple[Trait, ...]
    values: list[np.ndarray]
    known: np.ndarray  # which rows the reference holds, ascending


@dataclass(frozen=True)
class _Replayed:
    """Windows [W] by traits [T]."""

    distance: np.ndarray
    missing: np.ndarray
    unseen: np.ndarray


def calibrate(
    history: pd.DataFrame,
    columns: Sequence[Column],
    *,
    window: int,
    false_alarms: float = 0.05,
    seed: int = 0,
    rounds: int = 200,
    ordered: bool = True,
    sample: int = SAMPLE,
    rows: int = ROWS,
) -> Thresholds:
    """The limits for windows of `window` rows, from `history`: rows in the order of time (`ordered=False`: in none).

    `false_alarms` is the share of stable windows that exceed any limit. In order: at most `rounds` contiguous windows, evenly laid and
    overlapping, after the rows in which a lag had no past yet; without order: `rounds` random ones. Windows and reference are thinned to `sample` and `rows` as `compare` does.
    UserError for a history of fewer than 40 rows, or without a column that can be compared.
    """
    import numpy as np

    if not 0 < false_alarms < 1 or window < 1:
        raise ValueError(f"false_alarms is a share between 0 and 1 and window a number of rows: {false_alarms}, {window}")
    n = len(history)
    if n < _LEAST_ROWS:
        raise UserError(f"{n} rows are too few to calibrate a monitor", next_step=f"bring {_LEAST_ROWS} rows of stable history")
    history, traits, known = remembered(history, columns, rows=rows, seed=seed, ordered=ordered)
    n = len(history)
    values = [measured.codes(history, t) if t.of_classes else measured.numbers(history, t) for t in traits]
    past = _History(traits, values, known)
    size = max(2, min(window, n // 4))
    disjoint = n / size
    rng = np.random.default_rng(seed)
    windows = (
        [
            np.arange(start, start + size)
            for start in np.unique(np.linspace(0, n - size, min(rounds, int(4 * disjoint))).astype(int))
        ]
        if ordered
        else [np.sort(rng.choice(n, size, replace=False)) for _ in range(rounds)]
    )
    found = _replay(past, windows, sample, seed)
    steady = np.array([ordered and _trends(t, v) for t, v in zip(traits, past.values, strict=True)])
    return _limits(found, past, steady, window, size, disjoint, false_alarms, ordered, sample, seed)


def _replay(past: _History, windows: list[np.ndarray], sample: int, seed: int) -> _Replayed:
    import numpy as np

    shape = (len(windows), len(past.traits))
    found = _Replayed(np.zeros(shape), np.zeros(shape), np.zeros(shape))
    inside = np.zeros(len(past.values[0]), dtype=bool)
    draws = [rows[places(len(rows), sample, seed + w)] for w, rows in enumerate(windows)]
    for t, (trait, values) in enumerate(zip(past.traits, past.values, strict=True)):
        sides = _Side.of(trait, values, past.known)
        for w, (rows, drawn) in enumerate(zip(windows, draws, strict=True)):
            inside[rows] = True
            found.distance[w, t], found.missing[w, t], found.unseen[w, t] = sides.judge(rows, drawn, inside)
            inside[rows] = False
    return found


@dataclass(frozen=True)
class _Side:
    """One trait, laid out so that a window is compared quickly with the reference without that window's rows."""

    trait: Trait
    values: np.ndarray
    shown: np.ndarray  # classes that are told apart; numbers: unused
    order: np.ndarray  # the reference's known rows, by value
    gone: np.ndarray  # bool per row: missing
    tally: np.ndarray  # rows of all history per level; numbers: empty
    lost: int  # missing rows of all history

    @classmethod
    def of(cls, trait: Trait, values: np.ndarray, known: np.ndarray) -> _Side:
        import numpy as np

        gone = values < 0 if trait.of_classes else np.isnan(values)
        held = known[~gone[known]]
        if trait.of_classes:
            tally = np.bincount(values[~gone], minlength=len(trait.levels) + 1)
            return cls(trait, values, measured.shown(values, trait), held, gone, tally, int(gone.sum()))
        return cls(trait, values, values, held[values[held].argsort(kind="stable")], gone, np.zeros(0), int(gone.sum()))

    def judge(self, rows: np.ndarray, drawn: np.ndarray, inside: np.ndarray) -> tuple[float, float, float]:
        """Distance, how far the missing share moved, and the share of rows whose level no row outside the window has."""
        import numpy as np

        n, trait = len(self.values), self.trait
        lost = int(self.gone[rows].sum())
        missing = abs(lost / len(rows) - (self.lost - lost) / max(n - len(rows), 1))
        rest, here = self.order[~inside[self.order]], drawn[~self.gone[drawn]]
        if not trait.of_classes:
            if trait.spread is None:
                return 0.0, missing, 0.0
            distance = wasserstein(self.values[rest], np.sort(self.values[here]), trait.spread)
            return (0.0 if math.isnan(distance) else distance), missing, 0.0
        distance = jensenshannon(measured.counts(self.shown[rest], trait), measured.counts(self.shown[here], trait))
        own = np.bincount(self.values[rows][~self.gone[rows]], minlength=len(self.tally))
        unseen = 0.0 if trait.open else own[(own == self.tally) & (own > 0)].sum() / len(rows)
        return (0.0 if math.isnan(distance) else distance), missing, float(unseen)


def _trends(trait: Trait, values: np.ndarray) -> bool:
    """Whether twelve equal parts of history rise or fall steadily, and far: no window of such a column is like old ones."""
    import numpy as np

    parts = np.array_split(values, _PARTS)
    if trait.of_classes:
        for level in range(min(5, len(trait.levels))):
            shares = np.array([(part == level).mean() for part in parts])
            if _steady(shares) and np.ptp(shares) >= _FAR_SHARE:
                return True
        return False
    if trait.spread is None or trait.constant:
        return False
    means = np.array([part[np.isfinite(part)].mean() if np.isfinite(part).any() else np.nan for part in parts])
    means = means[np.isfinite(means)]
    if len(means) < _PARTS // 2 or not _steady(means):
        return False
    slope = float(np.polyfit(np.arange(len(means)), means, 1)[0])
    return abs(slope) * (len(means) - 1) / trait.spread >= _FAR


def _steady(means: np.ndarray) -> bool:
    """Spearman's rank correlation with the order of time."""
    import numpy as np

    if np.ptp(means) == 0:
        return False
    ranks = means.argsort().argsort()
    return bool(abs(np.corrcoef(ranks, np.arange(len(means)))[0, 1]) >= _STEADY)


def _limits(
    found: _Replayed,
    past: _History,
    steady: np.ndarray,
    window: int,
    size: int,
    disjoint: float,
    false_alarms: float,
    ordered: bool,
    sample: int,
    seed: int,
) -> Thresholds:
    import numpy as np

    independent = disjoint if ordered else len(found.distance)
    rate = false_alarms / 2  # half for distances, half for missing shares
    level = min(1.0, (1 - rate) * (1 + 1 / independent))
    # n are the four fifths of the windows by which a fold is scaled; what is to come differs from the reference by history's own error too.
    n, apart = independent * (1 - 1 / _FOLDS), math.sqrt(1 + 1 / disjoint)
    inflation = _stretch(n, rate) * apart
    least = max(_LEAST_MISSING, _FEW_CELLS / min(size, window), _UNKNOWN / disjoint)
    far, more = [], []
    for fold in np.array_split(np.arange(len(found.distance)), _FOLDS):
        others = np.setdiff1d(np.arange(len(found.distance)), fold)
        middle, scale = _scale(found.distance[others])
        far.append((found.distance[fold] - middle) / scale)
        more.append((found.missing[fold] - found.missing[others].max(axis=0)).max(axis=1))
    worst = np.vstack(far).max(axis=0)
    bursts = worst > _BURST
    largest = np.vstack(far)[:, ~steady & ~bursts].max(axis=1, initial=0.0)
    cut = max(float(np.quantile(largest, level)), 1.0) * inflation
    margin = max(_stretched(float(np.quantile(np.concatenate(more), level)), n, rate) * apart, least)
    middle, scale = _scale(found.distance)
    distance = middle + np.where(bursts, _BURSTS_MORE * worst * inflation, cut) * scale
    missing = found.missing.max(axis=0) + margin
    unseen = found.unseen.max(axis=0) * cut
    limits = {
        trait.name: Limit(
            name=trait.name,
            distance=float(distance[t]),
            missing=float(min(missing[t], 1.0)),
            unseen=float(min(unseen[t], 1.0)),
            trending=bool(steady[t]),
            bursts=bool(bursts[t]),
            usual=float(np.median(found.distance[:, t])),
        )
        for t, trait in enumerate(past.traits)
    }
    short = disjoint < 1 / false_alarms or size < window
    return Thresholds(
        window=window,
        false_alarms=false_alarms,
        limits=limits,
        cut=cut,
        margin=margin,
        inflation=inflation,
        disjoint=round(disjoint, 2),
        replayed=len(found.distance),
        rows=len(past.values[0]),
        sample=sample,
        seed=seed,
        short=short,
        said=_said(len(past.values[0]), window, size, disjoint, false_alarms, inflation, short),
    )


def _scale(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each column's usual distance, and how far above it its largest lies."""
    import numpy as np

    middle, largest = np.median(distance, axis=0), distance.max(axis=0)
    return middle, np.maximum(np.maximum(largest - middle, _LEAST_REACH * largest), _LEAST_DISTANCE)


def _stretched(largest: float, n: float, rate: float) -> float:
    """How far missing shares may go further than the largest of n did: by an exponential tail from the rate 1/(n + 1), which the largest
    stands for, to `rate`. It lies on top of the largest of all, so that the chance in that is paid for already."""
    return largest * max(math.log(rate) / math.log(1 / (n + 1)), 1.0)


def _stretch(n: float, rate: float) -> float:
    """How many times the largest of n exponential values another one exceeds at the rate: c of n B(n, c + 1) = rate; at least once.

    The chance is taken over the n too. To read the tail from their largest as if that were no chance itself was too little for few.
    """

    def chance(times: float) -> float:
        return math.exp(math.lgamma(n + 1) + math.lgamma(times + 1) - math.lgamma(n + times + 1))

    low, high = 1.0, 2.0
    while chance(high) > rate:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) > rate else (low, middle)
    return high if chance(1.0) > rate else 1.0


def _said(rows: int, window: int, size: int, disjoint: float, false_alarms: float, inflation: float, short: bool) -> str:
    text = f"{rows} stable rows replayed as windows of {size}: limits that {100 * false_alarms:g} of 100 stable windows exceed"
    if size < window:
        text += f"; windows of {window} do not fit, smaller ones differ more, so that the limits are too wide rather than too narrow"
    if short:
        text += f"; only {disjoint:.1f} windows fit, which show no rate below {100 / (disjoint + 1):.0f} of 100: limits are {inflation:.2f} times as wide"
    return text
