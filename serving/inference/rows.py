"""The short way for one row, which is most traffic: its values flat, in input order, or None where the careful way must look.

It takes only what needs no thought and refuses nothing: requests.py reads again whatever it leaves, and answers or explains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import nan
from operator import itemgetter
from typing import Any

from serving.inference.columns import Reader
from serving.inference.numbers import (
    BooleanReader,
    ImageReader,
    IntegerReader,
    MissableBooleanReader,
    MissableIntegerReader,
    NumberReader,
)
from serving.inference.texts import TextReader, TimeReader
from serving.inference.times import epoch_seconds
from training.signature import MISSING_TIME

NUMBERS = frozenset({int, float})
SHAPES = ([1], [1, 1])
UNSET = object()
LARGEST_FP32 = 3.4028234e38


class CarefulWay(Exception):
    """This value is not for the short way."""


class RowReader:
    """Built from a model's readers. A model with images has no short way in v1, whose images are nested."""

    def __init__(self, readers: list[Reader]) -> None:
        cells = [_cell(r) for r in readers]
        self.scalar = not any(r.row_shape for r in readers)
        self.count = len(readers)
        self.plain = all(cell is _number for cell in cells)
        self.cells = cells
        starts = [0, *accumulate(r.row_size for r in readers)]
        self.size = starts[-1]
        self.known = {
            r.name: (at, r.row_size, r.datatype, ([1, *r.row_shape],) if r.row_shape else SHAPES, cell)
            for at, r, cell in zip(starts[:-1], readers, cells, strict=True)
        }
        names = [r.name for r in readers]
        self.pick: Callable[[Any], tuple[Any, ...]] = (
            itemgetter(*names) if len(names) > 1 else lambda instance: (instance[names[0]],)
        )

    def instance(self, instance: Any) -> Sequence[Any] | None:
        """A v1 object's values."""
        if not self.scalar or type(instance) is not dict or len(instance) != self.count:
            return None
        try:
            values = self.pick(instance)
            if self.plain:
                return values if NUMBERS.issuperset(map(type, values)) else None
            return [cell(value) for cell, value in zip(self.cells, values, strict=True)]
        except (KeyError, CarefulWay):
            return None

    def tensors(self, inputs: list[Any]) -> Sequence[Any] | None:
        """The values of v2 tensors in JSON."""
        if len(inputs) != self.count:
            return None
        row: list[Any] = [UNSET] * self.size
        known = self.known
        try:
            for tensor in inputs:
                at, size, expected, shapes, cell = known[tensor["name"]]
                data, shape = tensor["data"], tensor["shape"]
                if (
                    tensor["datatype"] != expected
                    or shape not in shapes
                    or type(data) is not list
                    or len(data) != size
                    or len(tensor) != 4
                ):
                    return None
                if type(shape[0]) is not int or type(shape[-1]) is not int:  # true equals 1
                    return None
                if cell is _vector:
                    row[at : at + size] = _vector(data)
                else:
                    value = data[0]
                    row[at] = value if type(value) is float and cell is _number else cell(value)
        except (KeyError, TypeError, CarefulWay):
            return None
        return None if UNSET in row else row


def _vector(data: list[Any]) -> list[Any]:
    if NUMBERS.issuperset(map(type, data)) and min(data) >= -LARGEST_FP32 and max(data) <= LARGEST_FP32:
        return data
    raise CarefulWay


def _number(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return value
    raise CarefulWay


def _number_or_null(value: Any) -> float:
    return nan if value is None else _number(value)


def _integer(value: Any) -> int:
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    raise CarefulWay


def _integer_or_null(value: Any) -> float:
    if type(value) is int:
        return value
    if value is None:
        return nan
    if type(value) is float and value.is_integer():
        return value
    raise CarefulWay


def _boolean_or_null(value: Any) -> float:
    if value is None:
        return nan
    if type(value) in (bool, int, float) and value in (0, 1):
        return value
    raise CarefulWay


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise CarefulWay


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    raise CarefulWay


def _text_or_null(value: Any) -> str:
    return "" if value is None else _text(value)


def _time(value: Any) -> int:
    if type(value) is str and (seconds := epoch_seconds(value)) is not None:
        return seconds
    raise CarefulWay


def _time_or_null(value: Any) -> int:
    return MISSING_TIME if value is None else _time(value)


_CELLS = {
    (NumberReader, False): _number,
    (NumberReader, True): _number_or_null,
    (IntegerReader, False): _integer,
    (MissableIntegerReader, True): _integer_or_null,
    (BooleanReader, False): _boolean,
    (MissableBooleanReader, True): _boolean_or_null,
    (TextReader, False): _text,
    (TextReader, True): _text_or_null,
    (TimeReader, False): _time,
    (TimeReader, True): _time_or_null,
    (ImageReader, False): _vector,
}


def _cell(found: Reader) -> Callable[[Any], Any]:
    """One value's reader: gives what the graph takes or raises CarefulWay."""
    return _CELLS[type(found), found.nullable]
