"""A look over the train rows that decides how each column is read: scales, levels of categories, the calendar, the series' level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from data import series
from data.schema import TIME, TableSchema
from training.signature import MISSING_TIME
from training.tabular.columns import DAY, YEAR, Clock, Level, Recipe, level_of, seconds_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LEVELS = 4096  # of one category at most, the most frequent; what is rarer counts as never seen
CALENDAR_SHIFTS = 4  # weekdays of at most so many horizons


def fit_recipe(table: pd.DataFrame, schema: TableSchema, truth: np.ndarray) -> Recipe:
    """The constants for these train rows. `truth` [N, H] (NaN: unknown) decides how a level is taken out."""
    import numpy as np

    numbers = tuple(c.name for c in schema.inputs if c.kind in {"number", "integer", "boolean"})
    times = [c.name for c in schema.inputs if c.kind == "time"]
    clock = schema.time if schema.time in times else None
    clocks, years = _calendar(table, schema, times)
    recipe = Recipe(
        numbers=numbers,
        dates=tuple(name for name in times if name != clock),
        clock=clock,
        categories=tuple((c.name, _levels(table[c.name])) for c in schema.inputs if c.kind == "category"),
        clocks=clocks,
        years=years,
        level=_level(table, schema, numbers, truth),
        bases=_bases(schema, numbers),
    )
    values, _, _ = recipe.values(table)
    values = np.where(np.isfinite(values), values, np.nan)
    known = np.isfinite(values)
    width = values.shape[1]
    centre, factor = np.zeros(width), np.zeros(width)
    for i in range(width):
        column = values[known[:, i], i]
        if len(column):
            low, centre[i], high = np.quantile(column, (0.25, 0.5, 0.75))
            spread = high - low if high > low else (column.max() - column.min()) / 2
            factor[i] = 1 / spread if spread > 1e-12 * max(1.0, abs(centre[i])) else 0.0
    absent = ~known
    return recipe.model_copy(
        update={
            "centre": tuple(centre.tolist()),
            "factor": tuple(factor.tolist()),
            "kept": tuple(np.flatnonzero(factor > 0).tolist()),
            "missing": tuple(np.flatnonzero(absent.any(axis=0) & known.any(axis=0)).tolist()),
        }
    )


def _levels(values: pd.Series) -> tuple[str, ...]:
    """Levels seen at least twice, the most frequent first; text as the endpoint gets it."""
    text = values.dropna().astype(str)
    counts = text[text != ""].value_counts()
    counts = counts[counts >= 2].sort_index().sort_values(ascending=False, kind="stable")
    return tuple(str(level) for level in counts.index[:LEVELS])


def _calendar(table: pd.DataFrame, schema: TableSchema, times: list[str]) -> tuple[tuple[Clock, ...], tuple[Clock, ...]]:
    """What is read of each time column. A year that was seen fewer than three times is a trend and no season: not read."""
    import numpy as np

    step = schema.step_seconds or 0
    classes, years = [], []
    for name in times:
        known = seconds_of(table[name])
        known = known[known != MISSING_TIME]
        if not len(known):
            continue
        shifts = [h * step for h in schema.horizons] if name == schema.time and schema.horizons else [0]
        if (known % DAY).min() != (known % DAY).max():
            width = 1800 if (known % 3600).any() and step <= 1800 else 3600
            classes.append(Clock(column=name, reads="slot", shift=shifts[0], width=width))
        if not step or step < 7 * DAY:
            different = list(dict.fromkeys(shift % (7 * DAY) for shift in shifts))[:CALENDAR_SHIFTS]
            classes += [Clock(column=name, reads="weekday", shift=shift) for shift in different]
        if np.ptp(known) >= 3 * YEAR:
            years.append(Clock(column=name, reads="year", shift=shifts[0]))
    return tuple(classes), tuple(years)


def _level(table: pd.DataFrame, schema: TableSchema, numbers: tuple[str, ...], truth: np.ndarray) -> Level | None:
    """Which columns are in the target's unit and what their level is; None for classes and tables that are no series."""
    import numpy as np

    if not (schema.level_free and schema.horizons and schema.step_seconds) or schema.task == "classification":
        return None
    plan = series.target_plan(schema.target, schema.horizons, schema.step_seconds, schema.season)
    names = [feature.name for feature in plan if feature.name in numbers]
    mean = series.anchor(schema.target, schema.step_seconds, schema.season).name
    if mean not in names:
        return None
    means = [f.name for f in sorted(plan, key=lambda f: -f.steps[0]) if f.how == "mean" and not f.steps[1]]
    lags = [f.name for f in sorted(plan, key=lambda f: f.steps[0]) if f.how == "lag"]
    chain = tuple(dict.fromkeys(numbers.index(n) for n in (mean, *means, *lags) if n in names))
    values = np.stack([table[n].to_numpy("float64", na_value=np.nan) for n in numbers], axis=1)
    known = truth[np.isfinite(truth)]
    default = float(np.median(known))
    level = Level(how="difference", chain=chain, relative=tuple(numbers.index(n) for n in names), default=default, floor=0.0)
    at = level_of(values, level)
    if known.min() < 0 or (at <= 0).mean() > 0.01 or not _grows_with_level(truth, at):
        return level
    floor = float(np.quantile(at[at > 0], 0.01)) / 10
    return level.model_copy(update={"how": "ratio", "floor": floor})


def _bases(schema: TableSchema, numbers: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The columns beside the target that are known at several times: each less the mean of its season, which stays as it is."""
    if not (schema.level_free and schema.horizons and schema.step_seconds):
        return ()
    suffix = series.anchor("", schema.step_seconds, schema.season).name
    stems = [name.removesuffix(suffix) for name in numbers if name.endswith(suffix)]
    found = []
    for stem in stems:
        mean = numbers.index(stem + suffix)
        ahead = {stem, *(f"{stem}_h{horizon}" for horizon in schema.horizons)} & set(schema.known)
        if stem != schema.target:
            past = (f"{stem}_lag", f"{stem}_mean")
            found += [(i, mean) for i, n in enumerate(numbers) if (n.startswith(past) and i != mean) or n in ahead]
    return tuple(found)


def _grows_with_level(truth: np.ndarray, level: np.ndarray) -> bool:
    """Whether the target varies more where its level is high: then a ratio, not a difference, is what stays alike."""
    import numpy as np

    away = np.abs(truth - level[:, None])
    rows = np.isfinite(away).all(axis=1)
    if rows.sum() < 8 or np.ptp(level[rows]) == 0:
        return False
    order = np.argsort(level[rows], kind="stable")
    third = max(1, len(order) // 3)
    spread: Any = away[rows].mean(axis=1)[order]
    low, high = level[rows][order][:third].mean(), level[rows][order][-third:].mean()
    expected = high / low if low > 0 else np.inf  # of a target that varies in proportion
    return bool(spread[-third:].mean() > spread[:third].mean() * (1 + (min(expected, 10.0) - 1) / 2) and expected > 1.2)


def time_of(table: pd.DataFrame, schema: TableSchema) -> np.ndarray | None:
    """The time of each row in seconds, by which folds are cut; None for tables without one."""
    return seconds_of(table[TIME]) if TIME in table.columns and schema.time else None
