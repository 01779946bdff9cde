"""A kept request and its answer, row by row, as JSON values by column: the reader is the very one of the model server. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from serving.inference.requests import Requests
from serving.records import Prediction
from serving.records.quantities import Quantities, Quantity, Unreadable
from training.signature import MISSING_TIME, Input, Signature


def row(prediction: Prediction, signature: Signature, number: int) -> dict[str, Any] | None:
    """The inputs of one row as the model got them; None where the request cannot be read again."""
    reader = Requests(signature, short_way=False)
    try:
        if prediction.form == "v1":
            batch = reader.v1(prediction.request)
        else:
            batch = reader.v2(prediction.request, prediction.form[3:].encode() or None)
        feeds = batch.feeds or {}
        return {column.name: _plain(feeds[column.tensor][number], column) for column in signature.inputs}
    except (ValueError, LookupError):
        return None


def quantities(prediction: Prediction, signature: Signature, number: int) -> tuple[Quantity, ...]:
    """What was predicted of one row, horizon by horizon; empty where it was no answer, or cannot be read again."""
    if prediction.status != 200:
        return ()
    try:
        return tuple(one for one in Quantities(signature).read(prediction) if one.row == number)
    except Unreadable:
        return ()


def iso(seconds: float) -> str:
    """UTC, ISO 8601, whole seconds without a fraction."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at.isoformat(timespec="milliseconds" if at.microsecond else "seconds").replace("+00:00", "Z")


def _plain(value: Any, column: Input) -> Any:
    if column.kind == "image":
        return value.tolist()
    found = value.item() if hasattr(value, "item") else value
    if column.kind == "time":
        return None if found == MISSING_TIME else iso(found)
    if column.kind == "category":
        return found or None
    if isinstance(found, float) and found != found:
        return None
    if column.kind in {"integer", "boolean"} and found is not None:
        return int(found) if column.kind == "integer" else bool(found)
    return found
