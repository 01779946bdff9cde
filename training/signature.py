"""A model folder's `model.json`: what the ONNX graph takes and gives, in the names that a person knows.

Read by training (to predict) and by the model server; imports nothing heavy. The graph's own tensor names are ours (`x0`, `y0`):
a user's column name may be any unicode and must never become a graph name.

How a value travels into the graph:

| kind | not nullable | nullable | missing |
|---|---|---|---|
| number | double | double | NaN |
| integer | int64 | double | NaN |
| boolean | bool | double (0, 1) | NaN |
| category | string | string | "" |
| time | int64, seconds since 1970 UTC | the same | the smallest int64 |
| image | float, the column's shape | - | - |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from data.schema import Column, OnStale, Task, unless_usual

MODEL_JSON = "model.json"
MODEL_ONNX = "model.onnx"
WEIGHTS = "model.safetensors"
MISSING_TIME = -(2**63)

# (datatype of the Open Inference Protocol v2, ONNX element type) by (kind, nullable)
_TYPES = {
    ("number", False): ("FP64", "double"),
    ("number", True): ("FP64", "double"),
    ("integer", False): ("INT64", "int64"),
    ("integer", True): ("FP64", "double"),
    ("boolean", False): ("BOOL", "bool"),
    ("boolean", True): ("FP64", "double"),
    ("category", False): ("BYTES", "string"),
    ("category", True): ("BYTES", "string"),
    ("time", False): ("BYTES", "int64"),
    ("time", True): ("BYTES", "int64"),
    ("image", False): ("FP32", "float"),
}


class Input(Column):
    """A column as the endpoint takes it, and the graph's tensor that it feeds."""

    tensor: str

    @property
    def datatype(self) -> str:
        """The v2 datatype a client sends: FP64, INT64, BOOL, BYTES (text, ISO 8601 times), FP32 (images)."""
        return _TYPES[self.kind, self.nullable][0]

    @property
    def element(self) -> str:
        """The ONNX element type that the graph takes."""
        return _TYPES[self.kind, self.nullable][1]


class Output(BaseModel):
    """One result tensor: its public name, v2 datatype, the shape of one row, and the graph's tensor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    datatype: str
    shape: tuple[int, ...] = ()
    tensor: str


class Signature(BaseModel):
    """What a model takes and gives.

    Outputs by task: regression `prediction` (FP64) and `quantiles` (FP64, [Q]); forecasting `prediction` [H] and `quantiles` [H, Q];
    classification `probabilities` (FP64, [C]); the server adds `label` (BYTES) from `classes`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    workload: str
    family: str
    task: Task
    target: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    classes: tuple[str, ...] = ()
    horizons: tuple[int, ...] = ()
    step_seconds: int | None = None
    quantile_levels: tuple[float, ...] = ()
    entity: str | None = None  # a request may bring only this and `known`; the gateway completes `stored`
    time: str | None = None  # series: the input that holds the time up to which values are known
    stored: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    ttl_seconds: int | None = None
    on_stale: OnStale = "refuse"

    @model_serializer(mode="wrap")
    def _as_ever(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return unless_usual(write(self))

    @classmethod
    def read(cls, folder: Path) -> Signature:
        """The signature of an exported model folder."""
        return cls.model_validate_json((folder / MODEL_JSON).read_bytes())

    def write(self, folder: Path) -> None:
        """Write `model.json`, readable and stable."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False, sort_keys=True)
        (folder / MODEL_JSON).write_text(text + "\n", encoding="utf-8")
