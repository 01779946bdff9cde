"""One reader per input: what a client sent for a column becomes the tensor that the graph takes, or a refusal that says why.

Knows the signature's kinds (training/signature.py) and the encodings of the Open Inference Protocol v2: JSON values, raw little-endian
buffers, and BYTES with a 4-byte length before each element. It knows nothing of HTTP, gRPC or KServe.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from training.signature import MISSING_TIME, Input

SHOWN = 60  # characters of a client's value that an error repeats
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InvalidRequest(ValueError):
    """A request that the signature refuses: the message names the input and what was expected (HTTP 400, gRPC INVALID_ARGUMENT)."""


class Reader:
    """Reads one scalar column. Subclasses say which JSON types it takes and how a list of them becomes an array."""

    types: frozenset[type] = frozenset()  # of JSON values, without null
    expected = ""
    wire: Any = None  # numpy's dtype of the raw buffer

    def __init__(self, column: Input) -> None:
        self.name, self.datatype, self.tensor, self.nullable = column.name, column.datatype, column.tensor, column.nullable
        self.row_shape, self.row_size = column.shape, prod(column.shape)
        if column.nullable:
            self.types |= {type(None)}
            self.expected += " or null"

    def rows(self, shape: Any) -> int:
        """The row count that a v2 tensor's shape states; refused where it is not [N], [N, 1] or, for images, [N, H, W]."""
        if type(shape) is list and shape and all(type(size) is int for size in shape):
            rest = tuple(shape[1:])
            if shape[0] > 0 and (rest == self.row_shape or (rest == (1,) and not self.row_shape)):
                return shape[0]
        self.refuse(f"shape {shown(shape)}; expected {self._shapes()} with N of 1 or more")

    def column(self, values: Sequence[Any]) -> np.ndarray:
        """One JSON value per row, as the graph's tensor [N, ...]."""
        return self.values(values)

    def values(self, values: Sequence[Any]) -> np.ndarray:
        """Scalars in row-major order, as the graph's tensor [N, ...]."""
        if not self.types.issuperset(map(type, values)):
            index = next(i for i, value in enumerate(values) if type(value) not in self.types)
            self.refuse(f"row {index // self.row_size}: {described(values[index])}; expected {self.expected}")
        return self.convert(values)

    def data(self, data: Any, shape: list[int]) -> np.ndarray:
        """A v2 tensor's `data`, flat or nested as `shape`."""
        if type(data) is not list:
            self.refuse(f"data is {described(data)}; expected a list")
        flat = self._flat(data, shape) if data and type(data[0]) is list else data
        if len(flat) != prod(shape):
            self.refuse(f"{len(flat)} values; expected {prod(shape)} for shape {shown(shape)}")
        return self.values(flat)

    def buffer(self, raw: bytes | memoryview, shape: list[int]) -> np.ndarray:
        """A v2 tensor's raw content, which is little-endian and without gaps."""
        size = np.dtype(self.wire).itemsize * prod(shape)
        if len(raw) != size:
            self.refuse(f"{len(raw)} bytes of binary data; expected {size} for {self.datatype} of shape {shown(shape)}")
        array = np.frombuffer(raw, self.wire)
        return self.checked(array if array.flags.aligned else array.copy())

    def convert(self, values: Sequence[Any]) -> np.ndarray:
        """Values of the right types as a tensor."""
        return self.checked(np.array(values, self.wire))

    def checked(self, array: np.ndarray) -> np.ndarray:
        """The tensor, if each of its values may be."""
        return array

    def refuse_rows(self, wrong: np.ndarray, array: np.ndarray) -> None:
        """Refuse where any of `wrong` is true, naming the first; both arrays are flat."""
        if wrong.any():
            index = int(wrong.argmax())
            self.refuse(f"row {index // self.row_size}: {shown(array[index].item())}; expected {self.expected}")

    def refuse(self, why: str) -> Any:
        """Raise InvalidRequest for this input."""
        raise InvalidRequest(f"input {self.name!r}: {why}")

    def _shapes(self) -> str:
        return str(["N", *self.row_shape]).replace("'", "") if self.row_shape else "[N] or [N, 1]"

    def _flat(self, data: list[Any], shape: list[int]) -> list[Any]:
        level: list[Any] = [data]
        for size in shape:
            if any(type(part) is not list or len(part) != size for part in level):
                self.refuse(f"data is not nested as shape {shown(shape)} says")
            level = list(chain.from_iterable(level))
        return level


class NumberReader(Reader):
    """A number; NaN in binary means missing where the column is nullable. Infinities are refused everywhere."""

    types = frozenset({int, float})
    expected = "a finite number"
    wire = np.dtype("<f8")

    def checked(self, array: np.ndarray) -> np.ndarray:
        """Finite, or NaN where missing is allowed."""
        finite = np.isfinite(array)
        if not finite.all():
            self.refuse_rows(np.isinf(array) if self.nullable else ~finite, array)
        return array


class MissableIntegerReader(NumberReader):
    """A whole number that may be missing; it travels as FP64."""

    expected = "a whole number"

    def checked(self, array: np.ndarray) -> np.ndarray:
        """Whole or NaN."""
        super().checked(array)
        self.refuse_rows(np.floor(array) < array, array)  # false for NaN
        return array


class MissableBooleanReader(NumberReader):
    """True, false or missing; it travels as FP64 0, 1 or NaN. JSON's true and false are taken too."""

    types = frozenset({bool, int, float})
    expected = "true, false, 0 or 1"

    def checked(self, array: np.ndarray) -> np.ndarray:
        """0, 1 or NaN."""
        self.refuse_rows(~((array == 0) | (array == 1) | np.isnan(array)), array)
        return array


class IntegerReader(Reader):
    """A whole number of 64 bits."""

    types = frozenset({int})
    expected = "a whole number of 64 bits"
    wire = np.dtype("<i8")

    def convert(self, values: Sequence[Any]) -> np.ndarray:
        """Refuses what does not fit."""
        try:
            return np.array(values, self.wire)
        except OverflowError:
            row = next(i for i, value in enumerate(values) if not -(2**63) <= value < 2**63)
            return self.refuse(f"row {row}: {shown(values[row])}; expected {self.expected}")


class BooleanReader(Reader):
    """True or false."""

    types = frozenset({bool})
    expected = "true or false"
    wire = np.dtype("u1")

    def checked(self, array: np.ndarray) -> np.ndarray:
        """One byte each, 0 or 1."""
        self.refuse_rows(array > 1, array)
        return array.view(bool)


class TextReader(Reader):
    """Text as BYTES in UTF-8; null means missing where the column is nullable, which the graph knows as the empty text."""

    types = frozenset({str})
    expected = "text"

    def buffer(self, raw: bytes | memoryview, shape: list[int]) -> np.ndarray:
        """Each element with its length before it, in 4 bytes, little-endian."""
        return self.values(self._elements(bytes(raw), prod(shape)))

    def convert(self, values: Sequence[Any]) -> np.ndarray:
        """Missing as the empty text."""
        texts = np.empty(len(values), object)
        texts[:] = ["" if value is None else value for value in values] if self.nullable else values
        return texts

    def decoded(self, raw: bytes, row: int) -> str:
        """One element's bytes as text."""
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return self.refuse(f"row {row}: bytes that are not UTF-8; expected {self.expected}")

    def _elements(self, raw: bytes, count: int) -> list[str]:
        texts, at, end = [], 0, len(raw)
        while at < end and len(texts) < count:
            start = at + 4
            at = start + int.from_bytes(raw[at:start], "little")
            if start > end or at > end:
                self.refuse(f"row {len(texts)}: a length that runs past the binary data; expected 4 bytes of length, then the text")
            texts.append(self.decoded(raw[start:at], len(texts)))
        if len(texts) != count or at != end:
            self.refuse(f"binary data holds {'more' if at != end else len(texts)} elements; expected {count}")
        return texts


class TimeReader(TextReader):
    """A time in ISO 8601; one without a timezone is UTC. The graph takes whole seconds since 1970."""

    expected = "a time in ISO 8601, such as 2026-01-31T12:00:00Z"

    def convert(self, values: Sequence[Any]) -> np.ndarray:
        """Seconds since 1970 UTC, int64."""
        return np.array([self._seconds(value, row) for row, value in enumerate(values)], np.int64)

    def _seconds(self, value: str | None, row: int) -> int:
        if value is None or (value == "" and self.nullable):
            return MISSING_TIME
        if (seconds := epoch_seconds(value)) is None:
            self.refuse(f"row {row}: {shown(value)}; expected {self.expected}")
        return seconds  # pyright: ignore[reportReturnType]  (refuse raises)


class ImageReader(Reader):
    """A fixed shape of finite numbers per row, FP32."""

    types = frozenset({int, float})
    expected = "a finite number that fits FP32"
    wire = np.dtype("<f4")

    def column(self, values: Sequence[Any]) -> np.ndarray:
        """One nested list per row."""
        return self.values(self._flat(list(values), [len(values), *self.row_shape]))

    def convert(self, values: Sequence[Any]) -> np.ndarray:
        """What FP32 cannot hold becomes infinite here, and is refused below."""
        with np.errstate(over="ignore"):
            return super().convert(values)

    def checked(self, array: np.ndarray) -> np.ndarray:
        """Finite after the conversion to FP32, and shaped as rows."""
        self.refuse_rows(~np.isfinite(array), array)
        return array.reshape(-1, *self.row_shape)


def epoch_seconds(text: str) -> int | None:
    """Whole seconds since 1970 UTC of an ISO 8601 time, rounded down; None where it is none."""
    try:
        moment = datetime.fromisoformat(text)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH
    except (ValueError, OverflowError):
        return None
    return since.days * 86_400 + since.seconds


def reader(column: Input) -> Reader:
    """The reader for a column's kind."""
    if column.nullable and column.kind in ("integer", "boolean"):
        return MissableIntegerReader(column) if column.kind == "integer" else MissableBooleanReader(column)
    kinds = {"number": NumberReader, "integer": IntegerReader, "boolean": BooleanReader, "category": TextReader, "time": TimeReader}
    return kinds.get(column.kind, ImageReader)(column)


def shown(value: Any) -> str:
    """A client's value as an error repeats it: short."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def described(value: Any) -> str:
    """A JSON value's type in JSON's words, with the value where it is short."""
    if value is None:
        return "null"
    kind = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}.get(type(value), "a value")
    return kind if isinstance(value, list | dict) else f"{kind} ({shown(value)})"
