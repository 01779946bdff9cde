"""What every column's reader shares: a client's values become the tensor that the graph takes, or a refusal that says why.

The kinds are in numbers.py and texts.py. Knows the encodings of the Open Inference Protocol v2, nothing of HTTP, gRPC or KServe.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any, NoReturn

import numpy as np

from training.signature import Input

SHOWN = 60  # characters of a client's value that an error repeats


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
        if (
            type(shape) is not list
            or not shape
            or any(type(size) is not int for size in shape)
            or shape[0] < 1
            or not self._fits(tuple(shape[1:]))
        ):
            self.refuse(f"shape {shown(shape)}; expected {self._shapes()} with N of 1 or more")
        return shape[0]

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

    def refuse(self, why: str) -> NoReturn:
        """Raise InvalidRequest for this input."""
        raise InvalidRequest(f"input {self.name!r}: {why}")

    def _fits(self, rest: tuple[int, ...]) -> bool:
        return rest == self.row_shape or (rest == (1,) and not self.row_shape)

    def _shapes(self) -> str:
        return str(["N", *self.row_shape]).replace("'", "") if self.row_shape else "[N] or [N, 1]"

    def _flat(self, data: list[Any], shape: list[int]) -> list[Any]:
        level: list[Any] = [data]
        for size in shape:
            if any(type(part) is not list or len(part) != size for part in level):
                self.refuse(f"data is not nested as shape {shown(shape)} says")
            level = list(chain.from_iterable(level))
        return level


def shown(value: Any) -> str:
    """A client's value as an error repeats it: short."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def described(value: Any) -> str:
    """A JSON value's type in JSON's words, with the value where it is short."""
    if value is None:
        return "null"
    kind = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}.get(
        type(value), "a value"
    )
    return kind if isinstance(value, list | dict) else f"{kind} ({shown(value)})"
