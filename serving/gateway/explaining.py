"""`GET /why/ID` (a page, JSON, or an export) and KServe's `POST /v1/models/NAME:explain`. Off the way of predictions: reads run in a thread,
explanations in a process of their own, a few at most wait and the rest is turned away (429).

KServe's v1 protocol for explainers: the body of `:predict`, answered by `{"predictions": [...], "explanations": [...]}`. What is explained is a
prediction like any other: it has an id, is kept, and takes its part in a rollout.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from aiohttp import web

from data.errors import UserError
from serving.explainer import Busy, Explainer, Late
from serving.gateway.answered import Answered
from serving.gateway.inference import Call, Inference
from serving.gateway.pages import why as pages
from serving.gateway.pages.markup import HEADERS
from serving.gateway.refusal import Refusal
from serving.ledger import Ledger

if TYPE_CHECKING:
    from serving.gateway.tries import Asked
    from serving.records import Records
    from serving.records.prediction import Prediction
    from serving.why import Why

log = logging.getLogger("aiprime.explain")
MOST_ROWS = 8  # of one `:explain`
_WHY = re.compile(r"/why/([0-9a-fA-F-]{1,40})(?:/(\d{1,9}))?")
_EXPLAIN = re.compile(r"/v1/models/([^/:]+):explain")
_PREDICT = Call("POST /v1/models/{}:predict", "v1")
_ROLES = ("champion", "challenger", "shadow")
_EXPORTS = {
    "prov-json": "application/json",
    "prov-n": "text/provenance-notation; charset=utf-8",
    "openlineage": "application/json",
}
_AGAIN_S = 2
T = TypeVar("T")


class Explaining:
    """The doors of one gateway."""

    def __init__(self, home: Path, records: Records, inference: Inference) -> None:
        self._home, self._records = home, records
        self._inference, self._explainer = inference, Explainer(home)
        self._turn = asyncio.Lock()  # one walk at a time: it hashes a model's files

    @cached_property
    def _why(self) -> Why:
        from serving.why import Why  # numpy, which a gateway that only passes on does without

        return Why(home=self._home, ledger=Ledger.at(self._home), records=self._records)

    def find(self, request: web.BaseRequest) -> Awaitable[web.Response | Answered] | None:
        """The answer to come; None where the URL is none of these. Refusal 405 for another method."""
        path = request.rel_url.raw_path
        if asked := _EXPLAIN.fullmatch(path):
            _allow(request, "POST")
            return self._explain(request, asked[1])
        if asked := _WHY.fullmatch(path):
            _allow(request, "GET", "HEAD")
            return self._shown(request, asked[1], int(asked[2]) if asked[2] else None)
        return None

    async def close(self) -> None:
        """End the process that explains."""
        await self._explainer.close()

    async def _shown(self, request: web.BaseRequest, prediction_id: str, row: int | None) -> web.Response:
        from serving.why import plain

        query = request.rel_url.query
        role, kind = _one_of(query.get("role"), _ROLES, "role"), _one_of(query.get("as"), _EXPORTS, "as")
        asked = prediction_id if row is None else f"{prediction_id}/{row}"
        walk = await self._read(lambda: self._why.walk(asked, role))
        if kind is not None:
            with self._place():
                document = await self._bounded(
                    self._explainer.export(orjson.loads(orjson.dumps(plain(walk), default=str)), kind)
                )
            return web.Response(body=document.encode("utf-8", "replace"), headers={"Content-Type": _EXPORTS[kind], **_PLAIN})
        browser = "text/html" in request.headers.get("accept", "")
        explanation, unexplained, refused = None, walk.unexplained, None
        if "explain" in query and walk.question is not None:
            try:
                with self._place():
                    explanation = await self._bounded(self._explainer.explain(walk.question, query.get("of")))
            except UserError as error:
                unexplained = error.what
            except Refusal as refusal:  # the rest of the answer is given all the same
                unexplained, refused = refusal.what, refusal
        status, headers = (200, {}) if refused is None else (refused.status, refused.headers)
        if browser:
            body = pages.page(walk, explanation, unexplained).encode("utf-8", "replace")
            return web.Response(
                status=status, body=body, headers={"Content-Type": "text/html; charset=utf-8", **HEADERS, **headers}
            )
        told = plain(walk, explanation) | {"unexplained": unexplained} | ({} if refused is None else {"error": refused.what})
        return web.Response(
            status=status, body=orjson.dumps(told, default=str), content_type="application/json", headers=headers
        )

    async def _explain(self, request: web.BaseRequest, workload: str) -> web.Response | Answered:
        route = self._inference.route(workload)
        asked = await self._inference.read(request, _PREDICT, route)
        _bound(asked.body)
        with self._place():  # for all of its rows, before anything is predicted
            return await self._predicted(asked, workload)

    async def _predicted(self, asked: Asked, workload: str) -> web.Response | Answered:
        """Prediction and explanations. The prediction is kept by then, so where it cannot be explained it is told beside the refusal."""
        response, record = await self._inference.answered(asked, workload)
        document = orjson.loads(record.answer) if record.status == 200 else None
        if not isinstance(document, dict) or "predictions" not in document:
            return response
        predictions = document["predictions"]
        given = {"predictions": predictions, "parameters": {"prediction_id": record.id, "model_version": record.version}}
        kept = {name: value for name, value in response.headers.items() if name.lower().startswith("x-aiprime-")}
        try:
            explanations = [await self._explained(record, row) for row in range(len(predictions))]
        except Refusal as refusal:
            told = Refusal(refusal.status, refusal.what, retry_after_s=refusal.retry_after_s, more=given).response()
            told.headers.update(kept)
            return told
        body = orjson.dumps(given | {"explanations": explanations})
        return web.Response(body=body, content_type="application/json", headers=kept)

    async def _explained(self, record: Prediction, row: int) -> dict[str, Any]:
        """One row's explanation; Refusal where there is none."""
        question, unexplained = await self._read(lambda: self._why.question(record, row))
        try:
            if question is not None:
                return await self._bounded(self._explainer.explain(question))
        except UserError as error:
            unexplained = error.what
        raise Refusal(409, f"{record.workload}: this answer cannot be explained: {unexplained}")

    @contextmanager
    def _place(self) -> Iterator[None]:
        """A place with the process that explains; Refusal where none is left."""
        try:
            with self._explainer.place():
                yield
        except Busy:
            raise Refusal(429, "other answers are being explained; ask again", retry_after_s=_AGAIN_S) from None

    async def _bounded(self, asked: Awaitable[T]) -> T:
        """What the process answers, its refusals as HTTP has them. UserError passes."""
        try:
            return await asked
        except Late:
            raise Refusal(504, "the explanation took too long and was given up") from None
        except RuntimeError as error:
            log.error("an explanation failed: %s", error)
            raise Refusal(500, "the explanation failed; the gateway's log says why") from error

    async def _read(self, read: Callable[[], T]) -> T:
        async with self._turn:
            try:
                return await asyncio.to_thread(read)
            except UserError as error:
                unreadable = error.__cause__ is not None  # a database; what is not known is nobody's fault
                if unreadable:
                    raise Refusal(503, "the ledger or the records cannot be read now; try again", retry_after_s=1) from error
                raise Refusal(404, error.what) from error


_PLAIN = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def _bound(body: bytes) -> None:
    """Refuse more rows than are explained at once. What is no request at all the model server refuses better."""
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    rows = found.get("instances") if isinstance(found, Mapping) else None
    if isinstance(rows, list) and len(rows) > MOST_ROWS:
        raise Refusal(413, f"{len(rows)} instances: at most {MOST_ROWS} are explained at once")


def _one_of(value: str | None, known: Any, name: str) -> str | None:
    if value is not None and value not in known:
        raise Refusal(400, f"{name} is {value[:40]!r}; expected one of: {', '.join(known)}")
    return value


def _allow(request: web.BaseRequest, *methods: str) -> None:
    if request.method not in methods:
        what = f"{request.method} is not offered at {request.rel_url.raw_path[:200]}; use {methods[0]}"
        raise Refusal(405, what, allow=methods[0])
