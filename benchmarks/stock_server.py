"""A model on KServe as it comes, written as KServe's documentation shows it: `python -m benchmarks.stock_server FOLDER HTTP_PORT GRPC_PORT`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import onnxruntime as ort

from training.signature import MODEL_ONNX, Signature

FOLDER, HTTP_PORT, GRPC_PORT = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
sys.argv[1:] = []  # kserve parses them

import kserve  # noqa: E402
from kserve.protocol.rest.server import RESTServer  # noqa: E402


class Model(kserve.Model):
    """Reads each tensor as numpy, runs the graph, answers tensors."""

    def __init__(self, signature: Signature) -> None:
        super().__init__(signature.workload)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(FOLDER / MODEL_ONNX), options)
        self.tensors = {column.name: column.tensor for column in signature.inputs}
        self.names = {o.tensor: o.name for o in signature.outputs}
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Inline: KServe's own examples do so."""
        results = self.session.run(list(self.names), {self.tensors[i.name]: i.as_numpy() for i in payload.inputs})
        outputs = [
            kserve.InferOutput(name, list(r.shape), "FP64", r) for name, r in zip(self.names.values(), results, strict=True)
        ]
        return kserve.InferResponse(payload.id or "none", self.name, outputs, use_binary_outputs=payload.use_binary_outputs)


def on_loopback(self: Any, *args: Any, _init: Any = RESTServer.__init__, **options: Any) -> None:
    """KServe binds to every address; a benchmark need not."""
    _init(self, *args, **options)
    self.config.host = "127.0.0.1"


if __name__ == "__main__":
    RESTServer.__init__ = on_loopback  # pyright: ignore[reportAttributeAccessIssue]
    kserve.ModelServer(http_port=HTTP_PORT, grpc_port=GRPC_PORT).start([Model(Signature.read(FOLDER))])
