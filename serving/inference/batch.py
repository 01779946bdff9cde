"""A batch of rows on its way to the graph, and what a v2 request says beside its tensors: id, wanted outputs, binary or not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving import strict_json
from serving.inference.columns import InvalidRequest, described, shown

LABEL = "label"  # the output that the server adds for classification


@dataclass(slots=True)
class Batch:
    """Rows ready for the graph: either `row` (one row's values, flat, in input order) or `feeds` (tensors by the graph's names)."""

    rows: int
    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    row: Sequence[Any] | None = None
    id: str | None = None
    wanted: list[tuple[str, bool | None]] | None = None  # the outputs asked for, each with its own `binary_data`
    binary: bool = False  # v2's binary_data_output; over gRPC: raw contents, as the request had
    protocol: str = "v2"  # v1, v2, or the KServe type that must be answered in kind: rest, grpc
    version: str | None = None  # that the request names
    gone: Callable[[], Awaitable[None]] | None = None  # returns when nobody waits for the answer any more


def read_options(document: dict[str, Any], batch: Batch, known: Sequence[str]) -> None:
    """`id`, `parameters` and `outputs` of a v2 request into `batch`; `known` are the outputs that there are."""
    batch.id = document.get("id")
    if batch.id is not None and type(batch.id) is not str:
        raise InvalidRequest(f"id is {described(batch.id)}; expected text")
    batch.binary = _flag(parameters(document, ""), "binary_data_output", "") or False
    outputs = document.get("outputs")
    if outputs is None:
        return
    if type(outputs) is not list or any(type(o) is not dict or type(o.get("name")) is not str for o in outputs):
        raise InvalidRequest("outputs: expected a list of objects with a name")
    batch.wanted = [
        (o["name"], _flag(parameters(o, "outputs: "), "binary_data", f"output {o['name']!r}: ")) for o in outputs
    ] or None
    check_wanted(batch.wanted, known)


def check_wanted(wanted: list[tuple[str, bool | None]] | None, known: Sequence[str]) -> None:
    """Refuse outputs that there are not, and those asked for twice."""
    names = [name for name, _ in wanted or ()]
    for name in names:
        if name not in known:
            raise InvalidRequest(f"unknown output {shown(name)}; expected of {', '.join(known)}")
    if len(set(names)) != len(names):
        raise InvalidRequest("outputs: a name is given twice; expected once")


def parameters(of: dict[str, Any], where: str) -> dict[str, Any]:
    """The `parameters` of a request, an input or an output; empty where there are none."""
    found = of.get("parameters")
    if found is not None and type(found) is not dict:
        raise InvalidRequest(f"{where}parameters is {described(found)}; expected an object")
    return found or {}


def _flag(found: dict[str, Any], key: str, where: str) -> bool | None:
    value = found.get(key)
    if value is not None and type(value) is not bool:
        raise InvalidRequest(f"{where}{key} is {described(value)}; expected true or false")
    return value


def parsed(body: bytes | bytearray | memoryview) -> Any:
    """The JSON of a body; InvalidRequest where it may not come in (serving/strict_json.py)."""
    try:
        return strict_json.parsed(body)
    except strict_json.NotStrict as error:
        raise InvalidRequest(str(error)) from None
