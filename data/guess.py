"""What a column of an unknown file is, and how its rows follow each other in time. Guesses for a person to look over.

It knows columns and times, one at a time; `data/infer.py` makes a workload of them.
"""

# pyarrow.compute makes its functions at run time, where a type checker cannot see them:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.kinds import MISSING, Misfit, booleans, decoded, integers, numbers, texts, times, unmissing
from data.schema import Kind

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_SAMPLE = 2_000
_TRUTHS = {"true", "false"}  # yes/no and 0/1 stay what they are: a request then carries the word that the file has
_PADDED = r"^[+-]?0\d"  # 007 is a name, not a number
_ID_NAME = re.compile(
    r"(?:^|[\W_])(?:id|uuid|guid|key|index|idx|nr|no|rowid|row|number)$|^unnamed|(?<=[a-z])I[Dd]$", re.IGNORECASE
)
_DAY, _MONTH = 86_400, 2_629_746  # the mean month of the Gregorian calendar, in seconds
# Calendar steps that are not of one length: days between two rows -> the mean length in seconds.
_CALENDAR = (((28, 31), _MONTH), ((89, 92), 3 * _MONTH), ((180, 185), 6 * _MONTH), ((365, 366), 12 * _MONTH))
_ON_GRID = 0.1  # of a step


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One column as it looks: its kind and values (as `data/kinds.py` converts them), and what speaks against showing it to a model."""

    name: str
    kind: Kind
    values: Any  # numpy, or pandas for times
    rows: int
    missing: int
    distinct: int  # values, missing ones aside
    infinite: int = 0
    unfit: str = ""  # why a model should not see it: an id, free text, a constant

    @property
    def numeric(self) -> bool:
        return self.kind in ("number", "integer")


def guess(name: str, values: pa.ChunkedArray) -> Guess:
    """The column's kind by its values: the narrowest that all of them have. ValueError for nested or binary columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = decoded(values)
    kind, converted, infinite = _kind(name, values)
    missing = int(_missing(converted).sum())
    text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    distinct = pc.count_distinct(pc.utf8_trim_whitespace(values) if text else values, mode="only_valid").as_py()
    if kind != "category" and text:
        distinct = _distinct(converted)
    found = Guess(
        name=name, kind=kind, values=converted, rows=len(values), missing=missing, distinct=distinct, infinite=infinite
    )
    return Guess(**{**found.__dict__, "unfit": _unfit(found)})


def _kind(name: str, values: pa.ChunkedArray) -> tuple[Kind, Any, int]:
    """The kind, the converted values, and how many were infinite."""
    import numpy as np
    import pyarrow as pa

    kind = values.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise ValueError(f"column {name!r} holds {kind}")
    if pa.types.is_boolean(kind):
        return "boolean", booleans(values), 0
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "time", times(values), 0
    if pa.types.is_integer(kind):
        return "integer", integers(values), 0
    if pa.types.is_floating(kind):
        return "number", numbers(values), int(np.isinf(values.to_numpy(zero_copy_only=False)).sum())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _kind_of_text(values)
    return "category", texts(values), 0


def _kind_of_text(values: pa.ChunkedArray) -> tuple[Kind, Any, int]:
    """A sample says what to try; all values decide."""
    import pyarrow.compute as pc

    sample = unmissing(values.slice(0, _SAMPLE)).drop_null()
    if not len(sample):
        sample = unmissing(values).drop_null().slice(0, _SAMPLE)
    seen = {v.lower() for v in sample.to_pylist()}
    if seen and seen <= _TRUTHS:
        attempts: tuple[tuple[Kind, Any], ...] = (("boolean", booleans),)
    elif seen and _as(numbers, sample) is not None:
        padded = pc.any(pc.match_substring_regex(values, _PADDED)).as_py()
        attempts = () if padded else (("integer", integers), ("number", numbers))
    else:
        dated = seen and all(re.search(r"\d.*[-/.:\s]|[-/.:\s].*\d", v) for v in seen) and _as(times, sample) is not None
        attempts = (("time", times),) if dated else ()
    for kind, reading in attempts:
        if (converted := _as(reading, values)) is not None:
            return kind, converted, _infinities(values) if kind == "number" else 0
    return "category", texts(values), 0


def _as(reading: Any, values: Any) -> Any:
    import pyarrow as pa

    try:
        return reading(values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values]))
    except Misfit:
        return None


def _infinities(values: pa.ChunkedArray) -> int:
    import pyarrow.compute as pc

    return pc.sum(pc.match_substring_regex(values, r"(?i)^\s*[+-]?inf(inity)?\s*$")).as_py() or 0


def _missing(converted: Any) -> np.ndarray:
    import numpy as np
    import pandas as pd

    return np.asarray(pd.isna(converted))


def _distinct(converted: Any) -> int:
    import pandas as pd

    return int(pd.Series(converted).nunique())


def _unfit(column: Guess) -> str:
    """Why a model should not be shown it, or nothing."""
    present = column.rows - column.missing
    if present == 0:
        return "it has no values"
    if column.distinct == 1 and column.missing == 0:
        return "it is constant"
    unique = column.distinct == present and present >= 20
    if column.kind == "integer" and unique and (_ID_NAME.search(column.name) or _counts_rows(column)):
        return "it is an id (every row has another)"
    if column.kind == "category" and present >= 20:
        return _unfit_text(column, present, unique)
    return ""


def _counts_rows(column: Guess) -> bool:
    """Numbers that only count: unique, nearly without gaps, and no calendar years."""
    import numpy as np

    low, high = float(np.nanmin(column.values)), float(np.nanmax(column.values))
    years = low >= 1500 and high <= 2500
    return high - low + 1 <= 1.05 * (column.rows - column.missing) and not years


def _unfit_text(column: Guess, present: int, unique: bool) -> str:
    sample = [v for v in column.values[:_SAMPLE] if v is not None]
    words = sum(v.count(" ") for v in sample) / max(len(sample), 1)
    digits = sum(_number(v) for v in sample) / max(len(sample), 1)
    many = column.distinct > max(0.5 * present, 10)
    if words >= 3 and column.distinct > 50:
        return "it is free text"
    if many and 0.02 < digits < 1:
        odd = next((v for v in sample if not _number(v)), "")
        return f"it mixes numbers with text such as {odd!r}" if odd.lower() not in MISSING else "it mixes numbers with text"
    if unique or (many and column.distinct > 100):
        return "it is an id (every row has another)" if unique else "nearly every row has another value"
    return ""


def _number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """How rows follow each other: the step in seconds (None where there is no regular one), the season and length in steps."""

    step_seconds: int | None
    season: int | None
    length: int  # of the middle series


def rhythm(time: np.ndarray, entity: np.ndarray) -> Rhythm:
    """The regular step of series whose rows are at `time` (int64 microseconds) and belong to `entity` (codes); both in any order.

    The step is the median distance; it is regular where 95 % of the distances are near whole multiples of it, months,
    quarters and years included (their step is the mean length).
    """
    import numpy as np

    order = np.lexsort((time, entity))
    time, entity = time[order] // 1_000_000, entity[order]
    gaps = np.diff(time)[np.diff(entity) == 0]
    gaps = gaps[gaps > 0]
    if len(gaps) < 2:
        return Rhythm(step_seconds=None, season=None, length=len(time))
    step = int(np.median(gaps))
    days = step / _DAY
    step = next((mean for (low, high), mean in _CALENDAR if low <= days <= high), step)
    if step < 1:
        return Rhythm(step_seconds=None, season=None, length=len(time))
    near = np.abs(gaps / step - np.maximum(np.rint(gaps / step), 1)) <= _ON_GRID
    length = int(np.median(np.bincount(entity)))
    if near.mean() < 0.95:
        return Rhythm(step_seconds=None, season=None, length=length)
    return Rhythm(step_seconds=step, season=season(step), length=length)


def season(step_seconds: int) -> int | None:
    """The steps after which a series of that step tends to repeat: a day, a week, a year; None for years."""
    week = 7 * _DAY
    if step_seconds < 3_600:
        return _DAY // step_seconds if _DAY % step_seconds == 0 else None
    if step_seconds < week:
        return week // step_seconds if week % step_seconds == 0 else None
    return {week: 52, 2 * week: 26, _MONTH: 12, 3 * _MONTH: 4, 6 * _MONTH: 2}.get(step_seconds)


def duration(step_seconds: int) -> str:
    """Seconds as a YAML duration: `30min`, `1h`, `7d`."""
    for unit, size in (("d", _DAY), ("h", 3_600), ("min", 60)):
        if step_seconds % size == 0:
            return f"{step_seconds // size}{unit}"
    return f"{step_seconds}s"
