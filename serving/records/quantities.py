"""What a logged request and its answer predicted: one quantity per row and horizon. Reads v1, v2's JSON and v2's binary form.

The requests were understood by the model server, so only the two inputs that name a quantity are read: its entity and its time. Knows no
database.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import orjson

from serving.inference.columns import Reader
from serving.inference.requests import reader
from serving.records.prediction import Prediction
from training.signature import MISSING_TIME, Signature

LOW, HIGH = 0.1, 0.9  # the interval that is kept where a model states these quantiles
_DIGITS = 6  # of a class's probability


class Unreadable(ValueError):
    """A logged request or answer that does not say what was predicted."""


class Quantity(NamedTuple):
    """One predicted quantity of one row. `horizon` is 0 where there is none; times are seconds since 1970."""

    row: int
    horizon: int
    entity: str | None
    time: int
    target_time: int
    prediction: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    label: str | None = None
    probabilities: str | None = None  # JSON: class to probability


class _Said(NamedTuple):
    """What one row's answer says of one horizon."""

    horizon: int
    prediction: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    label: str | None = None
    probabilities: str | None = None


class Quantities:
    """Reads the predictions of one workload; every version of it answers by the same names."""

    def __init__(self, signature: Signature, sole_entity: str | None = None) -> None:
        self._signature, self._sole = signature, sole_entity
        inputs = {one.name: one for one in signature.inputs}
        self._entity = reader(inputs[signature.entity]) if signature.entity in inputs else None
        self._time = reader(inputs[signature.time]) if signature.time in inputs else None
        self._horizons = signature.horizons or (0,)
        self._step = signature.step_seconds or 0
        levels = [float(level) for level in signature.quantile_levels]
        self._low, self._high = _place(levels, LOW), _place(levels, HIGH)

    def read(self, prediction: Prediction) -> list[Quantity]:
        """Every quantity; Unreadable where the request or the answer is not what this workload's look like."""
        try:
            entities, times = self._named(prediction)
            found = []
            for row, said in enumerate(self._said(prediction.answer)):
                entity, time = entities[row], times[row]
                for one in said:
                    target_time = time + one.horizon * self._step
                    found.append(Quantity(row, one.horizon, entity, time, target_time, *one[1:]))
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from error
        if not found:
            raise Unreadable("the answer predicts nothing")
        return found

    def _named(self, prediction: Prediction) -> tuple[Sequence[str | None], Sequence[int]]:
        """Each row's entity, where it is known, and event time: the answer's own where the request states none."""
        at, rows = math.floor(prediction.at), prediction.rows
        given = _Inputs(prediction, [one for one in (self._entity, self._time) if one is not None])
        times: Sequence[int] = [at] * rows
        if self._time is not None:
            times = [at if time == MISSING_TIME else time for time in given.values(self._time)]
        entities: list[Any] = list(prediction.entities)
        if not entities and self._entity is not None:
            entities = given.values(self._entity)
        if not entities:
            entities = [None] * rows
        return [self._sole if one is None else str(one) for one in entities], times

    def _said(self, answer: bytes) -> Iterator[list[_Said]]:
        """By row, what the answer says."""
        document, raw = _split(answer)
        if "predictions" in document:
            return map(self._v1, document["predictions"])
        return self._v2(_outputs(document, raw))

    def _v1(self, row: dict[str, Any]) -> list[_Said]:
        if "forecast" in row:
            return [self._number(one["horizon"], one["prediction"], one.get("quantiles")) for one in row["forecast"]]
        if "label" in row:
            probabilities = row["probabilities"]
            return [self._class(row["label"], probabilities, float(probabilities[row["label"]]))]
        return [self._number(self._horizons[0], row["prediction"], row.get("quantiles"))]

    def _number(self, horizon: int, prediction: Any, quantiles: dict[str, Any] | None) -> _Said:
        known = quantiles or {}
        low, high = known.get(str(LOW)), known.get(str(HIGH))
        return _Said(horizon, float(prediction), None if low is None else float(low), None if high is None else float(high))

    def _class(self, label: str, probabilities: dict[str, float] | None, confidence: float | None) -> _Said:
        kept = None
        if probabilities is not None:
            kept = orjson.dumps({name: float(f"{p:.{_DIGITS}g}") for name, p in probabilities.items()}).decode()
        return _Said(self._horizons[0], confidence=confidence, label=label, probabilities=kept)

    def _v2(self, outputs: dict[str, Any]) -> Iterator[list[_Said]]:
        if self._signature.task == "classification":
            yield from self._classes(outputs.get("probabilities"), outputs.get("label"))
            return
        horizons = self._horizons
        predictions = np.asarray(outputs["prediction"], float).reshape(-1, len(horizons))
        levels = len(self._signature.quantile_levels)
        spread = outputs.get("quantiles")
        quantiles = None if spread is None else np.asarray(spread, float).reshape(len(predictions), len(horizons), levels)
        low = None if quantiles is None or self._low is None else quantiles[:, :, self._low].tolist()
        high = None if quantiles is None or self._high is None else quantiles[:, :, self._high].tolist()
        for row, values in enumerate(predictions.tolist()):
            lows, highs = low[row] if low else repeat(None), high[row] if high else repeat(None)
            yield [_Said(*one) for one in zip(horizons, values, lows, highs, strict=False)]

    def _classes(self, probabilities: Any, labels: Any) -> Iterator[list[_Said]]:
        classes = self._signature.classes
        if probabilities is None:  # only the label was asked for
            for label in np.ravel(np.asarray(labels, object)):
                yield [self._class(label, None, None)]
            return
        for row in np.asarray(probabilities, float).reshape(-1, len(classes)).tolist():
            best = max(row)
            yield [self._class(classes[row.index(best)], dict(zip(classes, row, strict=True)), best)]


class _Inputs:
    """A few of a request's inputs, by rows."""

    def __init__(self, prediction: Prediction, wanted: list[Reader]) -> None:
        self._columns: dict[str, list[Any]] = {}
        if not wanted:
            return
        head = int(prediction.form[3:]) if prediction.form.startswith("v2/") else len(prediction.request)
        document = orjson.loads(prediction.request[:head])
        if "instances" in document:
            rows = document["instances"]
            self._columns = {one.name: _listed(one, one.column([row[one.name] for row in rows])) for one in wanted}
            return
        at, readers = head, {one.name: one for one in wanted}
        for tensor in document["inputs"]:
            size = (tensor.get("parameters") or {}).get("binary_data_size")
            if (found := readers.get(tensor["name"])) is not None:
                raw = prediction.request[at : at + size] if size is not None else b""
                array = found.data(tensor["data"], tensor["shape"]) if size is None else found.buffer(raw, tensor["shape"])
                self._columns[found.name] = _listed(found, array)
            at += size or 0

    def values(self, wanted: Reader) -> list[Any]:
        """One input's values."""
        return self._columns[wanted.name]


def _listed(column: Reader, array: np.ndarray) -> list[Any]:
    """Plain values, missing ones as None (a time's stays what it is)."""
    return [None if one == "" or one != one else one for one in array.ravel().tolist()]


def _split(answer: bytes) -> tuple[dict[str, Any], bytes]:
    """An answer's JSON, and the raw tensors behind it."""
    try:
        return orjson.loads(answer), b""
    except orjson.JSONDecodeError:
        _, end = json.JSONDecoder().raw_decode(answer.decode("latin1"))
    return orjson.loads(answer[:end]), answer[end:]


def _outputs(document: dict[str, Any], raw: bytes) -> dict[str, Any]:
    """A v2 answer's tensors by name, flat."""
    found, at = {}, 0
    for output in document["outputs"]:
        size = (output.get("parameters") or {}).get("binary_data_size")
        if size is None:
            found[output["name"]] = output["data"]
            continue
        part, at = raw[at : at + size], at + size
        if len(part) != size:
            raise ValueError(f"the answer's output {output['name']!r} is cut off")
        found[output["name"]] = _texts(part) if output["datatype"] == "BYTES" else np.frombuffer(part, "<f8")
    return found


def _texts(raw: bytes) -> list[str]:
    found, at = [], 0
    while at < len(raw):
        start = at + 4
        at = start + int.from_bytes(raw[at:start], "little")
        found.append(raw[start:at].decode())
    return found


def _place(levels: Sequence[float], wanted: float) -> int | None:
    return next((place for place, level in enumerate(levels) if math.isclose(level, wanted)), None)
