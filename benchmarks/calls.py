"""One gRPC call of the v2 protocol. Imports kserve, which parses sys.argv."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np

_arguments = sys.argv[1:]
sys.argv[1:] = []
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages  # noqa: E402
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as wiring  # noqa: E402

sys.argv[1:] = _arguments


def grpc_call(port: int, x: np.ndarray) -> Callable[[], Any]:
    """A call that sends `x` as raw contents (the message is made beforehand) and gives the prediction; gRPC's defaults otherwise."""
    stub = wiring.GRPCInferenceServiceStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
    tensor = messages.ModelInferRequest.InferInputTensor(name="x", shape=list(x.shape), datatype="FP32")
    request = messages.ModelInferRequest(model_name="reference", id="b", inputs=[tensor], raw_input_contents=[x.tobytes()])
    return lambda: np.frombuffer(stub.ModelInfer(request).raw_output_contents[0])
