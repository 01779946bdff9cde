"""Readers of numbers, whole numbers, booleans and images: JSON numbers, or little-endian buffers of the input's datatype."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from serving.inference.columns import Reader, shown


class NumberReader(Reader):
    """A number; NaN in binary means missing where the column is nullable. Infinities are refused everywhere."""

    types = frozenset({int, float})
    expected = "a finite number"
    wire = np.dtype("<f8")

    def checked(self, array: np.ndarray) -> np.ndarray:
        """Finite, or NaN where missing is allowed."""
        with np.errstate(over="ignore", invalid="ignore"):
            total = array.sum()
        if not isfinite(total):  # one pass where all is well
            self.refuse_rows(np.isinf(array) if self.nullable else ~np.isfinite(array), array)
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
