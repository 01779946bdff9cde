"""How much one column tells of a truth, and whether it tells it exactly. Pure; refuses to know whether it may.

Measured without a model: rows in the column's order, and how much neighbours' truths differ (Rice 1984, *Ann. Statist.* 12; von Neumann
1941): any function of the column shows, monotone or not, for numbers and for classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


LEAST = 30  # rows below which nothing can be said
_DIFFER = 20  # neighbours that must be expected to differ by chance, before it says something that they do not
_TWICE = 2  # rows per value, on average, that show whether a value always comes with one truth
EXACT = 1e-9  # of the variance: columns that add up to the target, or one that is it


def told(column: np.ndarray, truth: np.ndarray, *, classes: bool, unordered: bool = False) -> tuple[float, float]:
    """(power, error): how much of the truth's variance, or impurity, the column tells, 0 to 1, and what it leaves. Rows in random order.

    Missing values of the column are left out; of an `unordered` column (codes) only rows with one value are neighbours. NaN where
    fewer than 30 rows or neighbours remain, only one truth, or too few of the rarer classes to differ.
    """
    import numpy as np

    known = np.isfinite(column) & (truth >= 0 if classes else np.isfinite(truth))
    if known.sum() < LEAST:
        return np.nan, np.nan
    column, truth = column[known], truth[known]
    whole = _impurity(truth) if classes else float(np.var(truth))
    if whole <= 0:
        return np.nan, np.nan
    order = np.argsort(column, kind="stable")
    one, other = truth[order[1:]], truth[order[:-1]]
    if unordered:
        alike = column[order[1:]] == column[order[:-1]]
        one, other = one[alike], other[alike]
    if len(one) < LEAST or (classes and len(one) * whole < _DIFFER):
        return np.nan, np.nan
    left = error(one, other, classes)
    return 1 - left / whole, left


def exact(column: np.ndarray, truth: np.ndarray, *, classes: bool, unordered: bool = False) -> bool:
    """Whether the truth is a function of the column, not only near one; for a column that `told` suspects. Rows in their own order.

    Where values come again, none comes with two truths; numbers also where they are a straight line but for roundings, or in the same
    order, unless both only grow from row to row as a meter and a clock do. Classes that a number merely parts are not enough.
    """
    import numpy as np

    known = np.isfinite(column) & (truth >= 0 if classes else np.isfinite(truth))
    column, truth = column[known], truth[known].astype("float64")
    order = np.lexsort((truth, column))
    x, y = column[order], truth[order]
    again = x[1:] == x[:-1]
    if (y[1:] != y[:-1])[again].any():
        return not (classes or unordered) and _straight(column, truth)
    if len(x) >= _TWICE * (len(x) - again.sum()):
        return True
    if classes or unordered:
        return False
    steps = np.diff(y)
    grows = (np.diff(column) >= 0).all() and (np.diff(truth) >= 0).all()
    return _straight(column, truth) or (bool((steps >= 0).all() or (steps <= 0).all()) and not grows)


def _straight(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether y is a line of x, to within float precision or what y is rounded to."""
    import numpy as np

    x = (x - x.mean()) / (x.std() or 1.0)
    left = y - y.mean() - x * float(np.mean(x * (y - y.mean())))
    steps = np.diff(np.unique(y))
    rounded = len(steps) < len(y) / _TWICE and float(np.abs(left).max()) <= 0.51 * float(steps.min(initial=np.inf))
    return bool(np.var(left) <= EXACT * np.var(y)) or rounded


def error(one: np.ndarray, other: np.ndarray, classes: bool) -> float:
    """Half the mean square of the differences, which is a noise's variance; of classes how often they differ."""
    import numpy as np

    if classes:
        known = (one >= 0) & (other >= 0)
        return float((one[known] != other[known]).mean()) if known.any() else np.inf
    difference = one - other
    difference = difference[np.isfinite(difference)]
    return float(np.mean(difference**2) / 2) if len(difference) else np.inf


def _impurity(codes: np.ndarray) -> float:
    import numpy as np

    return float(1 - ((np.bincount(codes) / len(codes)) ** 2).sum())
