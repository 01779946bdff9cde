"""The server under test: its addresses, its model's metadata, and a valid request made from that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from tests.oip.wire import Wire

VALUES: dict[str, Any] = {"BOOL": True, "BYTES": "a"} | {f"FP{n}": 0.5 for n in (16, 32, 64)}
TIME = "2026-01-31T12:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Target:
    """`grpc` is HOST:PORT, or None where the server offers none."""

    url: str
    model: str
    grpc: str | None = None
    told: dict[str, Any] | None = None  # the model's metadata, where the server does not tell of its inputs

    @cached_property
    def wire(self) -> Wire:
        return Wire(self.url)

    @property
    def path(self) -> str:
        return f"/v2/models/{self.model}"

    @cached_property
    def metadata(self) -> dict[str, Any]:
        return self.told or self.wire.ask("GET", self.path).json

    @property
    def version(self) -> str | None:
        return next(iter(self.metadata.get("versions") or []), None)

    def request(self, rows: int = 1) -> dict[str, Any]:
        """A valid request."""
        return {"id": "mine", "inputs": [_tensor(one, rows) for one in self.metadata["inputs"]]}

    def infer(self, document: Any, **headers: str) -> Any:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.wire.ask("POST", f"{self.path}/infer", body, headers)


def _tensor(one: dict[str, Any], rows: int) -> dict[str, Any]:
    shape = [rows if size == -1 else size for size in one["shape"]]
    timed = "ISO 8601" in (one.get("parameters") or {}).get("format", "")
    value = TIME if timed else VALUES.get(one["datatype"], 1)
    return {"name": one["name"], "shape": shape, "datatype": one["datatype"], "data": [value] * prod(shape)}
