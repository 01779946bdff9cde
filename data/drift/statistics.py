"""How far two samples of one column lie apart: the distances that Evidently calls "wasserstein" and "jensenshannon", in numpy.

Evidently computes the figures of a report; these equal them to rounding (a test holds them to it) and are fast enough to replay
hundreds of windows. Arrays in, one number out; knows no column, no threshold, no history.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_LEAST_STD = 0.001  # Evidently divides by no less
_LEAST_LEVEL = 1e-3  # a column that never moved is measured by a thousandth of its level
_ROUNDING = 1e-12


def spread(values: np.ndarray) -> float:
    """What a number's distance is divided by: the standard deviation of the known values.

    A column that never moved has none: a thousandth of its level then, or .001 where that is 0. NaN without a known value.
    """
    import numpy as np

    known = values[np.isfinite(values)]
    if not len(known):
        return math.nan
    level, std = float(np.abs(known).max()), float(known.std())
    if std > level * _ROUNDING:
        return std
    return level * _LEAST_LEVEL or _LEAST_LEVEL


def handed(values: np.ndarray, of: float, *, constant: bool) -> np.ndarray:
    """Numbers in the unit in which Evidently's norm, max(std, .001), is our `spread`: as they are unless the spread is tiny."""
    if constant:
        return values * (_LEAST_STD / of)
    return values if of >= _LEAST_STD else values / of


def wasserstein(reference: np.ndarray, current: np.ndarray, of: float) -> float:
    """The first Wasserstein distance (Vaserstein 1969; on a line the area between the two distribution functions) over the
    reference's `spread`. Both sorted and finite; NaN where one is empty."""
    import numpy as np

    if not len(reference) or not len(current):
        return math.nan
    every = np.concatenate([reference, current])
    every.sort(kind="stable")
    before = reference.searchsorted(every[:-1], "right") / len(reference)
    after = current.searchsorted(every[:-1], "right") / len(current)
    return float(np.abs(before - after) @ np.diff(every)) / of


def jensenshannon(reference: np.ndarray, current: np.ndarray) -> float:
    """The Jensen-Shannon distance (Endres and Schindelin 2003), natural logarithm: 0 to .833. Counts per class, same classes in
    the same order; NaN where one side has none."""
    import numpy as np

    if reference.sum() <= 0 or current.sum() <= 0:
        return math.nan
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.where(p > 0, p * np.log(p / middle), 0.0) + np.where(q > 0, q * np.log(q / middle), 0.0)
    return math.sqrt(max(0.0, float(apart.sum()) / 2))


def share_moved(reference: np.ndarray, current: np.ndarray) -> float:
    """The share of rows that would have to change class to make the two alike (total variation). Counts; NaN as above."""
    import numpy as np

    if reference.sum() <= 0 or current.sum() <= 0:
        return math.nan
    return float(np.abs(reference / reference.sum() - current / current.sum()).sum() / 2)
