"""The ONNX graph of a pack: what `columns.py` does in numpy and `model.py` in torch, from raw columns to answers.

Made with onnx.helper: torch's exporters cost seconds of imports. A test holds the three to each other. Graph names are ours,
never a column's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from data.schema import TableSchema
from training.signature import MISSING_TIME, Input, Output
from training.tabular.columns import DAY, HUGE, LIMIT, YEAR, Clock, Recipe

if TYPE_CHECKING:
    import torch

    from training.tabular.model import Net, Pack

_OPSET, _ML_OPSET, _IR = 17, 3, 8


def outputs(schema: TableSchema, quantiles: int) -> tuple[Output, ...]:
    if schema.task == "classification":
        return (Output(name="probabilities", datatype="FP64", shape=(len(schema.classes),), tensor="y0"),)
    shape = (len(schema.horizons),) if schema.task == "forecasting" else ()
    return (
        Output(name="prediction", datatype="FP64", shape=shape, tensor="y0"),
        Output(name="quantiles", datatype="FP64", shape=(*shape, quantiles), tensor="y1"),
    )


class Graph:
    """An ONNX graph as it grows: `op(...)` adds a node and gives the name of its result; arrays become constants."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, kind: str, *inputs: Any, result: str = "", domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        result = result or f"n{len(self.nodes)}"
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [result], domain=domain, **attributes))
        return result

    def cast(self, value: str, kind: str) -> str:
        from onnx import TensorProto

        return self.op("Cast", value, to=getattr(TensorProto, kind))


def graph(module: Pack, inputs: tuple[Input, ...], schema: TableSchema) -> Any:
    """The ONNX model: one tensor [N] for each column, in the types of `training/signature.py`, to the outputs of the task."""
    from onnx import TensorProto, helper

    g = Graph()
    tensors = {column.name: column.tensor for column in inputs}
    numbers, location, scale = _numbers(g, module.recipe, tensors, {c.name for c in inputs if c.element != "double"})
    row = _row(g, module.mean, module.recipe, numbers, _codes(g, module.recipe, tensors))
    out = _pack(g, module.mean, row)
    if module.target.centre:
        _quantiles(g, module, out, location, scale, forecasting=schema.task == "forecasting")
    else:
        wide = g.op("Div", g.cast(out, "DOUBLE"), np.float64(module.temperature))
        g.op("ReduceMean", g.op("Softmax", wide, axis=-1), axes=[0], keepdims=0, result="y0")
    elements = {
        "double": TensorProto.DOUBLE,
        "int64": TensorProto.INT64,
        "bool": TensorProto.BOOL,
        "string": TensorProto.STRING,
    }
    takes = [helper.make_tensor_value_info(column.tensor, elements[column.element], ["N"]) for column in inputs]
    gives = [
        helper.make_tensor_value_info(output.tensor, TensorProto.DOUBLE, ["N", *output.shape])
        for output in outputs(schema, module.shift_HQ.shape[1])
    ]
    body = helper.make_graph(g.nodes, "tabular", takes, gives, g.constants)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    return helper.make_model(body, opset_imports=opsets, ir_version=_IR, producer_name="ai-prime")


def _column(g: Graph, values: str) -> str:
    return g.op("Unsqueeze", values, np.array([1]))


def _numbers(g: Graph, recipe: Recipe, tensors: dict[str, str], whole: set[str]) -> tuple[str | None, str | None, str | None]:
    """All numeric columns, centred and squashed [N, all] double with NaN where missing; and the level's location and scale [N, 1]."""
    parts = [_column(g, g.cast(tensors[n], "DOUBLE") if n in whole else tensors[n]) for n in recipe.numbers]
    now = _days(g, tensors[recipe.clock]) if recipe.clock and recipe.dates else None
    for name in recipe.dates:
        date = _days(g, tensors[name])
        parts.append(g.op("Sub", date, now) if now else date)
    for year in recipe.years:
        angle = _angle(g, tensors[year.column], year)
        parts += [g.op("Sin", angle), g.op("Sin", g.op("Add", angle, np.float64(np.pi / 2)))]
    if not parts:
        return None, None, None
    values = g.op("Concat", *parts, axis=1)
    if recipe.bases:
        based, moved = np.arange(len(recipe.centre)), np.zeros((1, len(recipe.centre)), bool)
        for column, mean in recipe.bases:
            based[column], moved[0, column] = mean, True
        values = g.op("Where", moved, g.op("Sub", values, g.op("Gather", values, based, axis=1)), values)
    location = scale = None
    if recipe.level is not None:
        level = _level(g, recipe, values)
        relative = np.zeros((1, len(recipe.centre)))
        relative[0, list(recipe.level.relative)] = 1
        if recipe.level.how == "ratio":
            scale = level
            by = g.op("Add", np.float64(1), g.op("Mul", relative, g.op("Sub", level, np.float64(1))))
            values = g.op("Div", values, by)
        else:
            location = level
            values = g.op("Sub", values, g.op("Mul", relative, level))
    z = g.op("Mul", g.op("Sub", values, np.array([recipe.centre])), np.array([recipe.factor]))
    z = g.op("Clip", z, np.float64(-LIMIT), np.float64(LIMIT))
    third = g.op("Div", z, np.float64(3))
    squash = g.op("Sqrt", g.op("Add", np.float64(1), g.op("Mul", third, third)))
    return g.op("Div", z, squash), location, scale


def _level(g: Graph, recipe: Recipe, values: str) -> str:
    """The first known of the chain [N, 1]."""
    level: Any = recipe.level
    found: Any = np.full((1, 1), level.default)
    for column in reversed(level.chain):
        value = g.op("Gather", values, np.array([column]), axis=1)
        found = g.op("Where", g.op("Less", g.op("Abs", value), np.float64(HUGE)), value, found)
    return g.op("Max", found, np.float64(level.floor)) if level.how == "ratio" else found


def _days(g: Graph, seconds: str) -> str:
    days = g.op("Div", g.cast(seconds, "DOUBLE"), np.float64(DAY))
    return _column(g, g.op("Where", _absent(g, seconds), np.float64("nan"), days))


def _absent(g: Graph, seconds: str) -> str:
    return g.op("Equal", seconds, np.int64(MISSING_TIME))


def _angle(g: Graph, seconds: str, clock: Clock) -> str:
    within = g.op("Mod", g.op("Add", seconds, np.int64(clock.shift)), np.int64(YEAR))
    angle = g.op("Mul", g.cast(within, "DOUBLE"), np.float64(2 * np.pi / YEAR))
    return _column(g, g.op("Where", _absent(g, seconds), np.float64("nan"), angle))


def _codes(g: Graph, recipe: Recipe, tensors: dict[str, str]) -> str | None:
    """The codes [N, J], each column's own: 0 never seen, 1 missing."""
    parts = []
    for name, levels in recipe.categories:
        keys, values = ["", *levels], [*range(1, len(levels) + 2)]
        how: dict[str, Any] = {"keys_strings": keys, "values_int64s": values, "default_int64": 0}
        parts.append(_column(g, g.op("LabelEncoder", tensors[name], domain="ai.onnx.ml", **how)))
    for clock in recipe.clocks:
        at = g.op("Add", tensors[clock.column], np.int64(clock.shift))
        if clock.reads == "slot":
            read = _whole(g, g.op("Mod", at, np.int64(DAY)), clock.width)
        else:
            read = g.op("Mod", g.op("Add", _whole(g, at, DAY), np.int64(3)), np.int64(7))
        read = g.op("Where", _absent(g, tensors[clock.column]), np.int64(1), g.op("Add", read, np.int64(2)))
        parts.append(_column(g, read))
    return g.op("Concat", *parts, axis=1) if parts else None


def _whole(g: Graph, value: str, by: int) -> str:
    """Division rounded down, as Python's: ONNX rounds towards zero."""
    return g.op("Div", g.op("Sub", value, g.op("Mod", value, np.int64(by))), np.int64(by))


def _row(g: Graph, net: Net, recipe: Recipe, numbers: str | None, codes: str | None) -> str:
    """The embedded row [N, D]."""
    parts = []
    if numbers is not None:
        absent = g.op("IsNaN", numbers)
        clean = g.cast(g.op("Where", absent, np.float64(0), numbers), "FLOAT")
        if recipe.kept:
            parts.append(_embedded(g, net, g.op("Gather", clean, np.array(recipe.kept), axis=1)))
        if recipe.missing:
            parts.append(g.op("Gather", g.cast(absent, "FLOAT"), np.array(recipe.missing), axis=1))
    if codes is not None:
        places = g.op("Add", codes, net.offset_J.numpy())
        vectors = g.op("Gather", net.codes.detach().numpy(), places, axis=0)
        parts.append(g.op("Flatten", vectors, axis=1))
    return g.op("Concat", *parts, axis=1)


def _embedded(g: Graph, net: Net, x: str) -> str:
    """Piecewise-linear embeddings [N, C D]: the product per column is written as [C, N, B] x [C, B, D]."""
    x_NC1 = g.op("Unsqueeze", x, np.array([2]))
    share = g.op("Mul", g.op("Sub", x_NC1, net.lower_CB.numpy()), net.inverse_CB.numpy())
    share = g.op("Clip", share, np.float32(0), np.float32(1))
    product = g.op("MatMul", g.op("Transpose", share, perm=[1, 0, 2]), net.bins_CBD.detach().numpy())
    binned = g.op("Transpose", product, perm=[1, 0, 2])
    straight = g.op("Add", g.op("Mul", x_NC1, net.slope_CD.detach().numpy()), net.offset_CD.detach().numpy())
    return g.op("Flatten", g.op("Add", binned, straight), axis=1)


def _pack(g: Graph, net: Net, row: str) -> str:
    """All members' outputs: [K, N, O] for classes, [K, N, H, Q] else (kept as [K, N, H * Q])."""
    h = g.op("Unsqueeze", row, np.array([0]))
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        h = g.op("Add", g.op("MatMul", h, _array(weight)), _array(bias))
        h = g.op("Relu", h) if i < len(net.weights) - 1 else h
    return h


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _quantiles(g: Graph, module: Pack, out: str, location: str | None, scale: str | None, *, forecasting: bool) -> None:
    """Rising quantiles in the target's own unit, and their middle."""
    from training.tabular.model import MEDIAN, SPREAD

    horizons, levels = module.shift_HQ.shape
    h = g.op("Reshape", out, np.array([module.net.members, -1, horizons, levels]))
    others = [i for i in range(levels) if i != MEDIAN]
    gaps = g.op("Softplus", g.op("Gather", h, np.array(others), axis=3))
    q = g.op("Add", g.op("Gather", h, np.array([MEDIAN]), axis=3), g.op("MatMul", gaps, SPREAD))
    q = g.op("Add", g.op("Mul", q, _array(module.unit_H1)), _array(module.centre_H1))
    if module.target.log:
        q = g.op("Sub", g.op("Exp", g.op("Min", q, np.float32(module.target.highest))), np.float32(1))
    q = g.op("ReduceMean", q, axes=[0], keepdims=0)
    q = g.op("Add", g.cast(q, "DOUBLE"), _array(module.shift_HQ.double()))
    column = {i: g.op("Gather", q, np.array([i]), axis=2) for i in range(levels)}
    for i in range(MEDIAN + 1, levels):
        column[i] = g.op("Max", column[i], column[i - 1])
    for i in range(MEDIAN - 1, -1, -1):
        column[i] = g.op("Min", column[i], column[i + 1])
    q = g.op("Concat", *(column[i] for i in range(levels)), axis=2)
    if scale:
        q = g.op("Mul", q, g.op("Unsqueeze", scale, np.array([2])))
    if location:
        q = g.op("Add", q, g.op("Unsqueeze", location, np.array([2])))
    if module.target.low is not None:
        q = g.op("Max", q, np.float64(module.target.low))
    if not forecasting:
        q = g.op("Squeeze", q, np.array([1]))
    axis = 2 if forecasting else 1
    g.op("Squeeze", g.op("Gather", q, np.array([MEDIAN]), axis=axis), np.array([axis]), result="y0")
    g.op("Identity", q, result="y1")
