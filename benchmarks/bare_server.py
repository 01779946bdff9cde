"""The least that can answer a v2 JSON request: uvicorn, uvloop, httptools, orjson, onnxruntime, and no check of anything.

`python -m benchmarks.bare_server FOLDER PORT`: what the model server's throughput is a fraction of.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import orjson
import uvicorn

from training.signature import MODEL_ONNX, Signature


def application(folder: Path) -> Any:
    """An ASGI application that reads the tensors, runs the graph and writes the outputs."""
    signature = Signature.read(folder)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(folder / MODEL_ONNX), options)
    tensors = {column.name: column.tensor for column in signature.inputs}
    dtypes = {column.name: np.float32 if column.shape else np.float64 for column in signature.inputs}
    names, graph_names = [o.name for o in signature.outputs], [o.tensor for o in signature.outputs]

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        request = orjson.loads(body)
        feeds = {tensors[t["name"]]: np.array(t["data"], dtypes[t["name"]]).reshape(t["shape"]) for t in request["inputs"]}
        results = session.run(graph_names, feeds)
        outputs = [{"name": n, "datatype": "FP64", "shape": r.shape, "data": r} for n, r in zip(names, results, strict=True)]
        content = orjson.dumps(
            {"model_name": signature.workload, "id": request.get("id"), "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY
        )
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return answer


if __name__ == "__main__":
    uvicorn.run(
        application(Path(sys.argv[1])),
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        lifespan="off",
    )
