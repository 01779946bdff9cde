"""Readers of text and times: JSON text, or BYTES with a 4-byte length before each element."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from serving.inference.columns import Reader, shown
from serving.inference.times import epoch_seconds
from training.signature import MISSING_TIME


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
                self.refuse(
                    f"row {len(texts)}: a length that runs past the binary data; expected 4 bytes of length, then the text"
                )
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
        return seconds
