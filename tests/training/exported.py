"""Exported folders made by hand with onnx.helper: what predictor and evaluation are tested on, without any family."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from training.signature import MODEL_ONNX, Input, Output, Signature

_ELEMENTS = {
    "double": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
    "float": TensorProto.FLOAT,
}


def save(folder: Path, signature: Signature, nodes: list, outputs: list, initialisers: list | None = None) -> Path:
    """Write `model.onnx` with the signature's inputs, and `model.json`."""
    inputs = [
        helper.make_tensor_value_info(column.tensor, _ELEMENTS[column.element], ["N", *column.shape])
        for column in signature.inputs
    ]
    graph = helper.make_graph(nodes, "made_by_hand", inputs, outputs, initialisers or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / MODEL_ONNX)
    signature.write(folder)
    return folder


def echo(folder: Path, column: Input) -> Path:
    """A model that gives back its one column as the graph received it, under `seen`."""
    output = Output(name="seen", datatype="FP64", shape=column.shape, tensor="y0")
    signature = Signature(workload="echo", family="hand", task="regression", target="t", inputs=(column,), outputs=(output,))
    return save(
        folder,
        signature,
        [helper.make_node("Identity", [column.tensor], ["y0"])],
        [helper.make_tensor_value_info("y0", _ELEMENTS[column.element], ["N", *column.shape])],
    )


def regression(folder: Path, *, scale: float = 1.0, levels: tuple[float, ...] = (0.1, 0.5, 0.9), spread: float = 1.0) -> Path:
    """`prediction` = scale * x, its quantiles `spread` around it."""
    signature = Signature(
        workload="hand",
        family="hand",
        task="regression",
        target="y",
        inputs=(Input(name="x", kind="number", tensor="x0"),),
        outputs=(
            Output(name="prediction", datatype="FP64", tensor="y0"),
            Output(name="quantiles", datatype="FP64", shape=(len(levels),), tensor="y1"),
        ),
        quantile_levels=levels,
    )
    offsets = [spread * 2 * (level - 0.5) for level in levels]
    return save(
        folder,
        signature,
        [
            helper.make_node("Mul", ["x0", "scale"], ["y0"]),
            helper.make_node("Unsqueeze", ["y0", "one"], ["column"]),
            helper.make_node("Add", ["column", "offsets"], ["y1"]),
        ],
        [
            helper.make_tensor_value_info("y0", TensorProto.DOUBLE, ["N"]),
            helper.make_tensor_value_info("y1", TensorProto.DOUBLE, ["N", len(levels)]),
        ],
        [
            helper.make_tensor("scale", TensorProto.DOUBLE, [], [scale]),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("offsets", TensorProto.DOUBLE, [len(levels)], offsets),
        ],
    )


def forecast(folder: Path, horizons: tuple[int, ...], *, bias: float = 0.0) -> Path:
    """`prediction`[h] = x + bias for each horizon, with quantiles at -1, 0, +1 around it."""
    count = len(horizons)
    signature = Signature(
        workload="hand",
        family="hand",
        task="forecasting",
        target="y",
        inputs=(Input(name="x", kind="number", tensor="x0"),),
        outputs=(
            Output(name="prediction", datatype="FP64", shape=(count,), tensor="y0"),
            Output(name="quantiles", datatype="FP64", shape=(count, 3), tensor="y1"),
        ),
        horizons=horizons,
        step_seconds=3600,
        quantile_levels=(0.1, 0.5, 0.9),
        time="t",
    )
    return save(
        folder,
        signature,
        [
            helper.make_node("Unsqueeze", ["x0", "one"], ["column"]),
            helper.make_node("Add", ["column", "bias"], ["y0"]),
            helper.make_node("Unsqueeze", ["y0", "two"], ["deep"]),
            helper.make_node("Add", ["deep", "offsets"], ["y1"]),
        ],
        [
            helper.make_tensor_value_info("y0", TensorProto.DOUBLE, ["N", count]),
            helper.make_tensor_value_info("y1", TensorProto.DOUBLE, ["N", count, 3]),
        ],
        [
            helper.make_tensor("bias", TensorProto.DOUBLE, [count], [bias] * count),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("two", TensorProto.INT64, [1], [2]),
            helper.make_tensor("offsets", TensorProto.DOUBLE, [3], [-1.0, 0.0, 1.0]),
        ],
    )


def classification(folder: Path, classes: tuple[str, ...] = ("a", "b"), *, sharpness: float = 1.0) -> Path:
    """Two classes: the second one's log-odds are sharpness * x."""
    signature = Signature(
        workload="hand",
        family="hand",
        task="classification",
        target="y",
        inputs=(Input(name="x", kind="number", tensor="x0"),),
        outputs=(Output(name="probabilities", datatype="FP64", shape=(2,), tensor="y0"),),
        classes=classes,
    )
    return save(
        folder,
        signature,
        [
            helper.make_node("Unsqueeze", ["x0", "one"], ["column"]),
            helper.make_node("Mul", ["column", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["y0"], axis=1),
        ],
        [helper.make_tensor_value_info("y0", TensorProto.DOUBLE, ["N", 2])],
        [
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("weights", TensorProto.DOUBLE, [2], [0.0, sharpness]),
        ],
    )
