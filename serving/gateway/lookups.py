"""What the records know, as JSON: `GET /v1/predictions/ID` and `GET /v1/models/NAME/watermark`. Reads in a thread, writes nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from data.errors import UserError
from serving.gateway.refusal import Refusal
from serving.gateway.routing import Pointer

if TYPE_CHECKING:
    from serving.records import Prediction, Records

_PREDICTION = re.compile(r"/v1/predictions/([0-9a-fA-F-]{1,40})(?:/(\d{1,9}))?")
_WATERMARK = re.compile(r"/v1/models/([^/:]+)/watermark")


class Lookups:
    """The doors of one gateway."""

    def __init__(self, records: Records, pointer: Pointer) -> None:
        self._records, self._pointer = records, pointer

    def find(self, path: str) -> Awaitable[web.Response] | None:
        """The answer to come; None where the path is not of this kind."""
        if asked := _PREDICTION.fullmatch(path):
            return self._answer(lambda: self._prediction(asked[1]))
        if asked := _WATERMARK.fullmatch(path):
            return self._answer(lambda: self._watermark(asked[1]))
        return None

    async def _answer(self, read: Callable[[], dict[str, Any]]) -> web.Response:
        try:
            found = await asyncio.to_thread(read)
        except UserError as error:
            raise Refusal(503, "the records cannot be read now; try again", retry_after_s=1) from error
        return web.Response(body=orjson.dumps(found), content_type="application/json")

    def _prediction(self, prediction_id: str) -> dict[str, Any]:
        found = self._records.find(prediction_id)
        if not found:
            raise Refusal(404, f"no prediction {prediction_id} is known")
        return {
            "prediction_id": found[0].id,
            "workload": found[0].workload,
            "why": f"/why/{found[0].id}",
            "answers": [_answer(one) for one in found],
            "labels": [{"about": one.about, "value": one.value} for one in self._records.labels_of(prediction_id)],
        }

    def _watermark(self, workload: str) -> dict[str, Any]:
        if workload not in self._pointer.routes:
            raise Refusal(404, f"no workload {workload[:100]!r}")
        found = self._records.watermark(workload)
        return {
            "workload": workload,
            "watermark": None if found.time is None else _iso(found.time),
            "labelled": found.labelled,
            "due": found.due,
        }


def _answer(one: Prediction) -> dict[str, Any]:
    binary = int(one.form[3:]) if one.form.startswith("v2/") and one.form[3:].isdigit() else None
    return {
        "role": one.role,
        "version": one.version,
        "status": one.status,
        "at": _iso(one.at),
        "latency_ms": round(one.latency_ms, 3),
        "rows": one.rows,
        "entities": one.entities,
        "request": _document(one.request[:binary]),
        "answer": _document(one.answer),
    }


def _document(body: bytes) -> Any:
    """The JSON that it is; text that is none; None where it is empty (erased, or never there) or raw."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return body.decode() or None
    except UnicodeDecodeError:
        return None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
