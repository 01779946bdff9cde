"""From the fitted net to the folder that predicts: calibrated, written as ONNX, safetensors and JSON.

The graph is made with onnx.helper: the net is a short chain, and torch's exporters cost seconds of imports. Batch
normalisation, the pixels' scale and the temperature are folded into the weights, so the graph is convolutions and one product.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.schema import TableSchema
from training.signature import MODEL_ONNX, WEIGHTS, Input, Output, Signature
from training.vision.data import image_column

if TYPE_CHECKING:
    import torch

    from training.vision.model import Classifier, Net

_OPSET, _IR = 17, 8


def export(module: Classifier | Any, valid: Iterable[Any], schema: TableSchema, workload: str, folder: Path) -> None:
    """Calibrate `module` on the validation batches and write its folder."""
    from safetensors.torch import save_file

    calibrate(module.net, valid)
    column = image_column(schema)
    signature = Signature(
        workload=workload,
        family="vision",
        task="classification",
        target=schema.target,
        inputs=(Input(**column.model_dump(), tensor="x0"),),
        outputs=(Output(name="probabilities", datatype="FP64", shape=(len(schema.classes),), tensor="y0"),),
        classes=schema.classes,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_ONNX).write_bytes(graph(module.net, column.shape, len(schema.classes)).SerializeToString())
    weights = {name: value.contiguous() for name, value in module.net.state_dict().items()}
    save_file(weights, folder / WEIGHTS, metadata={"settings": json.dumps(module.settings, sort_keys=True)})
    signature.write(folder)


def calibrate(net: Net, valid: Iterable[Any]) -> None:
    """Set the temperature (Guo et al. 2017) that gives the validation rows the least log loss, within 0.6 to 2."""
    import torch
    from torch.nn import functional as F

    net.eval()
    with torch.no_grad():
        logits, truth = (torch.cat(parts) for parts in zip(*((net(x), y) for x, y in valid), strict=True))
        choices = torch.logspace(-0.2218, 0.3010, 43)
        losses = torch.stack([F.cross_entropy(logits / temperature, truth) for temperature in choices])
    net.temperature.fill_(choices[losses.argmin()])


def graph(net: Net, shape: tuple[int, ...], classes: int) -> Any:
    """The ONNX model: x0 [N, *shape] float -> y0 [N, classes] double."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def constant(name: str, value: torch.Tensor | Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    at = "x0"
    if len(shape) == 2:
        nodes.append(helper.make_node("Unsqueeze", [at, constant("channel", np.array([1]))], ["image"]))
        at = "image"
    nodes += [
        helper.make_node("Sub", [at, constant("mean", net.mean)], ["centred"]),
        helper.make_node("Div", ["centred", constant("deviation", net.deviation)], ["scaled"]),
    ]
    at = "scaled"
    for i, (stage, halve) in enumerate(zip(net.stages, net.halved, strict=True)):
        weight, bias = _folded(stage)
        inputs = [at, constant(f"weight{i}", weight), constant(f"bias{i}", bias)]
        nodes.append(helper.make_node("Conv", inputs, [f"conv{i}"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"conv{i}"], [f"relu{i}"]))
        at = f"relu{i}"
        if halve:
            nodes.append(helper.make_node("MaxPool", [at], [f"half{i}"], kernel_shape=[2, 2], strides=[2, 2]))
            at = f"half{i}"
    temperature = net.temperature
    head = [
        constant("head", (net.head.weight / temperature).detach()),
        constant("offset", (net.head.bias / temperature).detach()),
    ]
    nodes += [
        helper.make_node("Flatten", [at], ["flat"]),
        helper.make_node("Gemm", ["flat", *head], ["logits"], transB=1),
        helper.make_node("Cast", ["logits"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Softmax", ["wide"], ["y0"], axis=1),
    ]
    x = helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["N", *shape])
    y = helper.make_tensor_value_info("y0", TensorProto.DOUBLE, ["N", classes])
    body = helper.make_graph(nodes, "vision", [x], [y], constants)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR, producer_name="ai-prime")


def _folded(stage: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The convolution's weight and bias with its batch normalisation (as it is in evaluation) inside."""
    convolution, norm = stage
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (convolution.weight * scale[:, None, None, None]).detach(), (norm.bias - norm.running_mean * scale).detach()
