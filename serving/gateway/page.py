"""`GET /` for a client: the workloads that answer, each with a curl line that works. What a browser gets is `pages`'."""

from __future__ import annotations

import json
import shlex
import sqlite3
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from serving.gateway.completion import Completion
from serving.gateway.routing import Pointer
from serving.routes import Route
from training.signature import Input, Signature


def front(request: web.BaseRequest, pointer: Pointer, completion: Completion) -> web.Response:
    """The list."""
    base = f"http://{request.host}"
    workloads = [_shown(route, base, completion) for _, route in sorted(pointer.routes.items())]
    return web.json_response({"workloads": workloads})


def curl_line(route: Route, base: str, completion: Completion) -> str:
    """A command that asks the workload at `base`; empty where nothing is served."""
    return _shown(route, base, completion).get("curl", "")


def _shown(route: Route, base: str, completion: Completion) -> dict[str, Any]:
    signature = completion.signature(route)
    url = f"{base}/v1/models/{route.workload}:predict"
    shown = {"workload": route.workload, "version": route.version, "task": "", "url": url, "curl": "nothing is served yet"}
    if signature is None or route.url is None:
        return shown
    body = json.dumps({"instances": [_example(route, signature, completion)]}, ensure_ascii=False)
    curl = f"curl -s {url} -H 'content-type: application/json' -d {shlex.quote(body)}"
    return shown | {"task": signature.task, "curl": curl}


def _example(route: Route, signature: Signature, completion: Completion) -> dict[str, Any]:
    """The shortest request that is answered; plain values stand for what it must bring itself."""
    filled_in = {*signature.stored, signature.time} if signature.stored else set()
    example = {column.name: _plain(column) for column in signature.inputs if column.name not in filled_in}
    if signature.entity is not None and signature.stored:
        try:
            entity = completion.store(route.workload).any_entity()
        except (OSError, ValueError, sqlite3.Error):
            entity = None
        example = {signature.entity: entity} | example
    return example


def _plain(column: Input) -> Any:
    if column.kind == "image":
        height, *rest = column.shape
        row: Any = 0.0
        for size in (*reversed(rest), height):
            row = [row] * size
        return row
    now = datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    return {"number": 0.0, "integer": 0, "boolean": False, "category": "", "time": now}[column.kind]
