"""What a table tells of its truth that it should not: copies of the target, values of later, test rows among the training rows. Pure.

How much a column tells is data/telling.py's. In a series yesterday tells much too, and is no leak: a column is suspected only where it
tells clearly more than the target's own last value does. Everything is measured on a bounded sample but for the search for rows that
repeat (data/repeats.py), which is linear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from data import repeats, split
from data.cells import codes, pixels
from data.schema import Task
from data.section import DataSection, FeaturesSection
from data.telling import EXACT, LEAST, error, exact, told

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Kind = Literal["copy", "sum", "missing", "ahead", "later", "repeated", "group"]

_SAMPLE = 50_000  # rows that a column's power is measured on
_OF_PERSISTENCE = 0.5  # a suspect's error is at most this share of the error of the target's own last value
_NOW_AND_THEN, _BEFORE = 0.01, 0.1  # of the times are later than their rows, and so many are earlier: it is no plan
_AHEAD = 24  # steps ahead that are looked at beside the horizons
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One suspicion: of which kind, by which columns, and how it shows. `rows` are those it was seen in, where it is of rows.

    Not `certain`: an honest column could look like this too (a law of nature, a forecast, a planned date).
    """

    kind: Kind
    columns: tuple[str, ...]
    said: str
    power: float | None = None
    rows: int | None = None
    certain: bool = True


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
    table = Table(df, task, data, features)
    if len(table.rows) < LEAST:
        return []
    found = [*_told(table, power), *_sums(table), *_ahead(table, power), *_later(df, data, features)]
    return [*found, *_repeated(table, sides), *_groups(df, groups, sides)]


class Table:
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
        return error(truth[steps:][same], truth[:-steps][same], self.classes)

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


def _columns(table: Table, names: list[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, values by sampled row, the rows they are of); an image is a column per pixel."""
    import numpy as np

    for name in names:
        values, kind = table.df[name], table.kinds[name]
        if kind == "image":
            rows = table.rows[: _SAMPLE // 10]
            seen = pixels(values.to_numpy()[rows])
            for at in range(seen.shape[1]):
                yield name, seen[:, at].astype("float64"), rows
        elif kind == "category":
            found = codes(values)[table.rows]
            yield name, np.where(found < 0, np.nan, found), table.rows
        elif kind == "time":
            micros = values.astype("int64").to_numpy("float64")
            yield name, np.where(values.isna(), np.nan, micros)[table.rows], table.rows
        else:
            yield name, values.to_numpy("float64")[table.rows], table.rows


def _told(table: Table, limit: float) -> Iterator[Leak]:
    """Columns of the target's own time that tell it, by their values or by where they have none."""
    import numpy as np

    usual, seen = table.persistence(), set()
    for name, values, rows in _columns(table, table.shown):
        truth, own = table.truth[rows], np.argsort(rows)
        empty = ~np.isfinite(values)
        for kind, column in (("copy", values), ("missing", empty.astype("float64"))):
            if name in seen or (kind == "missing" and not 0 < empty.mean() < 1):
                continue
            coded = kind == "copy" and table.kinds[name] == "category"
            power, left = told(column, truth, classes=table.classes, unordered=coded)
            if power >= limit and left <= _OF_PERSISTENCE * usual:
                seen.add(name)
                said = "its values tell" if kind == "copy" else "where it has no value tells"
                certain = exact(column[own], truth[own], classes=table.classes, unordered=coded)
                said = f"{said} {'the target exactly' if certain else f'{power:.2%} of the target'}"
                yield Leak(kind=kind, columns=(name,), said=said, power=power, certain=certain)  # pyright: ignore[reportArgumentType]  (one of the two above)


def _sums(table: Table) -> Iterator[Leak]:
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
    if len(used) < 2 or len(rows) < 4 * len(used) + LEAST or np.var(y) == 0:
        return
    x = (x[:, used] - x[:, used].mean(axis=0)) / spread[used]
    weights, *_ = np.linalg.lstsq(x, y - y.mean(), rcond=None)
    left = float(np.var(y - y.mean() - x @ weights) / np.var(y))
    parts = [names[used[i]] for i in np.flatnonzero(np.abs(weights) > 1e-6 * np.std(y))]
    if left <= EXACT and len(parts) > 1:
        yield Leak(kind="sum", columns=tuple(parts), said="together they are the target, but for factors", power=1 - left)


def _ahead(table: Table, limit: float) -> Iterator[Leak]:
    """Columns that at a row's time hold what the target is only later."""
    if table.order is None:
        return
    steps = sorted({*range(1, _AHEAD + 1), *table.horizons})
    later = {n: table.ahead(n) for n in steps}
    usual = {n: table.persistence(n) for n in steps if n < len(table.truth)}
    for name, column, sampled in _columns(table, [n for n in table.history if table.kinds[n] not in {"image", "time"}]):
        values, rows = column[: _SAMPLE // 5], sampled[: _SAMPLE // 5]
        coded, own = table.kinds[name] == "category", rows.argsort()
        best: Leak | None = None
        for n in usual:
            power, left = told(values, later[n][rows], classes=table.classes, unordered=coded)
            if power >= limit and left <= _OF_PERSISTENCE * usual[1] and (best is None or power > (best.power or 0)):
                certain = exact(values[own], later[n][rows[own]], classes=table.classes, unordered=coded)
                what = "are" if certain else f"tell {power:.2%} of"
                said = f"its values {what} the target {n} rows later"
                best = Leak(kind="ahead", columns=(name,), said=said, power=power, certain=certain)
                if certain:
                    break
        if best is not None:
            yield best


def _later(df: pd.DataFrame, data: DataSection, features: FeaturesSection) -> Iterator[Leak]:
    """Times among the inputs that lie after the row's own."""
    if data.time is None or features.horizons:
        return
    for column in data.schema_columns:
        if column.kind != "time" or column.name in {data.time, *data.ignore}:
            continue
        known = df[df[column.name].notna() & df[data.time].notna()]
        when, own = known[column.name], known[data.time]
        if (when == when.dt.normalize()).all():  # dates: a booking for the same day is not earlier than its own hour
            own = own.dt.normalize()
        after, before = int((when > own).sum()), int((when < own).sum())
        if after:
            certain = after >= _NOW_AND_THEN * len(known) and before >= _BEFORE * len(known)
            told = (
                "what is written then is not known yet"
                if certain
                else "a plan (as a booking's day) may be known, a result is not"
            )
            said = f"lies after the row's own {data.time!r} in {after:,} of {len(known):,} rows: {told}"
            yield Leak(kind="later", columns=(column.name,), said=said, rows=after, certain=certain)


def _repeated(table: Table, sides: np.ndarray) -> Iterator[Leak]:
    """Rows of the holdout (of a series: stretches of rows) that are training rows too (data/repeats.py)."""
    if worst := repeats.count(table, sides):
        what = f"stretches of {repeats.WINDOW} rows" if table.horizons else "rows"
        yield Leak(
            kind="repeated", columns=(), said=f"{worst:,} {what} of the holdout are in the training rows too", rows=worst
        )


def _groups(df: pd.DataFrame, groups: tuple[str, ...], sides: np.ndarray) -> Iterator[Leak]:
    """Groups that are declared to be on one side and are on both."""
    for name in groups:
        on = [set(df[name][sides == side].dropna().unique()) for side in (split.TRAIN, split.HOLDOUT)]
        if both := on[0] & on[1]:
            rows = int(df[name][sides == split.HOLDOUT].isin(both).sum())
            said = f"{len(both):,} of its values are both in the training rows and in the holdout"
            yield Leak(kind="group", columns=(name,), said=said, rows=rows)
