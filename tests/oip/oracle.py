"""Whether an inference request is valid, judged from the model's metadata alone: written apart from any server, to be held against them.

Python's own JSON reader, the slow and plain way. What the protocol leaves open and our corpus does not settle is `None`: either will do.
"""

from __future__ import annotations

import json
import math
from typing import Any

DEPTH = 32
INTEGERS = {
    f"{sign}INT{bits}": (0 if sign else -(2 ** (bits - 1)), 2 ** (bits if sign else bits - 1))
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}
LARGEST = {"FP16": 65504.0, "FP32": 3.4028235677973366e38, "FP64": math.inf}


class Wrong(ValueError):
    """Why a request is not valid."""


def valid(body: bytes, metadata: dict[str, Any]) -> bool:
    """Whether the body is a valid request for the model."""
    try:
        document = _strict(body)
        _request(document, metadata)
    except (Wrong, ValueError, RecursionError):
        return False
    return True


def _need(condition: object, why: str) -> None:
    if not condition:
        raise Wrong(why)


def _strict(body: bytes) -> Any:
    text = body.decode("utf-8")
    _need(not text.startswith("\ufeff"), "a byte order mark")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _need(len(dict(pairs)) == len(pairs), "a key twice")
        return dict(pairs)

    def finite(digits: str) -> float:
        _need(math.isfinite(number := float(digits)), "no finite number")
        return number

    def never(_: str) -> None:
        raise Wrong("NaN or Infinity")

    document = json.loads(
        text,
        object_pairs_hook=once,
        parse_float=finite,
        parse_constant=never,
        parse_int=lambda d: finite(d) and int(d) if len(d) > 19 else int(d),
    )
    _walk(document, 1)
    return document


def _walk(value: Any, depth: int) -> None:
    if isinstance(value, str):
        value.encode("utf-8")  # a lone surrogate has no UTF-8
    elif isinstance(value, (dict, list)):
        _need(depth <= DEPTH, "too deep")
        for key in value if isinstance(value, dict) else ():
            key.encode("utf-8")
        for inner in value.values() if isinstance(value, dict) else value:
            _walk(inner, depth + 1)


def _request(document: Any, metadata: dict[str, Any]) -> None:
    _need(isinstance(document, dict) and isinstance(document.get("inputs"), list), "no inputs")
    _need(isinstance(document.get("id"), str | None), "id is no text")
    _parameters(document, ("binary_data_output",))
    wanted = document.get("outputs")
    if wanted is not None:
        _need(isinstance(wanted, list), "outputs is no list")
        _need(all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in wanted), "an output without a name")
        names = [one["name"] for one in wanted]
        _need(
            set(names) <= {one["name"] for one in metadata["outputs"]} and len(set(names)) == len(names),
            "an output that is not there",
        )
        for one in wanted:
            _parameters(one, ("binary_data",))
    known = {one["name"]: one for one in metadata["inputs"]}
    seen: dict[str, int] = {}
    for tensor in document["inputs"]:
        _need(
            isinstance(tensor, dict) and isinstance(tensor.get("name"), str) and tensor["name"] in known,
            "an input that is not there",
        )
        _need(tensor["name"] not in seen, "an input twice")
        seen[tensor["name"]] = _input(tensor, known[tensor["name"]])
    _need(seen.keys() == known.keys(), "an input is missing")
    _need(len(set(seen.values())) == 1, "rows differ")


def _parameters(of: dict[str, Any], flags: tuple[str, ...]) -> None:
    found = of.get("parameters")
    _need(found is None or isinstance(found, dict), "parameters is no object")
    for flag in flags:
        _need(type((found or {}).get(flag)) in (bool, type(None)), "a flag that is none")


def _input(tensor: dict[str, Any], stated: dict[str, Any]) -> int:
    _need(tensor.get("datatype") == stated["datatype"] and isinstance(tensor["datatype"], str), "another datatype")
    shape = tensor.get("shape")
    _need(isinstance(shape, list) and shape and all(type(size) is int for size in shape), "no shape")
    fits = len(shape) == len(stated["shape"]) and all(
        want in (-1, size) for size, want in zip(shape, stated["shape"], strict=True)
    )
    scalar = len(stated["shape"]) == 1 and len(shape) == 2 and shape[1] == 1  # a column as [N, 1]
    _need((fits or scalar) and shape[0] >= 1, "another shape")
    _parameters(tensor, ())
    _need(
        "binary_data_size" not in (tensor.get("parameters") or {}) or tensor["parameters"]["binary_data_size"] is None,
        "binary data that is not there",
    )
    data = tensor.get("data")
    _need(isinstance(data, list), "data is no list")
    if data and isinstance(data[0], list):
        data = _flat(data, shape)
    _need(not any(isinstance(one, list | dict) for one in data) and len(data) == math.prod(shape), "another number of values")
    nullable = (stated.get("parameters") or {}).get("nullable", False)
    for value in data:
        _value(value, stated, nullable=nullable)
    return shape[0]


def _flat(data: Any, shape: list[int]) -> list[Any]:
    _need(isinstance(data, list) and len(data) == shape[0], "not nested as the shape says")
    return data if len(shape) == 1 else [one for part in data for one in _flat(part, shape[1:])]


def _value(value: Any, stated: dict[str, Any], *, nullable: bool) -> None:
    datatype = stated["datatype"]
    if value is None:
        _need(nullable, "null")
    elif datatype in LARGEST:
        _need(type(value) in (int, float) and math.isfinite(value) and abs(value) < LARGEST[datatype], "no finite number")
    elif datatype in INTEGERS:
        low, high = INTEGERS[datatype]
        _need(type(value) is int and low <= value < high, "no whole number that fits")
    elif datatype == "BOOL":
        _need(type(value) is bool, "neither true nor false")
    else:
        _need(isinstance(value, str), "no text")
