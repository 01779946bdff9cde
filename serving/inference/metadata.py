"""A model's metadata as the Open Inference Protocol v2 states it, with the signature in `parameters`."""

from __future__ import annotations

from typing import Any

from serving.inference.batch import LABEL
from training.signature import Signature

PLATFORM = "onnxruntime_onnx"
FORMATS = {"time": "ISO 8601, UTC where no timezone is given", "category": "UTF-8"}


def model_metadata(signature: Signature, name: str, version: str | None) -> dict[str, Any]:
    """Name, versions, inputs and outputs with datatypes and shapes (-1 is the row count); `nullable` and `kind` for each input."""
    return {
        "name": name,
        "versions": [] if version is None else [version],
        "platform": PLATFORM,
        "inputs": [
            {
                "name": column.name,
                "datatype": column.datatype,
                "shape": [-1, *column.shape],
                "parameters": {"kind": column.kind, "nullable": column.nullable}
                | ({"format": FORMATS[column.kind]} if column.kind in FORMATS else {}),
            }
            for column in signature.inputs
        ],
        "outputs": output_types(signature),
        "parameters": _parameters(signature),
    }


def input_types(signature: Signature) -> list[dict[str, Any]]:
    """What KServe's own metadata can carry of the inputs: name, datatype, shape."""
    return [{"name": column.name, "datatype": column.datatype, "shape": [-1, *column.shape]} for column in signature.inputs]


def output_types(signature: Signature) -> list[dict[str, Any]]:
    """The outputs, with the label that the server adds for classification."""
    outputs: list[dict[str, Any]] = [
        {"name": o.name, "datatype": o.datatype, "shape": [-1, *o.shape]} for o in signature.outputs
    ]
    return outputs + ([{"name": LABEL, "datatype": "BYTES", "shape": [-1]}] if signature.task == "classification" else [])


def _parameters(signature: Signature) -> dict[str, Any]:
    stated = signature.model_dump(
        mode="json",
        include={
            "workload",
            "family",
            "task",
            "target",
            "classes",
            "horizons",
            "step_seconds",
            "quantile_levels",
            "entity",
            "time",
            "stored",
            "known",
            "ttl_seconds",
        },
    )
    return {key: value for key, value in stated.items() if value not in (None, [])}
