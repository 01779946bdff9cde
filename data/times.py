"""Text to points in time: ISO 8601, and what spreadsheets and exports write. Never a silent guess between two readings."""

# pyarrow.compute makes its functions at run time, where a type checker cannot see them:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_ZONE = r"(:\d{2}|:\d{2}\.\d+|T\d{2})\s*(Z|z|UTC|[+-]\d{2}(:?\d{2})?)$"
_DAYS = (
    *(
        "%Y-%m-%d",
        "%Y/%m/%d",
        "%Y.%m.%d",
        "%d.%m.%Y",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%d/%m/%y",
        "%m/%d/%y",
        "%d.%m.%y",
    ),
    *(
        "%d %b %Y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%b %d, %Y",
        "%b %d %Y",
        "%d %B %Y",
        "%B %d, %Y",
        "%Y-%m",
        "%Y/%m",
        "%b %Y",
        "%B %Y",
        "%b-%Y",
    ),
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_SAMPLE = 200


class Unclear(ValueError):
    """The values have no one reading: naive and aware mixed, or day and month cannot be told apart."""


def parse_times(text: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Timestamps (us, UTC) of trimmed text; null where a value is null or in no known format. Naive times are UTC.

    Known: ISO 8601, YYYYMMDD, YYYY, seconds or milliseconds since 1970, and `_DAYS` with `_CLOCKS`. Unclear is raised where
    naive and aware times are mixed, and where day/month and month/day both fit and neither alone is in ascending order.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    utc = pa.timestamp("us", "UTC")
    aware = pc.match_substring_regex(text, _ZONE)
    if pc.any(aware).as_py():
        if not pc.all(aware).as_py():
            row, other = pc.index(aware, True).as_py(), pc.index(aware, False).as_py()
            shown = f"row {row + 1} ({text[row]}) has one, row {other + 1} ({text[other]}) has none"
            raise Unclear(f"mixes times with and without a time zone: {shown}")
        text = pc.replace_substring_regex(text, r"\s*(UTC|z)$", "Z")
        try:
            return pc.cast(text, utc)
        except pa.ArrowInvalid:
            return _each(text, lambda distinct: _pandas(distinct, "ISO8601"))
    try:
        return pc.cast(pc.cast(text, pa.timestamp("us")), utc)
    except pa.ArrowInvalid:
        pass
    if pc.all(pc.match_substring_regex(text, r"^-?\d+(\.0*)?$")).as_py():
        return _each(text, _digits)
    return _each(text, _formatted)


def _each(text: pa.ChunkedArray, reading) -> pa.Array:
    """`reading` of the distinct values, put back in place: a table has many rows per time."""
    import pyarrow.compute as pc

    encoded = pc.dictionary_encode(text).unify_dictionaries().combine_chunks()
    return pc.take(reading(encoded.dictionary), encoded.indices)


def _pandas(distinct: pa.Array, form: str) -> pa.Array:
    import pandas as pd
    import pyarrow as pa

    parsed = pd.to_datetime(distinct.to_pandas(), format=form, utc=True, errors="coerce")
    return pa.array(parsed, pa.timestamp("us", "UTC"), safe=False)


def _digits(distinct: pa.Array) -> pa.Array:
    """Digits only: years, YYYYMMDD, or seconds, milliseconds, microseconds or nanoseconds since 1970, told by their size."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values = pc.cast(pc.replace_substring_regex(distinct, r"\.0*$", ""), pa.int64())
    except pa.ArrowInvalid:  # more digits than an int64 holds
        return pa.nulls(len(distinct), pa.timestamp("us", "UTC"))
    low, high = pc.min(values).as_py(), pc.max(values).as_py()
    if low is None:
        return pa.nulls(len(distinct), pa.timestamp("us", "UTC"))
    if low >= 1500 and high <= 2500:
        return _pandas(pc.cast(values, pa.string()), "%Y")
    if low >= 15_000_101 and high <= 25_001_231:
        return _pandas(pc.cast(values, pa.string()), "%Y%m%d")
    for factor in (1_000_000, 1_000, 1, 1 / 1000):  # to microseconds: 1973..2286 in each unit
        if low * factor >= 100_000_000 * 1_000_000 and high * factor < 10_000_000_000 * 1_000_000:
            micros = np.asarray(values) * factor if factor >= 1 else np.asarray(values) // 1000
            return pc.cast(pa.array(micros.astype("int64")), pa.timestamp("us", "UTC"))
    return pa.nulls(len(distinct), pa.timestamp("us", "UTC"))


def _formatted(distinct: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    sample = [v.as_py() for v in distinct[:_SAMPLE] if v.is_valid]
    fitting = [
        form
        for form in (day + clock for day, clock in product(_DAYS, _CLOCKS))
        if sum(_fits(v, form) for v in sample) > len(sample) / 2
    ]
    readings: dict[str, pa.Array] = {}
    for form in [*fitting, "ISO8601"]:
        found = _pandas(distinct, form)
        if not any(found.equals(other) for other in readings.values()):
            readings[form] = found
    fewest = min(found.null_count for found in readings.values())
    best = {form: found for form, found in readings.items() if found.null_count == fewest} if fewest < len(distinct) else {}
    if not best:
        return pa.nulls(len(distinct), pa.timestamp("us", "UTC"))
    if len(best) > 1:
        rising = {form: found for form, found in best.items() if _rises(pc.cast(found, pa.int64()))}
        if len(rising) != 1:
            raise Unclear(
                f"may mean {' or '.join(best)} ({sample[0]!r}): write the times as ISO 8601, such as 2024-01-31T13:00:00Z"
            )
        best = rising
    return next(iter(best.values()))


def _fits(value: str, form: str) -> bool:
    try:
        datetime.strptime(value, form)
    except ValueError:
        return False
    return True


def _rises(values: pa.Array) -> bool:
    import numpy as np

    present = np.asarray(values.drop_null())
    return bool((np.diff(present) >= 0).all())
