"""From raw columns to what the net reads: fitted once on the train rows, then the same numbers in numpy and in the ONNX graph.

Numbers: relative to the series' level where there is one, centred at the median, divided by the interquartile range, squashed.
Categories and the calendar: small whole numbers, 0 for a level never seen, 1 for missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from data import series
from data.schema import TIME, TableSchema
from training.signature import MISSING_TIME

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

DAY, YEAR = 86_400, 31_556_952  # seconds; the mean Gregorian year
LEVELS = 4096  # of one category at most, the most frequent; what is rarer counts as never seen
HUGE = 1e300  # a level from here on is no level
LIMIT = 1e6  # interquartile ranges from the median: beyond, values are alike
CALENDAR_SHIFTS = 4  # weekdays of at most so many horizons


class Clock(BaseModel):
    """One reading of a time column: the time of day, the weekday, or the angle of the year, `shift` seconds after the time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    reads: Literal["slot", "weekday", "year"]
    shift: int = 0
    width: int = 3600  # seconds of a slot

    @property
    def levels(self) -> int:
        """How many classes the reading has, beside unseen and missing."""
        return 7 if self.reads == "weekday" else DAY // self.width


class Level(BaseModel):
    """How a series is made free of its level: columns in its unit are divided by the level, or the level is taken off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    how: Literal["ratio", "difference"]
    chain: tuple[int, ...]  # numeric columns: the first that is known is the level
    relative: tuple[int, ...]  # numeric columns in the target's unit
    default: float  # where none of the chain is known
    floor: float  # ratio: the least level


class Encoded(NamedTuple):
    """N rows as the net reads them: C numbers, M signs of a missing number, J codes, and the level."""

    x_NC: np.ndarray  # float32
    missing_NM: np.ndarray  # float32, 0 or 1
    code_NJ: np.ndarray  # int64
    location_N: np.ndarray  # float64: target = location + scale * what the net says
    scale_N: np.ndarray  # float64


class Recipe(BaseModel):
    """The fitted constants."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    numbers: tuple[str, ...]
    dates: tuple[str, ...]  # times that are read as a number of days, before `clock` where there is one
    clock: str | None
    categories: tuple[tuple[str, tuple[str, ...]], ...]
    clocks: tuple[Clock, ...]  # classes
    years: tuple[Clock, ...]  # sine and cosine, after numbers and dates
    level: Level | None
    bases: tuple[tuple[int, int], ...] = ()  # (column, the mean that is taken off it): other columns of a series
    centre: tuple[float, ...] = ()
    factor: tuple[float, ...] = ()
    kept: tuple[int, ...] = ()  # of all numeric columns, those that vary
    missing: tuple[int, ...] = ()  # of all numeric columns, those that were missing in a train row

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of codes of each class column."""
        return tuple(len(levels) + 2 for _, levels in self.categories) + tuple(clock.levels + 2 for clock in self.clocks)

    def encode(self, table: pd.DataFrame) -> Encoded:
        """The table's rows; columns may hold what `training/signature.py` allows."""
        import numpy as np

        with np.errstate(invalid="ignore", over="ignore"):  # infinite numbers may come; what is left unknown counts as missing
            values, location, scale = self._values(table)
            z = np.clip((values - np.array(self.centre)) * np.array(self.factor), -LIMIT, LIMIT)
            z = z / np.sqrt(1 + (z / 3) ** 2)
        absent = np.isnan(z)
        codes = [_codes(table[name], levels) for name, levels in self.categories]
        codes += [_reading(seconds_of(table[clock.column]), clock) for clock in self.clocks]
        return Encoded(
            x_NC=np.where(absent, 0.0, z)[:, list(self.kept)].astype("float32"),
            missing_NM=absent[:, list(self.missing)].astype("float32"),
            code_NJ=np.stack(codes, axis=1) if codes else np.zeros((len(table), 0), "int64"),
            location_N=location,
            scale_N=scale,
        )

    def _values(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All numeric columns [N, all], level-free, and the level as location and scale [N]."""
        import numpy as np

        columns = [table[name].to_numpy("float64", na_value=np.nan) for name in self.numbers]
        now = days(seconds_of(table[self.clock])) if self.clock else 0.0
        columns += [days(seconds_of(table[name])) - now for name in self.dates]
        for year in self.years:
            angle = _angle(seconds_of(table[year.column]), year)
            columns += [np.sin(angle), np.sin(angle + np.pi / 2)]
        values = np.stack(columns, axis=1) if columns else np.zeros((len(table), 0))
        if self.bases:
            moved, means = (list(part) for part in zip(*self.bases, strict=True))
            values[:, moved] -= values[:, means]
        location, scale = np.zeros(len(table)), np.ones(len(table))
        if self.level is None:
            return values, location, scale
        level = level_of(values, self.level)
        relative = list(self.level.relative)
        if self.level.how == "ratio":
            values[:, relative] /= level[:, None]
            return values, location, level
        values[:, relative] -= level[:, None]
        return values, level, scale


def level_of(values: np.ndarray, level: Level) -> np.ndarray:
    """The level of each row [N]: the first of the chain that is known and finite."""
    import numpy as np

    found = np.full(len(values), np.nan)
    for column in level.chain:
        known = np.isnan(found) & (np.abs(values[:, column]) < HUGE)
        found = np.where(known, values[:, column], found)
    found = np.where(np.isnan(found), level.default, found)
    return np.maximum(found, level.floor) if level.how == "ratio" else found


def seconds_of(values: pd.Series) -> np.ndarray:
    """Whole seconds since 1970 UTC, MISSING_TIME where missing."""
    import numpy as np
    import pandas as pd

    times = pd.to_datetime(values, utc=True).dt.tz_localize(None)
    return np.where(times.isna(), MISSING_TIME, times.to_numpy("datetime64[s]").astype("int64"))


def days(seconds: np.ndarray) -> np.ndarray:
    """Days as a number, NaN where missing."""
    import numpy as np

    return np.where(seconds == MISSING_TIME, np.nan, seconds / DAY)


def _angle(seconds: np.ndarray, clock: Clock) -> np.ndarray:
    import numpy as np

    return np.where(seconds == MISSING_TIME, np.nan, (seconds + clock.shift) % YEAR * (2 * np.pi / YEAR))


def _reading(seconds: np.ndarray, clock: Clock) -> np.ndarray:
    """The code of each row's time; 1 where missing."""
    import numpy as np

    at = seconds + clock.shift
    read = at % DAY // clock.width if clock.reads == "slot" else (at // DAY + 3) % 7  # 1970 began on a Thursday; Monday is 0
    return np.where(seconds == MISSING_TIME, 1, read + 2)


def _codes(values: pd.Series, levels: tuple[str, ...]) -> np.ndarray:
    import numpy as np
    import pandas as pd

    text = values.astype(object).where(values.notna(), "").astype(str)
    place = pd.Index(levels, dtype=object).get_indexer(pd.Index(text, dtype=object)) if levels else np.full(len(text), -1)
    return np.where(text.to_numpy(object) == "", 1, np.where(place < 0, 0, place + 2)).astype("int64")


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
    values, _, _ = recipe._values(table)
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
