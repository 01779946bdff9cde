"""Is the truth that arrives still measured? A stuck, shifted or creeping sensor must not be learnt from.

Three rules on one series laid on a regular grid (missing: NaN), each with limits that the series' own trusted history kept by a
margin. The level is judged by the change against the same slot one season before, so that season and steady growth are healthy:

- stuck: a run of equal values, longer than any run of history by half, and by two;
- jump: the median change of `w` values differs from that of the `w` before it by more than twice the most that history shows;
- drift: the median change of `w` values, a season or more, lies further from the middle of history's range than 2.5 times the range's
  half width: against the season before, the slope is not history's.

Knows no label, no model and no clock; indices are places in `recent`. What it cannot calibrate (too short a history) it does not judge,
and says so in `Usual.said`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

_JUMP = 2.0  # times the most that history shows
_DRIFT = 2.5  # half widths of history's range, from its middle: Sandy's week in bikes and co2's growth since 1985 stay inside
_LEAST_RUN = 4
_LEAST_WINDOWS = 10  # that history must hold before a width is judged
_LEAST_SEASONS = 13  # and before any is: with eight weeks of winter behind it, a rainy Saturday in April looked like a broken counter of bikes
_NO_SEASON = 12  # steps to compare with, where no season is known
_WIDTHS = (4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """`since` is the first suspicious place in `recent`; `size` in the values' unit (stuck: the run's length), beside its `limit`."""

    kind: Literal["stuck", "jump", "drift"]
    since: int
    size: float
    limit: float
    said: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Level:
    """Limits of the change against the season before, of medians over `width` values."""

    width: int
    jump: float | None  # at most this from one window to the next
    low: float | None  # drift: no lower and no higher than this
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What a healthy series does. `false_alarms`: the rate per window at which another stable series of the kind would pass history's own
    extremes by rank, before the margin is added: an upper bound."""

    season: int
    run: int | None  # the longest run of equal values that is believed
    levels: tuple[Level, ...]
    n: int
    false_alarms: float
    said: str


def learn(history: Sequence[float] | np.ndarray, *, season: int | None = None, numeric: bool = True) -> Usual:
    """The limits that trusted history kept. `season` in steps; `numeric=False`: labels as numbers, for which only runs mean something."""
    import numpy as np

    history = np.asarray(history, dtype=float)
    known = int(np.isfinite(history).sum())
    lag = season or _NO_SEASON
    longest = max((length for _, length in _runs(history)), default=0)
    run = max(_LEAST_RUN, longest + 2, math.ceil(1.5 * longest)) if known >= 10 * max(longest, 1) else None
    change = _change(history, lag)
    levels = []
    for width in _widths(lag) if numeric else ():
        if np.isfinite(change).sum() < max(_LEAST_WINDOWS * width, _LEAST_SEASONS * lag):
            continue
        middle, step = _medians(change, width)
        levels.append(_level(width, middle, step, jumps=width <= max(lag // 2, 4), drifts=width >= lag))
    windows = float(np.isfinite(change).sum()) / max((level.width for level in levels), default=1)
    judged = [*(["stuck"] if run else []), *(["jump", "drift"] if levels else [])]
    said = f"{known} values judge {', '.join(judged) or 'nothing: too few'}; widths {[level.width for level in levels]}, margins {_JUMP:g} and {_DRIFT:g}"
    return Usual(
        season=lag,
        run=run,
        levels=tuple(levels),
        n=known,
        false_alarms=min(1.0, 1 / (windows + 1)) if levels else 0.0,
        said=said,
    )


def suspect(
    history: Sequence[float] | np.ndarray,
    recent: Sequence[float] | np.ndarray,
    *,
    season: int | None = None,
    numeric: bool = True,
    usual: Usual | None = None,
) -> list[Suspicion]:
    """What is wrong with `recent`, which follows `history` on the same grid; at most one suspicion of each kind, the earliest.

    `usual` (of `learn`) spares learning it again. Values before `recent` are context and never suspected. A drift that begins with a
    jump is the jump.
    """
    import numpy as np

    usual = usual or learn(history, season=season, numeric=numeric)
    history, recent = np.asarray(history, dtype=float), np.asarray(recent, dtype=float)
    reach = usual.season + 2 * max((level.width for level in usual.levels), default=0) + (usual.run or 0)
    before = history[max(0, len(history) - reach) :] if reach else history[:0]
    joined, first = np.concatenate([before, recent]), len(before)
    found = [_stuck(joined, first, usual), *_moved(joined, first, usual)]
    return sorted((one for one in found if one), key=lambda one: one.since)


def on_grid(seconds: np.ndarray, values: np.ndarray, step_seconds: int) -> np.ndarray:
    """Values at times (any order, unix seconds) on a regular grid from the first to the last; the newest of a step wins, gaps are NaN."""
    import numpy as np

    if not len(seconds):
        return np.zeros(0)
    order = np.argsort(seconds, kind="stable")
    place = np.rint((seconds[order] - seconds.min()) / step_seconds).astype(np.int64)
    grid = np.full(int(place[-1]) + 1, np.nan)
    grid[place] = np.asarray(values, dtype=float)[order]
    return grid


def _stuck(joined: np.ndarray, first: int, usual: Usual) -> Suspicion | None:
    if usual.run is None:
        return None
    for start, length in _runs(joined):
        if length > usual.run and start + length > first:
            since = max(start - first, 0)
            said = f"{length} equal values in a row ({joined[start]:.6g}); the longest that is believed is {usual.run}"
            return Suspicion(kind="stuck", since=since, size=length, limit=usual.run, said=said)
    return None


def _moved(joined: np.ndarray, first: int, usual: Usual) -> list[Suspicion]:
    """The earliest jump and the earliest drift, over all widths."""
    import numpy as np

    change = _change(joined, usual.season)
    jumps, drifts = [], []
    for level in usual.levels:
        middle, step = _medians(change, level.width)
        ends = np.arange(len(joined))
        if level.jump is not None:
            far = np.flatnonzero((np.abs(step) > level.jump) & (ends - level.width + 1 >= first))
            if len(far):
                most = far[np.abs(step[far[far < far[0] + level.width]]).argmax()]
                since = int(most) - level.width + 1 - first
                said = f"the level jumped by {step[most]:+.4g} and stayed for {level.width} values; stable history: at most {level.jump / _JUMP:.4g}"
                jumps.append(
                    (int(far[0]), Suspicion(kind="jump", since=since, size=float(step[most]), limit=level.jump, said=said))
                )
        if level.low is not None and level.high is not None:
            out = np.flatnonzero(((middle < level.low) | (middle > level.high)) & (ends >= first))
            if len(out):
                since = max(int(out[0]) - level.width + 1 - first, 0)
                value = float(middle[out[0]])
                said = f"the change against {usual.season} steps before is {value:.4g} over {level.width} values; believed: {level.low:.4g} to {level.high:.4g}"
                limit = level.high if value > level.high else level.low
                drifts.append((int(out[0]), Suspicion(kind="drift", since=since, size=value, limit=limit, said=said)))
    jump, drift = (min(found, key=lambda one: one[0])[1] if found else None for found in (jumps, drifts))
    if jump and drift and drift.since <= jump.since + 2 * usual.season and jump.since <= drift.since + usual.season:
        drift = None  # the season-on-season change shows the jump once more
    return [one for one in (jump, drift) if one]


def _runs(values: np.ndarray) -> list[tuple[int, int]]:
    """(start, length) of each run of equal values; missing ones neither break a run nor lengthen it."""
    import numpy as np

    places = np.flatnonzero(np.isfinite(values))
    if not len(places):
        return []
    known = values[places]
    begins = np.concatenate([[0], np.flatnonzero(np.diff(known) != 0) + 1])
    lengths = np.diff(np.concatenate([begins, [len(known)]]))
    return [(int(places[b]), int(n)) for b, n in zip(begins, lengths, strict=True)]


def _change(values: np.ndarray, lag: int) -> np.ndarray:
    """Each value less the one a season before; NaN where either is missing."""
    import numpy as np

    change = np.full(len(values), np.nan)
    change[lag:] = values[lag:] - values[: max(len(values) - lag, 0)]
    return change


def _medians(change: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The median of the `width` values up to each place (at least half of them known), and how it differs from the `width` before."""
    import numpy as np
    import pandas as pd

    middle = pd.Series(change).rolling(width, min_periods=max(2, width // 2)).median().to_numpy()
    step = np.full(len(change), np.nan)
    step[width:] = middle[width:] - middle[:-width] if len(middle) > width else step[width:]
    return middle, step


def _widths(lag: int) -> list[int]:
    """Short widths find large jumps at once, longer ones smaller jumps later; from a season on the slope is judged."""
    return sorted({w for w in _WIDTHS if w <= max(lag // 2, 4)} | {lag, 2 * lag})


def _level(width: int, middle: np.ndarray, step: np.ndarray, *, jumps: bool, drifts: bool) -> Level:
    import numpy as np

    low, high = float(np.nanmin(middle)), float(np.nanmax(middle))
    half = (high - low) / 2
    most = float(np.nanmax(np.abs(step))) if np.isfinite(step).any() else 0.0
    return Level(
        width=width,
        jump=_JUMP * most if jumps and most > 0 else None,
        low=low - (_DRIFT - 1) * half if drifts and half > 0 else None,
        high=high + (_DRIFT - 1) * half if drifts and half > 0 else None,
    )
