"""Predictions as a gateway logs them: the model server's own writers make the answers."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np

from serving.inference.answers import Answers
from serving.inference.batch import Batch
from serving.records import Prediction
from tests.serving.requests import binary
from training.signature import Input, Output, Signature

WEEK = 7 * 86_400
_WEEK_AND_LEVEL = (Input(name="week", kind="time", tensor="x0"), Input(name="level", kind="number", nullable=True, tensor="x1"))
FORECAST = Signature(
    workload="co2",
    family="tabular",
    task="forecasting",
    target="co2",
    inputs=_WEEK_AND_LEVEL,
    outputs=(
        Output(name="prediction", datatype="FP64", shape=(2,), tensor="y0"),
        Output(name="quantiles", datatype="FP64", shape=(2, 3), tensor="y1"),
    ),
    horizons=(4, 52),
    step_seconds=WEEK,
    quantile_levels=(0.1, 0.5, 0.9),
    entity="station",
    time="week",
)
CLASSES = Signature(
    workload="elec2",
    family="tabular",
    task="classification",
    target="class",
    inputs=(*_WEEK_AND_LEVEL, Input(name="region", kind="category", tensor="x2")),
    outputs=(Output(name="probabilities", datatype="FP64", shape=(3,), tensor="y0"),),
    classes=('do"wn', "same", "üp"),
    horizons=(1,),
    step_seconds=1800,
    entity="region",
    time="week",
)
PLAIN = Signature(
    workload="prices",
    family="tabular",
    task="regression",
    target="price",
    inputs=(Input(name="level", kind="number", tensor="x0"),),
    outputs=(Output(name="prediction", datatype="FP64", tensor="y0"),),
)
_numbers = itertools.count(1)


def new_id() -> str:
    """An id in order of the others."""
    return str(UUID(int=next(_numbers) << 64 | 7 << 76 | 2 << 62))


def moment(seconds: float) -> str:
    """ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def prediction(workload: str = "co2", **changed: Any) -> Prediction:
    """Some prediction, its request and answer unread."""
    fields: dict[str, Any] = {"id": new_id(), "workload": workload, "version": "1", "role": "champion", "at": 1e9, "rows": 1}
    fields |= {"form": "v1", "request": b'{"instances": [{"x": 1}]}', "answer": b'{"predictions": [{"prediction": 2}]}'}
    fields |= {"entities": (), "status": 200, "latency_ms": 1.5}
    return Prediction(**fields | changed)


def answered(
    signature: Signature, times: list[float], values: list[Any], form: str = "v1", region: str = "NSW", **changed: Any
) -> Prediction:
    """A request of one row per time, answered with `values`: per row a number, one per horizon, or probabilities."""
    rows = [{"week": moment(time), "level": 1.5 if number else None, "region": region} for number, time in enumerate(times)]
    inputs = signature.inputs
    instances = (
        [{one.name: row[one.name] for one in inputs} for row in rows] if signature.time else [{"level": 1.0}] * len(times)
    )
    results = _results(signature, values)
    batch = Batch(len(times), {"x0": np.array([int(time) for time in times], np.int64)}, binary=form == "v2/N")
    answers = Answers(signature, signature.workload, "1")
    if form == "v1":
        return prediction(
            signature.workload,
            rows=len(times),
            request=json.dumps({"instances": instances}).encode(),
            answer=json.dumps(answers.v1(results, batch)).encode(),
            **changed,
        )
    tensors: list[dict[str, Any]] = [
        {"name": one.name, "datatype": one.datatype, "shape": [len(times)], "data": [row[one.name] for row in instances]}
        for one in inputs
    ]
    request = json.dumps({"inputs": tensors}, ensure_ascii=False).encode()
    if form == "v2/N":
        document, tail = binary({"inputs": tensors})
        head = json.dumps(document).encode()
        request, form = head + tail, f"v2/{len(head)}"
    answer, _ = answers.v2(results, batch)
    return prediction(signature.workload, rows=len(times), form=form, request=request, answer=answer, **changed)


def _results(signature: Signature, values: list[Any]) -> list[np.ndarray]:
    array = np.array(values, float)
    if not signature.quantile_levels:
        return [array]
    spread = np.array([-10.0, 0.0, 10.0])
    return [array, array[:, :, None] + spread]
