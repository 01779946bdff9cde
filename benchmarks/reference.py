"""The reference model that serving is measured on: 20 numbers -> 64 -> 1, made from a fixed seed into benchmarks/reference_model/.

The committed form takes the 20 numbers as one tensor. `make(..., columns=True)` is the same net over 20 columns, each a tensor of its own,
as a tabular model has them: stated beside it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.signature import MODEL_ONNX, Input, Output, Signature

FOLDER = Path(__file__).parent / "reference_model"
WIDTH, HIDDEN = 20, 64


def make(folder: Path, *, columns: bool = False) -> None:
    """Write model.onnx and model.json; the same bytes each time."""
    draw = np.random.default_rng(20)
    weights = {
        "w1": draw.normal(size=(WIDTH, HIDDEN)).astype(np.float32) / 4,
        "b1": draw.normal(size=HIDDEN).astype(np.float32),
        "w2": draw.normal(size=(HIDDEN, 1)).astype(np.float32) / 8,
        "b2": np.zeros(1, np.float32),
        "flat": np.array([-1], np.int64),
    }
    if columns:
        names = [f"x{i}" for i in range(WIDTH)]
        weights["columns"] = np.array([WIDTH, -1], np.int64)
        first = [
            helper.make_node("Concat", names, ["joined"], axis=0),
            helper.make_node("Cast", ["joined"], ["small"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["small", "columns"], ["x"]),
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transA=1),
        ]
        takes = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["N"]) for name in names]
        inputs = [Input(name=f"x{i + 1:02d}", kind="number", tensor=name) for i, name in enumerate(names)]
    else:
        first = [helper.make_node("Gemm", ["x0", "w1", "b1"], ["h"])]
        takes = [helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["N", WIDTH])]
        inputs = [Input(name="x", kind="image", shape=(WIDTH,), tensor="x0")]
    rest = [
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
        helper.make_node("Cast", ["y"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Reshape", ["wide", "flat"], ["y0"]),
    ]
    gives = [helper.make_tensor_value_info("y0", TensorProto.DOUBLE, ["N"])]
    graph = helper.make_graph(
        [*first, *rest], "reference", takes, gives, [numpy_helper.from_array(a, n) for n, a in weights.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, producer_name="ai-prime")
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / MODEL_ONNX)
    Signature(
        workload="reference",
        family="tabular",
        task="regression",
        target="y",
        inputs=tuple(inputs),
        outputs=(Output(name="prediction", datatype="FP64", tensor="y0"),),
    ).write(folder)


if __name__ == "__main__":
    make(FOLDER)
