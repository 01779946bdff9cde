"""Rows of a feature table as requests: what a client would send for them. Used by the gate's replay, the input example and the curl."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from training.signature import Input, Signature

if TYPE_CHECKING:
    import pandas as pd


def instances(table: pd.DataFrame, signature: Signature, *, only: tuple[str, ...] | None = None) -> Iterator[dict[str, Any]]:
    """Each row as a v1 instance: a JSON object by column name; missing is None, times are ISO 8601 in UTC, images nested lists.

    `only` restricts it to some inputs, such as those that a request brings itself when the online store completes the rest.
    """
    wanted = [column for column in signature.inputs if only is None or column.name in only]
    for row in table[[column.name for column in wanted]].itertuples(index=False, name=None):
        yield {column.name: _value(value, column) for column, value in zip(wanted, row, strict=True)}


def _value(value: Any, column: Input) -> Any:
    kind = column.kind
    if kind == "image":
        return _nested([float(v) for v in value], column.shape)
    if value is None or bool(value != value):
        return None
    if kind == "time":
        return value.isoformat().replace("+00:00", "Z")
    if kind == "category":
        return str(value) or None
    if kind == "boolean":
        return bool(value)
    if kind == "integer" and not column.nullable:  # a nullable one travels as a double, so that NaN can say missing
        return int(value)
    return None if math.isnan(float(value)) else float(value)


def _nested(flat: list[float], shape: tuple[int, ...]) -> list[Any]:
    for size in reversed(shape[1:]):
        flat = [flat[i : i + size] for i in range(0, len(flat), size)]  # pyright: ignore[reportAssignmentType]  (one level deeper each time)
    return flat
