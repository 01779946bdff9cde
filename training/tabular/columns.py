"""From raw columns to what the net reads: fitted once on the train rows, then the same numbers in numpy and in the ONNX graph.

Numbers: relative to the series' level where there is one, centred at the median, divided by the interquartile range, squashed.
Categories and the calendar: small whole numbers, 0 for a level never seen, 1 for missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from training.signature import MISSING_TIME

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

DAY, YEAR = 86_400, 31_556_952  # seconds; the mean Gregorian year
HUGE = 1e300  # a level from here on is no level
LIMIT = 1e6  # interquartile ranges from the median: beyond, values are alike


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
            values, location, scale = self.values(table)
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

    def values(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
