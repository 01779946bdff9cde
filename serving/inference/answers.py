"""Results become bodies: v1's friendly objects, v2 tensors in JSON or binary. Knows nothing of HTTP or of the graph."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import takewhile
from math import prod
from typing import Any

import numpy as np
import orjson

from serving.inference.batch import LABEL, Batch
from serving.inference.times import EPOCH
from training.signature import MISSING_TIME, Signature


class Answers:
    """Writes answers for one model and version."""

    def __init__(self, signature: Signature, name: str, version: str | None) -> None:
        self.signature, self.name, self.version = signature, name, version
        self._names = [output.name for output in signature.outputs]
        self._datatypes = {output.name: output.datatype for output in signature.outputs} | {LABEL: "BYTES"}
        self._classes = np.array(signature.classes, object)
        self._probabilities = self._names.index("probabilities") if signature.task == "classification" else None
        self._levels = [str(level) for level in signature.quantile_levels]
        self._time = next((c.tensor for c in signature.inputs if c.name == signature.time), None)
        self._time_at = sum(prod(c.shape) for c in takewhile(lambda c: c.name != signature.time, signature.inputs))
        self.parameters = {} if version is None else {"model_version": version}

    def tensors(self, results: Sequence[np.ndarray], batch: Batch) -> Iterator[tuple[str, str, np.ndarray, bool | None]]:
        """(name, datatype, array, binary asked for) of each output that the request wants, in its order; all of them by default."""
        found = dict(zip(self._names, results, strict=True))
        if self._probabilities is not None and (batch.wanted is None or any(name == LABEL for name, _ in batch.wanted)):
            found[LABEL] = self._classes[results[self._probabilities].argmax(axis=1)]
        for name, binary in batch.wanted or [(name, batch.binary) for name in found]:
            yield name, self._datatypes[name], found[name], binary

    def id(self, batch: Batch) -> str:
        """The request's id, or a new one."""
        return batch.id or os.urandom(16).hex()

    def v2(self, results: Sequence[np.ndarray], batch: Batch) -> tuple[bytes, int | None]:
        """The body, and the length of its JSON where raw tensors follow it."""
        outputs: list[dict[str, Any]] = []
        raw: list[bytes] = []
        for name, datatype, array, binary in self.tensors(results, batch):
            output: dict[str, Any] = {"name": name, "shape": array.shape, "datatype": datatype}
            if binary:
                raw.append(content(array))
                output["parameters"] = {"binary_data_size": len(raw[-1])}
            else:
                output["data"] = values(array)
            outputs.append(output)
        body: dict[str, Any] = {"id": self.id(batch), "model_name": self.name, "outputs": outputs}
        if self.version is not None:
            body |= {"model_version": self.version, "parameters": self.parameters}
        head = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        return (b"".join([head, *raw]), len(head)) if raw else (head, None)

    def v1(self, results: Sequence[np.ndarray], batch: Batch) -> dict[str, Any]:
        """`{"predictions": [...]}`, one object per row in the shape that the task has."""
        found = dict(zip(self._names, (array.tolist() for array in results), strict=True))
        if self._probabilities is not None:
            predictions = list(self._classified(found["probabilities"]))
        elif self.signature.task == "forecasting":
            predictions = list(self._forecast(found, self._times(batch)))
        else:
            predictions = [
                {"prediction": p, **self._quantiles(q)}
                for p, q in zip(found["prediction"], found.get("quantiles") or [None] * batch.rows, strict=True)
            ]
        return {"predictions": predictions} | self.parameters

    def _classified(self, probabilities: list[list[float]]) -> Iterator[dict[str, Any]]:
        classes = self.signature.classes
        for row in probabilities:
            yield {"label": classes[row.index(max(row))], "probabilities": dict(zip(classes, row, strict=True))}

    def _forecast(self, found: dict[str, list[Any]], times: Sequence[int | None]) -> Iterator[dict[str, Any]]:
        horizons, step = self.signature.horizons, self.signature.step_seconds or 0
        for row, since in enumerate(times):
            predictions, quantiles = (
                found["prediction"][row],
                found["quantiles"][row] if "quantiles" in found else [None] * len(horizons),
            )
            yield {
                "forecast": [
                    {"horizon": h, "time": _iso(since, h * step), "prediction": p, **self._quantiles(q)}
                    for h, p, q in zip(horizons, predictions, quantiles, strict=True)
                ]
            }

    def _quantiles(self, row: list[float] | None) -> dict[str, dict[str, float]]:
        return {} if row is None else {"quantiles": dict(zip(self._levels, row, strict=True))}

    def _times(self, batch: Batch) -> Sequence[int | None]:
        """Each row's time up to which values are known, in seconds since 1970."""
        if self._time is None or self.signature.step_seconds is None:
            return [None] * batch.rows
        return [batch.row[self._time_at]] if batch.row is not None else batch.feeds[self._time].tolist()


def values(array: np.ndarray) -> Any:
    """A tensor's values, flat, in row-major order, as orjson takes them. FP32 as the doubles they are."""
    flat = array.ravel()
    return flat if flat.dtype == np.float64 and flat.size > 8 else flat.tolist()


def content(array: np.ndarray) -> bytes:
    """A tensor's raw content in v2's binary extension: little-endian, BYTES with 4 bytes of length before each element."""
    if array.dtype != object:
        return array.tobytes()
    texts = [text.encode() for text in array.ravel().tolist()]
    return b"".join(part for text in texts for part in (len(text).to_bytes(4, "little"), text))


def _iso(since: int | None, later: int) -> str | None:
    """`since` + `later` as ISO 8601 in UTC; None where the time is missing, or past the year 9999."""
    if since is None or since == MISSING_TIME:
        return None
    try:
        return (EPOCH + timedelta(seconds=since + later)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return None
