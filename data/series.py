"""Features of a series: for each (entity, t) only what was known at t, aligned to the times that are to be forecast.

Pure pandas and numpy. Lags are by time and never by rows: a missing hour stays missing (NaN), and nothing is filled in. The
recipe (which lags, means and medians) is `plan`; the naive forecasts that every model must beat are `baselines`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from data.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_DAY, _WEEK = 86_400, 604_800
_COLLISIONS = 0.01  # share of rows that may fall on a step already taken (calendar months, jitter): the newest wins


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One input: `how` is applied to `column`, `steps` before t (lag), the windows' lengths (mean), or several lags (median)."""

    name: str
    column: str
    how: Literal["lag", "mean", "median"]
    steps: tuple[int, ...]  # lag: (n,) | mean: (window, n steps before t) | median: (n1, n2, ...)


def cycles(step_seconds: int, season: int | None) -> tuple[int, ...]:
    """The lengths, in steps and ascending, after which a series tends to repeat: a day, a week where the step is shorter, and `season`."""
    calendar = {span // step_seconds for span in (_DAY, _WEEK) if span % step_seconds == 0 and span > step_seconds}
    return tuple(sorted(calendar | ({season} if season else set())))


def anchor(target: str, step_seconds: int, season: int | None) -> Feature:
    """The level of the series at t: the mean of its `season` (else of its longest cycle, else of 12 steps)."""
    window = season or max(cycles(step_seconds, None), default=12)
    return _mean(target, window)


def _lag(column: str, n: int) -> Feature:
    return Feature(name=f"{column}_lag{n}", column=column, how="lag", steps=(n,))


def _mean(column: str, window: int, back: int = 0) -> Feature:
    name = f"{column}_mean{window}" + (f"_lag{back}" if back else "")
    return Feature(name=name, column=column, how="mean", steps=(window, back))


def _slots(cycle: int, horizon: int, count: int) -> list[int]:
    """Lags of the newest `count` values, known at t, that stand whole cycles before t + horizon."""
    first = -(-horizon // cycle)
    return [k * cycle - horizon for k in range(first, first + count)]


def target_plan(
    target: str, horizons: Sequence[int], step_seconds: int, season: int | None, *, numeric: bool = True
) -> tuple[Feature, ...]:
    """The inputs made of the target's own past, in a fixed order and without repeats. Text targets have lags only."""
    periods = cycles(step_seconds, season)
    lags = {0, 1, 2}
    for horizon in horizons:
        for cycle in periods:
            slot, before = _slots(cycle, horizon, 2)
            lags |= {slot - 1, slot, slot + 1, before}
    made = [_lag(target, n) for n in sorted(lags) if n >= 0]
    if not numeric:
        return tuple(made)
    level = anchor(target, step_seconds, season)
    longest = max(periods, default=level.steps[0])
    made += [_mean(target, window) for window in sorted({3, *periods, 4 * longest, level.steps[0]})]
    made.append(_mean(target, level.steps[0], level.steps[0]))
    medians = {tuple(_slots(longest, horizon, 4)) for horizon in horizons} if periods else set()
    made += [Feature(name=f"{target}_median{s[0]}", column=target, how="median", steps=s) for s in sorted(medians)]
    return tuple(made)


def history_plan(
    column: str, horizons: Sequence[int], step_seconds: int, season: int | None, *, numeric: bool
) -> tuple[Feature, ...]:
    """The inputs made of another column's past: its last values, the newest same slot of each cycle with the value before it, and means of each cycle."""
    periods = cycles(step_seconds, season)
    lags = {0, 1} | {_slots(cycle, horizon, 1)[0] + more for cycle in periods for horizon in horizons for more in (0, 1)}
    made = [_lag(column, n) for n in sorted(lags)]
    if numeric:
        made += [_mean(column, window) for window in periods]
    return tuple(made)


@dataclass
class Timeline:
    """A table of series laid on a regular grid of steps. Rows must be sorted by entity, then time; see `Timeline.of`."""

    key: np.ndarray  # int64, ascending: the entity's number * room + step
    code: np.ndarray  # the entity's number, per row
    _where: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, entity: pd.Series | None, time: pd.Series, step_seconds: int, reach: int) -> Timeline:
        """Rows sorted by entity and time -> their place on the grid; `reach` is the largest lag, window or horizon in steps.

        UserError where more than 1 % of the rows share a step with another row of their entity.
        """
        import numpy as np
        import pandas as pd

        seconds = time.to_numpy("datetime64[us]").astype("int64") // 1_000_000
        step = np.rint((seconds - (seconds.min() if len(seconds) else 0)) / step_seconds).astype("int64")
        code = np.zeros(len(step), "int64") if entity is None else pd.factorize(entity, sort=False)[0].astype("int64")
        room = int(step.max(initial=0)) + 2 * (reach + 1)
        key = code * room + step
        gaps = np.diff(key)
        if (gaps < 0).any():
            raise ValueError("rows must be sorted by entity, then time")
        if len(key) and (gaps == 0).mean() > _COLLISIONS:
            raise UserError(
                f"{int((gaps == 0).sum())} rows share a step of {step_seconds} s with another row of their series",
                where="data.step",
                next_step="set data.step to the distance of two rows, or name the entity that tells the series apart",
            )
        return cls(key=key, code=code)

    def at(self, offset: int) -> np.ndarray:
        """The row that stands `offset` steps later (negative: earlier) in the same series, -1 where there is none."""
        import numpy as np

        if offset not in self._where:
            wanted = self.key + offset
            place = np.searchsorted(self.key, wanted, side="right") - 1
            found = (place >= 0) & (self.key[place] == wanted)
            self._where[offset] = np.where(found, place, -1)
        return self._where[offset]

    def pick(self, values: np.ndarray, offset: int) -> np.ndarray:
        """`values` of the row `offset` steps later; NaN (text: None) where that row is missing."""
        return _take(values, self.at(offset))

    def mean(self, values: np.ndarray, window: int) -> np.ndarray:
        """The mean over the `window` newest steps up to each row; NaN unless at least half of them are known."""
        import numpy as np
        import pandas as pd

        known = np.isfinite(values)
        # Sums run within a series, around its first value: neither another series nor a high level costs precision.
        level = pd.Series(np.where(known, values, np.nan)).groupby(self.code).transform("first").to_numpy()
        centred = np.where(known, values - level, 0.0)
        total = pd.Series(centred).groupby(self.code).cumsum().to_numpy()
        count = pd.Series(known.astype("int64")).groupby(self.code).cumsum().to_numpy()
        start = np.searchsorted(self.key, self.key - window, side="right")  # the window's first row
        inside = (start > 0) & (self.code[start - 1] == self.code)
        n = count - np.where(inside, count[start - 1], 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (total - np.where(inside, total[start - 1], 0.0)) / n + level
        return np.where(n * 2 >= window, mean, np.nan)

    def last(self, values: np.ndarray) -> np.ndarray:
        """The newest known value up to each row."""
        import pandas as pd

        return pd.Series(values).groupby(self.code).ffill().to_numpy()


def _take(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    import numpy as np

    if not len(values):
        return values
    missing: Any = None if values.dtype == object else np.nan
    return np.where(place >= 0, values[place], missing)


def _median(columns: Iterable[np.ndarray]) -> np.ndarray:
    """Row-wise median of what is known, NaN unless two values are."""
    import numpy as np

    ordered = np.sort(np.stack(list(columns), axis=1), axis=1)  # NaN last
    n = np.isfinite(ordered).sum(axis=1)
    row = np.arange(len(ordered))
    middle = (ordered[row, np.maximum(n - 1, 0) // 2] + ordered[row, n // 2]) / 2
    return np.where(n >= 2, middle, np.nan)


def compute(timeline: Timeline, columns: dict[str, np.ndarray], features: Iterable[Feature]) -> dict[str, np.ndarray]:
    """The features by name. `columns` hold float64 (missing NaN) or object (text, missing None), one value per row of the timeline."""
    made: dict[str, np.ndarray] = {}
    for feature in features:
        values = columns[feature.column]
        if feature.how == "lag":
            made[feature.name] = timeline.pick(values, -feature.steps[0])
        elif feature.how == "median":
            made[feature.name] = _median(timeline.pick(values, -n) for n in feature.steps)
        else:
            window, back = feature.steps
            whole = f"{feature.column}_mean{window}"
            mean = made[whole] if whole in made else timeline.mean(values, window)
            made[feature.name] = timeline.pick(mean, -back) if back else mean
    return made


def baselines(timeline: Timeline, values: np.ndarray, horizon: int, season: int | None) -> dict[str, np.ndarray]:
    """Naive forecasts of t + horizon by what was known at t: `persistence`, and with a season `seasonal-naive` and `seasonal-drift`.

    The drift is the change against the season before, per season, as its newest quarter had it (numbers only).
    """
    naive = {"persistence": timeline.last(values)}
    if season:
        slot = timeline.pick(values, -_slots(season, horizon, 1)[0])
        naive["seasonal-naive"] = slot
        if values.dtype != object:
            change = timeline.mean(values - timeline.pick(values, -season), max(1, season // 4))
            naive["seasonal-drift"] = slot + change * -(-horizon // season)
    return naive
