"""Proxying: a request to the champion's server and its answer back, untouched but for what HTTP asks of a proxy.

A request that meets a closed connection or a server that is gone is sent once more, to wherever the pointer then leads: inference
has no effects, so asking twice is asking once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDict

from serving.gateway.completion import Completion
from serving.gateway.refusal import Refusal
from serving.gateway.routing import Pointer
from serving.gateway.telemetry import Telemetry
from serving.gateway.upstream import Answer
from serving.routes import Route

log = logging.getLogger("aiprime.gateway")
VERSION_HEADER = "x-aiprime-model-version"
_BODY_S = 30  # a client that takes longer to send its request is not waited for
# RFC 9110, 7.6.1: meant for one connection. The lengths and the host are written anew; Expect was answered by us.
_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade".split()
)
_OWN_REQUEST = _HOP | {b"host", b"content-length", b"expect"}
_OWN_RESPONSE = _HOP | {b"content-length", b"date", b"server"}


@dataclass(frozen=True)
class Call:
    """What may be asked of a workload's server; `instances` is "v1" or "v2" where the body holds some."""

    line: str  # with {} for the workload
    instances: str | None = None


class Inference:
    """The handlers that reach model servers."""

    def __init__(self, pointer: Pointer, completion: Completion, telemetry: Telemetry) -> None:
        self._pointer, self._completion, self._telemetry = pointer, completion, telemetry

    async def handle(self, request: web.BaseRequest, call: Call, workload: str) -> web.Response:
        """Answer one request for a workload; every refusal is counted like an answer. Refusal where there is no such workload."""
        started = time.perf_counter()
        route = self._route(workload)
        try:
            response = await self._answer(request, call, workload, route.max_body_mb << 20)
        except Refusal as refusal:
            response = refusal.response()
        version = response.headers.get(VERSION_HEADER, "")
        self._telemetry.count(workload, version, response.status, time.perf_counter() - started)
        return response

    async def _answer(self, request: web.BaseRequest, call: Call, workload: str, limit: int) -> web.Response:
        body = await _body(request, limit)
        headers = _forwarded(request.raw_headers)
        try:
            return await self._ask(self._route(workload), call, body, headers, request)
        except OSError:  # the server is gone, or closed a pooled connection at this moment
            self._pointer.refresh()
        route = self._route(workload)
        try:
            return await self._ask(route, call, body, headers, request, fresh=True)
        except OSError as error:
            log.warning("%s: %s does not answer: %s", workload, route.server, error)
            raise Refusal(503, f"{workload}: the model server does not answer", retry_after_s=1) from error

    async def _ask(
        self,
        route: Route,
        call: Call,
        body: bytes,
        headers: list[tuple[bytes, bytes]],
        request: web.BaseRequest,
        *,
        fresh: bool = False,
    ) -> web.Response:
        """One try. Nothing is awaited between the route's reading and its server's count: a drained server gets no more."""
        server = self._pointer.take(route)
        try:
            notes: dict[str, str] = {}
            if call.instances is not None and self._completion.needed(route):
                body, notes = await self._completion.complete(route, call.instances, body, request.headers)
            line = call.line.format(route.workload).encode()
            answer = await server.request(line, headers, body, deadline_s=route.timeout_s, fresh=fresh)
        except TimeoutError:
            raise Refusal(504, f"{route.workload}: the model server took longer than {route.timeout_s} s") from None
        finally:
            self._pointer.give_back(server)
        return _response(answer, route, notes)

    def _route(self, workload: str) -> Route:
        route = self._pointer.routes.get(workload)
        if route is None:
            raise Refusal(404, f"no workload {workload[:100]!r}")
        if route.url is None:
            raise Refusal(503, f"{workload} has no champion yet: nothing of it may serve", retry_after_s=10)
        return route


async def _body(request: web.BaseRequest, limit: int) -> bytes:
    """The request's whole body; Refusal where it is longer than `limit` bytes or takes too long to come."""
    if (request.content_length or 0) > limit:
        raise Refusal(413, f"the body is larger than {limit >> 20} MB")
    if request.content.is_eof() and request.content_length is not None:
        return await request.content.read()
    parts, size = [], 0
    try:
        async with asyncio.timeout(_BODY_S):
            while part := await request.content.readany():
                size += len(part)
                if size > limit:
                    raise Refusal(413, f"the body is larger than {limit >> 20} MB")
                parts.append(part)
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {_BODY_S} s") from None
    return b"".join(parts)


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    kept, named = [], set()
    for header in headers:
        lower = header[0].lower()
        if lower not in _OWN_REQUEST:
            kept.append(header)
        elif lower == b"connection":
            named |= {word.strip() for word in header[1].lower().split(b",")}
    return [one for one in kept if one[0].lower() not in named] if named else kept


def _response(answer: Answer, route: Route, notes: dict[str, str]) -> web.Response:
    headers: CIMultiDict[str] = CIMultiDict(notes)
    headers[VERSION_HEADER] = route.version or ""
    for name, value in answer.headers:
        if name.lower() not in _OWN_RESPONSE:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return web.Response(status=answer.status, headers=headers, body=answer.body)
