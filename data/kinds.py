"""Cells to values of a declared kind. It knows one column at a time, and nothing of tables, roles or sections.

What comes out (numpy or pandas, missing as stated), as `data/prepare.py` and everything after it has it:

| kind | no value missing | some missing |
|---|---|---|
| number | float64 | NaN (also for infinities) |
| integer | int64 | float64, NaN |
| boolean | bool | float64 (0, 1), NaN |
| category | object (str) | None (also for empty text) |
| time | datetime64[us, UTC] | NaT |
| image | object (float32 arrays of the flattened shape) | refused |
"""

# pyarrow.compute makes its functions at run time, where a type checker cannot see them:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from data.schema import Column
from data.times import Unclear, parse_times

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# How people write "there is no value" in a column that is not text. Compared in lower case, without spaces around.
MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "?", "<na>", "nat", "missing")
_TRUE = ("true", "t", "yes", "y", "1", "1.0", "on")
_FALSE = ("false", "f", "no", "n", "0", "0.0", "off")
_EXACT = 2**53  # beyond it a float64 skips integers


class Misfit(ValueError):
    """Values that are not of the kind: how many of how many, and the first of them as (row counted from 1, text)."""

    def __init__(self, what: str, *, bad: int = 0, of: int = 0, examples: list[tuple[int, str]] | None = None) -> None:
        self.bad, self.of, self.examples = bad, of, examples or []
        shown = ", ".join(f"row {row}: {text!r}" for row, text in self.examples)
        super().__init__(f"{what}: {shown}" if shown else what)


def convert(values: pa.ChunkedArray, column: Column) -> Any:
    """The column's values as in the table above; Misfit where some are not of its kind. Missing ones are never refused here."""
    readers = {"number": numbers, "integer": integers, "boolean": booleans, "category": texts, "time": times}
    return images(values, column) if column.kind == "image" else readers[column.kind](values)


def numbers(values: pa.ChunkedArray) -> np.ndarray:
    """float64; text such as `1.5`, `1e3` or, where it cannot be a thousands' comma, `1,5`."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    values = decoded(values)
    try:
        cast = pc.cast(values, pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        cast = None if not _is_text(values.type) else _numbers_of_text(values)
    if cast is None:
        raise Misfit(f"holds {values.type}, not numbers", bad=len(values), of=len(values))
    found = cast.to_numpy(zero_copy_only=False) + 0.0  # no negative zero: equal tables have equal bytes
    if not np.isfinite(found).all():
        found = np.where(np.isfinite(found), found, np.nan)
    return found


def _float(text: str) -> float | None:
    """The number that a text writes, None for any other. (pandas' own parser, `to_numeric`, crashed the process once at 2.3.3.)"""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _numbers_of_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    text = unmissing(values)
    try:
        return pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        pass
    encoded = pc.dictionary_encode(text).unify_dictionaries().combine_chunks()
    distinct = encoded.dictionary
    commas = pc.all(pc.match_substring_regex(distinct, r"^[+-]?\d*(,\d+)?$")).as_py()
    if commas and not pc.all(pc.match_substring_regex(distinct, r"^[+-]?([1-9]\d{0,2},\d{3}|\d+)$")).as_py():
        return pc.cast(pc.replace_substring(text, ",", "."), pa.float64())
    parsed = pa.array([_float(one) for one in distinct.to_pylist()], pa.float64(), from_pandas=True)
    found = pc.take(parsed, encoded.indices)
    refuse(text, pc.and_(pc.is_null(found), pc.is_valid(encoded)), "holds values that are no number")
    return found


def integers(values: pa.ChunkedArray) -> np.ndarray:
    """int64, or float64 where some are missing; `5.0` is an integer, `5.5` is not."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    values = decoded(values)
    if not pa.types.is_floating(values.type):
        try:
            cast = pc.cast(values, pa.int64())
            if not cast.null_count:
                return cast.to_numpy(zero_copy_only=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    found = numbers(values)
    present = np.isfinite(found)
    with np.errstate(invalid="ignore"):
        wrong = present & ((found != np.round(found)) | (np.abs(found) > _EXACT))
    refuse(values, wrong, "holds numbers that are no integers below 2^53")
    return found.astype(np.int64) if present.all() else found


def booleans(values: pa.ChunkedArray) -> np.ndarray:
    """bool, or float64 (0, 1, NaN) where some are missing; true/false, t/f, yes/no, y/n, on/off, 1/0 in any case."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    values = decoded(values)
    if pa.types.is_boolean(values.type):
        found = values
    else:
        text = unmissing(values if _is_text(values.type) else pc.cast(values, pa.string()))
        encoded = pc.dictionary_encode(pc.utf8_lower(text)).unify_dictionaries().combine_chunks()
        true = pc.is_in(encoded.dictionary, value_set=pa.array(_TRUE))
        known = pc.or_(true, pc.is_in(encoded.dictionary, value_set=pa.array(_FALSE)))
        found = pc.take(pc.if_else(known, true, pa.scalar(None, pa.bool_())), encoded.indices)
        refuse(text, pc.and_(pc.is_null(found), pc.is_valid(encoded)), "holds values that are neither true nor false")
    if not found.null_count:
        return found.to_numpy(zero_copy_only=False)
    return pc.cast(found, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)


def texts(values: pa.ChunkedArray) -> np.ndarray:
    """Text without spaces around; numbers as they are written (`5`, not `5.0`, where all are whole)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = decoded(values)
    if pa.types.is_floating(values.type) and pc.all(pc.equal(values, pc.floor(values))).as_py():
        values = pc.cast(values, pa.int64())
    if not _is_text(values.type):
        if pa.types.is_nested(values.type):
            raise Misfit(f"holds {values.type}, not text", bad=len(values), of=len(values))
        values = pc.cast(values, pa.string())
    text = pc.utf8_trim_whitespace(values)
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, text.type), text)
    return text.to_pandas().to_numpy(dtype=object, na_value=None)


def times(values: pa.ChunkedArray) -> Any:
    """A pandas array, datetime64[us, UTC]; text as `data/times.py` reads it. Naive times are UTC; a mix with aware ones is refused."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    values = decoded(values)
    utc = pa.timestamp("us", "UTC")
    if pa.types.is_timestamp(values.type):
        found = pc.cast(values, utc, safe=False)
    elif pa.types.is_date(values.type):
        found = pc.cast(pc.cast(values, pa.timestamp("us")), utc)
    else:
        if pa.types.is_floating(values.type) and pc.all(pc.equal(values, pc.floor(values))).as_py():
            values = pc.cast(values, pa.int64())
        text = unmissing(values if _is_text(values.type) else pc.cast(values, pa.string()))
        try:
            found = parse_times(text)
        except Unclear as error:
            raise Misfit(str(error), bad=len(text), of=len(text)) from error
        refuse(text, pc.and_(pc.is_null(found), pc.is_valid(text)), "holds values that are no time")
    kind: Any = "datetime64[us, UTC]"
    return pd.array(found.to_pandas(), dtype=kind)


def images(values: pa.ChunkedArray, column: Column) -> np.ndarray:
    """One flat float32 array per row, of as many numbers as the shape has."""
    import math

    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    size = math.prod(column.shape)
    if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)):
        raise Misfit(f"holds {values.type}, not lists of {size} numbers", bad=len(values), of=len(values))
    lengths = pc.fill_null(pc.list_value_length(values), 0)
    wrong = pc.not_equal(lengths, size)
    if pc.any(wrong).as_py():
        row = pc.index(wrong, True).as_py()
        raise Misfit(f"row {row + 1} holds {lengths[row]} numbers, not {size}", bad=pc.sum(wrong).as_py(), of=len(values))
    flat = pc.list_flatten(values).to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, size)
    found = np.empty(len(flat), dtype=object)
    found[:] = list(flat)
    return found


def unmissing(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The text without spaces around it, and null where it says that there is no value (MISSING)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.is_in(pc.utf8_lower(text), value_set=pa.array(MISSING, text.type)), pa.scalar(None, text.type), text)


def refuse(values: pa.ChunkedArray, wrong: Any, what: str) -> None:
    """Misfit with the first three wrong rows, if there are any (`wrong`: a boolean array)."""
    import numpy as np

    rows = np.flatnonzero(np.asarray(wrong))
    if len(rows):
        examples = [(int(row) + 1, str(values[int(row)].as_py())) for row in rows[:3]]
        raise Misfit(what, bad=len(rows), of=len(values), examples=examples)


def decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dictionary-encoded values as plain ones, decimals as float64, views as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    if pa.types.is_decimal(values.type):
        values = pc.cast(values, pa.float64())
    if pa.types.is_null(values.type) or pa.types.is_string_view(values.type):
        values = pc.cast(values, pa.string())
    return values


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
