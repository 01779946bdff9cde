"""What a table tells of its truth that it should not: copies of the target, values of later, test rows among the training rows. Pure.

How much a column tells is measured without a model: rows in the column's order, and how much neighbours' truths differ (Rice 1984, *Ann.
Statist.* 12; von Neumann 1941): any function of the column shows, monotone or not, for numbers and for classes. In a series yesterday
tells much too, and is no leak: a column is suspected only where it tells clearly more than the target's own last value does.
Everything is measured on a bounded sample but for the search for rows that repeat, which is linear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from data import split
from data.schema import Task
from data.section import DataSection, FeaturesSection

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Kind = Literal["copy", "sum", "missing", "ahead", "later", "repeated", "group"]

_SAMPLE = 50_000  # rows that a column's power is measured on
_PIXELS = 4_096  # of an image, each a column, on fewer rows
_LEAST = 30  # rows below which nothing can be said
_DIFFER = 20  # neighbours that must be expected to differ by chance, before it says something that they do not
_OF_PERSISTENCE = 0.5  # a suspect's error is at most this share of the error of the target's own last value
_EXACT = 1e-9  # of the variance: columns that add up to the target
_GRID, _GRIDS = 0.01, 3  # two rows are nearly the same where all numbers are within so many standard deviations
_WINDOW = 16  # rows of a series that repeat
_FEW = 3  # rows that may repeat by chance
_AHEAD = 24  # steps ahead that are looked at beside the horizons
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One suspicion: of which kind, by which columns, and how it shows. `rows` are those it was seen in, where it is of rows."""

    kind: Kind
    columns: tuple[str, ...]
    said: str
    power: float | None = None
    rows: int | None = None


def find(
    df: pd.DataFrame,
    task: Task,
    data: DataSection,
    features: FeaturesSection,
    sides: np.ndarray,
    *,
    power: float = 0.98,
    groups: tuple[str, ...] = (),
) -> list[Leak]:
    """The leaks of a canonical table (data/prepare.py), by what the model will be shown: `ignore`d columns are none of its inputs.

    `sides` are data/split.py's, a row each. `power` in 0..1: the share of the target's variance (of its impurity, for classes) that one
    column must tell to be suspected. Nothing is said of fewer than 30 rows with a truth.
    """
    table = _Table(df, task, data, features)
    if len(table.rows) < _LEAST:
        return []
    found = [*_told(table, power), *_sums(table), *_ahead(table, power), *_later(df, data, features)]
    return [*found, *_repeated(table, sides), *_groups(df, groups, sides)]


class _Table:
    """The target and the columns that are shown, as numbers; the sample that they are measured on."""

    def __init__(self, df: pd.DataFrame, task: Task, data: DataSection, features: FeaturesSection) -> None:
        import numpy as np

        self.df, self.data, self.horizons = df, data, features.horizons
        kinds = {column.name: column.kind for column in data.schema_columns}
        hidden = {data.target, data.entity, *data.ignore}
        series = bool(features.horizons)
        self.shown = [*features.known] if series else [name for name in kinds if name not in hidden]  # at the target's own time
        self.history = [name for name in features.history if name != data.target] if series else [*self.shown]
        self.kinds = kinds
        self.classes = task == "classification"
        self.truth = codes(df[data.target]) if self.classes else df[data.target].to_numpy("float64")
        known = np.flatnonzero(self.truth >= 0 if self.classes else np.isfinite(self.truth))
        chosen = np.random.default_rng(_SEED).permutation(known)  # in no order: ties must not keep that of time
        self.rows = chosen[:_SAMPLE]
        self.entity = codes(df[data.entity]) if data.entity else np.zeros(len(df), dtype=np.int64)
        self.order = None
        if data.time is not None:
            self.order = np.lexsort((df[data.time].astype("int64").to_numpy(), self.entity))

    def persistence(self, steps: int = 1) -> float:
        """The error of the truth `steps` rows before, of the same series; infinite where rows have no order."""
        import numpy as np

        if self.order is None:
            return np.inf
        truth, entity = self.truth[self.order], self.entity[self.order]
        same = entity[steps:] == entity[:-steps]
        return _error(truth[steps:][same], truth[:-steps][same], self.classes)

    def ahead(self, steps: int) -> np.ndarray:
        """The truth `steps` rows later in the same series, for each row; unknown (NaN, -1) at its end."""
        import numpy as np

        missing: Any = -1 if self.classes else np.nan
        found = np.full(len(self.truth), missing, dtype=self.truth.dtype)
        if self.order is None or steps >= len(self.order):
            return found
        inside = self.entity[self.order[steps:]] == self.entity[self.order[:-steps]]
        found[self.order[:-steps]] = np.where(inside, self.truth[self.order[steps:]], missing)
        return found


def codes(values: pd.Series) -> np.ndarray:
    """Any values as whole numbers, equal for equal ones; -1 for missing."""
    import pandas as pd

    return pd.factorize(values, sort=False)[0].astype("int64")


def _columns(table: _Table, names: list[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, values by sampled row, the rows they are of); an image is a column per pixel."""
    import numpy as np

    for name in names:
        values, kind = table.df[name], table.kinds[name]
        if kind == "image":
            rows = table.rows[: _SAMPLE // 10]
            pixels = np.stack(values.to_numpy()[rows].tolist()).astype("float64")
            for at in range(0, pixels.shape[1], max(1, -(-pixels.shape[1] // _PIXELS))):
                yield name, pixels[:, at], rows
        elif kind == "category":
            found = codes(values)[table.rows]
            yield name, np.where(found < 0, np.nan, found), table.rows
        elif kind == "time":
            micros = values.astype("int64").to_numpy("float64")
            yield name, np.where(values.isna(), np.nan, micros)[table.rows], table.rows
        else:
            yield name, values.to_numpy("float64")[table.rows], table.rows


def told(column: np.ndarray, truth: np.ndarray, *, classes: bool, unordered: bool = False) -> tuple[float, float]:
    """(power, error): how much of the truth's variance, or impurity, the column tells, 0 to 1, and what it leaves. Rows in random order.

    Missing values of the column are left out; of an `unordered` column (codes) only rows with one value are neighbours. NaN where
    fewer than 30 rows or neighbours remain, only one truth, or too few of the rarer classes to differ.
    """
    import numpy as np

    known = np.isfinite(column) & (truth >= 0 if classes else np.isfinite(truth))
    if known.sum() < _LEAST:
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
    if len(one) < _LEAST or (classes and len(one) * whole < _DIFFER):
        return np.nan, np.nan
    error = _error(one, other, classes)
    return 1 - error / whole, error


def _error(one: np.ndarray, other: np.ndarray, classes: bool) -> float:
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


def _told(table: _Table, limit: float) -> Iterator[Leak]:
    """Columns of the target's own time that tell it, by their values or by where they have none."""
    import numpy as np

    usual, seen = table.persistence(), set()
    for name, values, rows in _columns(table, table.shown):
        truth = table.truth[rows]
        empty = ~np.isfinite(values)
        for kind, column in (("copy", values), ("missing", empty.astype("float64"))):
            if name in seen or (kind == "missing" and not 0 < empty.mean() < 1):
                continue
            coded = kind == "copy" and table.kinds[name] == "category"
            power, error = told(column, truth, classes=table.classes, unordered=coded)
            if power >= limit and error <= _OF_PERSISTENCE * usual:
                seen.add(name)
                said = "its values tell" if kind == "copy" else "where it has no value tells"
                yield Leak(kind=kind, columns=(name,), said=f"{said} {power:.2%} of the target", power=power)  # pyright: ignore[reportArgumentType]  (one of the two above)


def _sums(table: _Table) -> Iterator[Leak]:
    """Numbers that add up to the target exactly (as registered and casual riders do to all riders)."""
    import numpy as np

    names = [name for name in table.shown if table.kinds[name] in {"number", "integer", "boolean"}]
    if table.classes or len(names) < 2 or table.data.target in names:
        return
    rows = table.rows[: _SAMPLE // 5]
    x = np.column_stack([table.df[name].to_numpy("float64")[rows] for name in names])
    y = table.truth[rows]
    spread = np.nanstd(x, axis=0)
    used = [i for i in range(len(names)) if np.isfinite(x[:, i]).all() and spread[i] > 0]
    if len(used) < 2 or len(rows) < 4 * len(used) + _LEAST or np.var(y) == 0:
        return
    x = (x[:, used] - x[:, used].mean(axis=0)) / spread[used]
    weights, *_ = np.linalg.lstsq(x, y - y.mean(), rcond=None)
    left = float(np.var(y - y.mean() - x @ weights) / np.var(y))
    parts = [names[used[i]] for i in np.flatnonzero(np.abs(weights) > 1e-6 * np.std(y))]
    if left <= _EXACT and len(parts) > 1:
        yield Leak(kind="sum", columns=tuple(parts), said="together they are the target, but for factors", power=1 - left)


def _ahead(table: _Table, limit: float) -> Iterator[Leak]:
    """Columns that at a row's time hold what the target is only later."""
    if table.order is None:
        return
    steps = sorted({*range(1, _AHEAD + 1), *table.horizons})
    later = {n: table.ahead(n) for n in steps}
    usual = {n: table.persistence(n) for n in steps if n < len(table.truth)}
    for name, column, sampled in _columns(table, [n for n in table.history if table.kinds[n] not in {"image", "time"}]):
        values, rows = column[: _SAMPLE // 5], sampled[: _SAMPLE // 5]
        for n in usual:
            coded = table.kinds[name] == "category"
            power, error = told(values, later[n][rows], classes=table.classes, unordered=coded)
            if power >= limit and error <= _OF_PERSISTENCE * usual[1]:
                said = f"its values tell {power:.2%} of the target {n} rows later"
                yield Leak(kind="ahead", columns=(name,), said=said, power=power)
                break


def _later(df: pd.DataFrame, data: DataSection, features: FeaturesSection) -> Iterator[Leak]:
    """Times among the inputs that lie after the row's own."""
    if data.time is None or features.horizons:
        return
    for column in data.schema_columns:
        if column.kind != "time" or column.name in {data.time, *data.ignore}:
            continue
        after = int((df[column.name] > df[data.time]).sum())
        if after:
            said = f"lies after the row's own {data.time!r} in {after:,} rows: what is written then is not known yet"
            yield Leak(kind="later", columns=(column.name,), said=said, rows=after)


def _repeated(table: _Table, sides: np.ndarray) -> Iterator[Leak]:
    """Rows of the holdout (of a series: stretches of rows) that are training rows too, exactly or nearly, and more than would be anyway.

    Anyway: in time, as training rows repeat each other; without time, as rows of the same values in other company would.
    """
    names = [name for name in dict.fromkeys([*table.shown, *table.history]) if table.kinds[name] != "time"]
    if not _rich(table, names):
        return
    worst = 0
    for grid in range(_GRIDS):
        keys = _keys(table, names, grid)
        again, share, anyway = _again(table, keys, sides)
        if table.order is None and again:
            _, anyway, _ = _again(table, _keys(table, names, grid, shuffled=True), sides)
        if again > _FEW and share > 2 * anyway + 0.002:
            worst = max(worst, again)
    if worst:
        what = f"stretches of {_WINDOW} rows" if table.horizons else "rows"
        yield Leak(
            kind="repeated", columns=(), said=f"{worst:,} {what} of the holdout are in the training rows too", rows=worst
        )


def _rich(table: _Table, names: list[str]) -> bool:
    """Whether rows can be told apart at all: an image, or a number of many values. Rows of a few categories repeat by nature."""
    import numpy as np

    if table.horizons:
        return table.order is not None
    sample = table.rows[:5_000]
    numbers = [name for name in names if table.kinds[name] in {"number", "integer"}]
    many = any(len(np.unique(table.df[name].to_numpy("float64")[sample])) > len(sample) / 10 for name in numbers)
    return many or any(table.kinds[name] == "image" for name in names)


def _again(table: _Table, keys: np.ndarray, sides: np.ndarray) -> tuple[int, float, float]:
    """How many of the holdout are in the training rows, which share of it that is, and which share of the training rows repeat."""
    import numpy as np

    where = sides
    if table.horizons and table.order is not None:
        keys, where = _stretches(keys[table.order], table.entity[table.order], sides[table.order])
    train, holdout = keys[where == split.TRAIN], keys[where == split.HOLDOUT]
    if not len(train) or not len(holdout):
        return 0, 0.0, 0.0
    unique, counts = np.unique(train, return_counts=True)
    again = int(np.isin(holdout, unique).sum())
    return again, again / len(holdout), float(counts[counts > 1].sum() / len(train))


def _keys(table: _Table, names: list[str], grid: int, *, shuffled: bool = False) -> np.ndarray:
    """One number per row, equal where all values fall into the same cells of a grid that begins anywhere; `shuffled`: each column by itself."""
    import numpy as np

    rng = np.random.default_rng(_SEED + grid)
    mixed = np.zeros(len(table.df), dtype=np.uint64)

    def mix(values: np.ndarray) -> None:
        nonlocal mixed
        values = rng.permutation(values) if shuffled else values
        mixed = (mixed ^ values.astype(np.int64).view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)

    def number(values: np.ndarray, spread: float) -> None:
        cell = np.floor(values / (spread * _GRID) + rng.random()) if spread > 0 else values
        mix(np.where(np.isfinite(cell), np.clip(np.nan_to_num(cell), -(2.0**62), 2.0**62), -(2.0**62)))

    for name in names:
        values = table.df[name]
        if table.kinds[name] == "image":
            pixels = np.stack(values.to_numpy().tolist()).astype("float64")
            for pixel in pixels.T:
                number(pixel, float(pixels.std()))
        elif table.kinds[name] == "category":
            mix(codes(values))
        else:
            number(values.to_numpy("float64"), _spread(values.to_numpy("float64")))
    if table.classes:
        mix(table.truth)
    else:
        number(table.truth, _spread(table.truth))
    return mixed


def _spread(values: np.ndarray) -> float:
    import numpy as np

    known = values[np.isfinite(values)]
    return float(known.std()) if len(known) else 0.0


def _stretches(keys: np.ndarray, entity: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The key of each stretch of rows that lies in one series and on one side, and that side. Stretches of one value are left out."""
    import numpy as np

    count = len(keys) - _WINDOW + 1
    if count < 1:
        return keys[:0], sides[:0]
    mixed, still = np.zeros(count, dtype=np.uint64), np.ones(count, dtype=bool)
    for n in range(_WINDOW):
        part = keys[n : n + count]
        mixed = (mixed ^ part) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(31)
        still &= part == keys[:count]
    first, last = slice(0, count), slice(_WINDOW - 1, _WINDOW - 1 + count)
    whole = (entity[first] == entity[last]) & (sides[first] == sides[last]) & ~still
    return mixed[whole], sides[first][whole]


def _groups(df: pd.DataFrame, groups: tuple[str, ...], sides: np.ndarray) -> Iterator[Leak]:
    """Groups that are declared to be on one side and are on both."""
    for name in groups:
        on = [set(df[name][sides == side].dropna().unique()) for side in (split.TRAIN, split.HOLDOUT)]
        if both := on[0] & on[1]:
            rows = int(df[name][sides == split.HOLDOUT].isin(both).sum())
            said = f"{len(both):,} of its values are both in the training rows and in the holdout"
            yield Leak(kind="group", columns=(name,), said=said, rows=rows)
