"""Exported folders made with onnx.helper, one for each thing that a model server must carry: kinds, tasks, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.signature import MISSING_TIME, MODEL_ONNX, Input, Output, Signature

ELEMENTS = {
    "double": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
    "float": TensorProto.FLOAT,
}
KINDS = ("number", "number?", "integer", "integer?", "boolean", "boolean?", "category", "category?", "time", "time?")
NAMES = ("Größe", "wind", "count", "rooms", "open", "sunny", "city", "weather °", "at", "until")
CITIES = ("Berlin", "東京", "")


def every_kind(folder: Path) -> Path:
    """A forecast over one column of each scalar kind, nullable and not: `prediction` [2] and `quantiles` [2, 2], known in closed form."""
    inputs = [
        Input(name=n, kind=k.rstrip("?"), nullable=k.endswith("?"), tensor=f"x{i}")
        for i, (n, k) in enumerate(zip(NAMES, KINDS, strict=True))
    ]  # pyright: ignore[reportArgumentType]
    nodes: list[Any] = []
    for i, column in enumerate(inputs):
        source = column.tensor
        if column.kind == "category":
            nodes.append(
                helper.make_node(
                    "LabelEncoder",
                    [source],
                    [f"v{i}"],
                    domain="ai.onnx.ml",
                    keys_strings=list(CITIES),
                    values_floats=[1.0, 2.0, 3.0],
                    default_float=7.0,
                )
            )
            nodes.append(helper.make_node("Cast", [f"v{i}"], [f"d{i}"], to=TensorProto.DOUBLE))
            continue
        nodes.append(helper.make_node("Cast", [source], [f"c{i}"], to=TensorProto.DOUBLE))
        if column.kind == "time":
            nodes.append(helper.make_node("Equal", [source, "missing"], [f"m{i}"]))
            nodes.append(helper.make_node("Div", [f"c{i}", "day"], [f"s{i}"]))
        else:
            nodes.append(helper.make_node("IsNaN", [f"c{i}"], [f"m{i}"]))
            nodes.append(helper.make_node("Identity", [f"c{i}"], [f"s{i}"]))
        nodes.append(helper.make_node("Where", [f"m{i}", "instead", f"s{i}"], [f"d{i}"]))
    nodes.append(helper.make_node("Sum", [f"d{i}" for i in range(len(inputs))], ["total"]))
    nodes.append(helper.make_node("Unsqueeze", ["total", "axis"], ["column"]))
    nodes.append(helper.make_node("Mul", ["column", "horizons"], ["y0"]))
    nodes.append(helper.make_node("Unsqueeze", ["y0", "axis2"], ["wide"]))
    nodes.append(helper.make_node("Add", ["wide", "spread"], ["y1"]))
    constants = {
        "missing": np.int64(MISSING_TIME),
        "day": np.float64(86_400),
        "instead": np.float64(-3),
        "axis": np.array([1], np.int64),
        "axis2": np.array([2], np.int64),
        "horizons": np.array([[1.0, 2.0]]),
        "spread": np.array([[[-0.5, 0.5]]]),
    }
    outputs = [
        Output(name="prediction", datatype="FP64", shape=(2,), tensor="y0"),
        Output(name="quantiles", datatype="FP64", shape=(2, 2), tensor="y1"),
    ]
    more: dict[str, Any] = {"horizons": (4, 52), "step_seconds": 604_800, "quantile_levels": (0.05, 0.95), "time": "at"}
    return _save(
        folder, "forecasting", inputs, outputs, nodes, {"y0": ("double", 2), "y1": ("double", 2, 2)}, constants, **more
    )


def pictures(folder: Path) -> Path:
    """A classification of 4 x 3 images into three classes, by the mean of each column."""
    nodes = [
        helper.make_node("ReduceMean", ["x0", "axis"], ["means"], keepdims=0),
        helper.make_node("Softmax", ["means"], ["p"], axis=1),
        helper.make_node("Cast", ["p"], ["y0"], to=TensorProto.DOUBLE),
    ]
    inputs = [Input(name="image", kind="image", shape=(4, 3), tensor="x0")]
    outputs = [Output(name="probabilities", datatype="FP64", shape=(3,), tensor="y0")]
    return _save(
        folder,
        "classification",
        inputs,
        outputs,
        nodes,
        {"y0": ("double", 3)},
        {"axis": np.array([1], np.int64)},
        classes=("left", "mitte ü", "right"),
    )


def numbers(folder: Path, *, width: int = 3) -> Path:
    """`prediction` = the sum of a few numbers."""
    inputs = [Input(name=f"n{i}", kind="number", tensor=f"x{i}") for i in range(width)]
    nodes = [helper.make_node("Sum", [c.tensor for c in inputs], ["y0"])]
    return _save(
        folder, "regression", inputs, [Output(name="prediction", datatype="FP64", tensor="y0")], nodes, {"y0": ("double",)}, {}
    )


def treacherous(folder: Path, *, table: tuple[float, ...] = (1.0, 2.0, 3.0)) -> Path:
    """Fails in the graph where `index` is above 2, gives NaN where `x` is negative, and takes `work` turns of a loop."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["going"]), helper.make_node("Add", ["sum", "one"], ["more"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.DOUBLE, []),
        ],
        [
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.DOUBLE, []),
        ],
        [numpy_helper.from_array(np.array(1.0), "one")],
    )
    nodes = [
        helper.make_node("Gather", ["table", "x1"], ["picked"]),
        helper.make_node("Sqrt", ["x0"], ["root"]),
        helper.make_node("ReduceMax", ["x2"], ["turns"], keepdims=0),
        helper.make_node("Loop", ["turns", "yes", "zero"], ["counted"], body=body),
        helper.make_node("Sum", ["picked", "root", "counted"], ["y0"]),
    ]
    inputs = [
        Input(name="x", kind="number", tensor="x0"),
        Input(name="index", kind="integer", tensor="x1"),
        Input(name="work", kind="integer", tensor="x2"),
    ]
    constants = {"table": np.array(table, np.float64), "yes": np.array(True), "zero": np.array(0.0)}
    return _save(
        folder,
        "regression",
        inputs,
        [Output(name="prediction", datatype="FP64", tensor="y0")],
        nodes,
        {"y0": ("double",)},
        constants,
    )


def _save(
    folder: Path,
    task: Any,
    inputs: list[Input],
    outputs: list[Output],
    nodes: list[Any],
    gives: dict[str, Any],
    constants: dict[str, Any],
    **more: Any,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "made_by_hand",
        [helper.make_tensor_value_info(c.tensor, ELEMENTS[c.element], ["N", *c.shape]) for c in inputs],
        [helper.make_tensor_value_info(name, ELEMENTS[element], ["N", *shape]) for name, (element, *shape) in gives.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 4)], ir_version=10
    )
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / MODEL_ONNX)
    Signature(
        workload="hand", family="tabular", task=task, target="y", inputs=tuple(inputs), outputs=tuple(outputs), **more
    ).write(folder)
    return folder
