"""Requests for the hand-made models in each of the protocol's forms, and their answers read back into plain values."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from tests.serving import model_folders
from tests.serving.served import Answer, messages

ROW = {
    "Größe": 1.5,
    "wind": None,
    "count": 3,
    "rooms": 2,
    "open": True,
    "sunny": None,
    "city": "東京",
    "weather °": None,
    "at": "2026-01-31T12:00:00Z",
    "until": None,
}
OTHER = {
    "Größe": -2,
    "wind": 0.25,
    "count": -4,
    "rooms": None,
    "open": False,
    "sunny": True,
    "city": "nowhere",
    "weather °": "Berlin",
    "at": "2026-02-01",
    "until": "2026-02-01T01:00:00+01:00",
}
DATATYPES = ("FP64", "FP64", "INT64", "FP64", "BOOL", "FP64", "BYTES", "BYTES", "BYTES", "BYTES")
NAN = float("nan")


IMAGE = [[[0.0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11.5]]]


def tensors(*rows: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A v2 request for rows of `every_kind`."""
    inputs = [
        {"name": n, "shape": [len(rows)], "datatype": t, "data": [row[n] for row in rows]}
        for n, t in zip(model_folders.NAMES, DATATYPES, strict=True)
    ]
    for tensor in inputs:
        if tensor["name"] == "sunny":
            tensor["data"] = [None if v is None else float(v) for v in tensor["data"]]
    return {"id": "mine", "inputs": inputs} | changed


def packed(value: Any, datatype: str) -> bytes:
    """One value of the binary extension; None is NaN or the empty text."""
    if datatype == "BYTES":
        raw = (value or "").encode()
        return struct.pack("<I", len(raw)) + raw
    return struct.pack({"FP64": "<d", "INT64": "<q", "BOOL": "<?", "FP32": "<f"}[datatype], NAN if value is None else value)


def binary(document: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The same request in the binary extension."""
    inputs, tail = [], b""
    for tensor in document["inputs"]:
        raw = b"".join(packed(value, tensor["datatype"]) for value in np.ravel(np.array(tensor["data"], object)))
        inputs.append({k: tensor[k] for k in ("name", "shape", "datatype")} | {"parameters": {"binary_data_size": len(raw)}})
        tail += raw
    return document | {"inputs": inputs}, tail


def outputs(answer: Answer) -> dict[str, tuple[list[int], list[Any]]]:
    """A v2 answer's tensors by name, whether JSON or binary: shape and values."""
    assert answer.status == 200, answer.content
    length = int(answer.headers.get("inference-header-content-length", len(answer.content)))
    found, at = {}, length
    for output in json.loads(answer.content[:length])["outputs"]:
        values = output.get("data")
        if values is None:
            raw = answer.content[at : at + output["parameters"]["binary_data_size"]]
            at += len(raw)
            values = (
                texts(raw)
                if output["datatype"] == "BYTES"
                else np.frombuffer(raw, {"FP64": "<f8", "FP32": "<f4"}[output["datatype"]]).tolist()
            )
        found[output["name"]] = (output["shape"], values)
    return found


def texts(raw: bytes) -> list[str]:
    found = []
    while raw:
        size = struct.unpack_from("<I", raw)[0]
        found.append(raw[4 : 4 + size].decode())
        raw = raw[4 + size :]
    return found


def grpc_request(document: dict[str, Any], raw: bool, model: str = "hand") -> Any:
    contents = {
        "FP64": "fp64_contents",
        "FP32": "fp32_contents",
        "INT64": "int64_contents",
        "BOOL": "bool_contents",
        "BYTES": "bytes_contents",
    }
    inputs, tails = [], []
    for tensor in document["inputs"]:
        values = np.ravel(np.array(tensor["data"], object)).tolist()
        inputs.append({k: tensor[k] for k in ("name", "shape", "datatype")})
        if raw:
            tails.append(b"".join(packed(value, tensor["datatype"]) for value in values))
        else:
            missing: Any = "" if tensor["datatype"] == "BYTES" else NAN
            present = [missing if v is None else v for v in values]
            inputs[-1]["contents"] = {contents[tensor["datatype"]]: [v.encode() if isinstance(v, str) else v for v in present]}
    return messages().ModelInferRequest(
        model_name=model,
        id=document["id"],
        inputs=inputs,
        raw_input_contents=tails,
        outputs=[{"name": o["name"]} for o in document.get("outputs", ())],
    )


def grpc_outputs(response: Any) -> dict[str, tuple[list[int], list[Any]]]:
    found = {}
    for i, output in enumerate(response.outputs):
        if response.raw_output_contents:
            raw = response.raw_output_contents[i]
            values: list[Any] = texts(raw) if output.datatype == "BYTES" else np.frombuffer(raw, "<f8").tolist()
        else:
            values = [v.decode() for v in output.contents.bytes_contents] or list(output.contents.fp64_contents)
        found[output.name] = (list(output.shape), values)
    return found
