"""Clients' requests as they are sent on, and tries as clients see them: untouched but for what HTTP asks of a proxy, and the id."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web
from multidict import CIMultiDict

from serving.gateway import ids
from serving.gateway.answered import Answered
from serving.gateway.bodies import Bodies
from serving.gateway.completion import STALE_HEADER
from serving.gateway.refusal import Refusal
from serving.gateway.stamp import stamped
from serving.gateway.tries import Asked, Try

VERSION_HEADER = "x-aiprime-model-version"
# RFC 9110, 7.6.1: meant for one connection. The lengths and the host are written anew; Expect was answered by us.
_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade".split()
)
_OWN_REQUEST = _HOP | {b"host", b"content-length", b"expect"}
_OWN_RESPONSE = _HOP | {b"content-length", b"date", b"server"}
_JSON_LENGTH = b"inference-header-content-length"  # of the protocol's binary extension


async def read(bodies: Bodies, request: web.BaseRequest, line: str, protocol: str | None, limit: int) -> Asked:
    """The request, whole; Refusal where its body may not come in."""
    body = await bodies.read(request, limit)
    headers, json_length = _forwarded(request.raw_headers)
    return Asked(line=line, protocol=protocol, body=body, headers=headers, json_length=json_length)


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], str | None]:
    """What goes on, and the length of a binary request's JSON."""
    kept, named, json_length = [], set(), None
    for header in headers:
        lower = header[0].lower()
        if lower not in _OWN_REQUEST:
            kept.append(header)
            if lower == _JSON_LENGTH:
                json_length = header[1].decode("latin-1")
        elif lower == b"connection":
            named |= {word.strip() for word in header[1].lower().split(b",")}
    return [one for one in kept if one[0].lower() not in named] if named else kept, json_length


def written(tried: Try, protocol: str | None = None, prediction_id: str | None = None) -> web.Response | Answered:
    """The try as its client sees it; an inference's (of `protocol`) carries its id."""
    if tried.answer is None:
        response = _unanswered(tried).response()
        if prediction_id is not None:
            response.headers[ids.HEADER] = prediction_id
        return response
    status, found, body = tried.answer
    own = tried.sent.notes | {VERSION_HEADER: tried.route.version or ""}
    if prediction_id is not None:
        own[ids.HEADER] = prediction_id
    kept, json_length, typed = [], None, False
    for header in found:
        lower = header[0].lower()
        if lower == _JSON_LENGTH:
            json_length = header[1]
        elif lower not in _OWN_RESPONSE:
            kept.append(header)
            typed = typed or lower == b"content-type"
    if prediction_id is not None and protocol is not None and status == 200:
        body, json_length = _stamped(body, json_length, protocol, prediction_id, STALE_HEADER in tried.sent.notes)
    if json_length is not None:
        kept.append((b"Inference-Header-Content-Length", json_length))
    if prediction_id is not None and status == 200 and typed:
        return Answered(own, kept, body)
    headers = CIMultiDict(own)
    for name, value in kept:
        headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return web.Response(status=status, headers=headers, body=body)


def _stamped(
    body: bytes, json_length: bytes | None, protocol: str, prediction_id: str, stale: bool
) -> tuple[bytes, bytes | None]:
    """The body with its id, and the length of its JSON where raw tensors follow that."""
    if json_length is None:
        return stamped(body, protocol, prediction_id, stale=stale), None
    if not json_length.isdigit():
        return body, json_length
    head = stamped(body[: int(json_length)], protocol, prediction_id, stale=stale)
    return head + body[int(json_length) :], b"%d" % len(head)


def _unanswered(tried: Try) -> Refusal:
    workload = tried.route.workload
    if tried.stranger:
        return Refusal(503, f"{workload}: what listens in its model server's place does not prove to be it", retry_after_s=1)
    if tried.lost:
        return Refusal(503, f"{workload}: the model server does not answer", retry_after_s=1)
    return Refusal(504, f"{workload}: the model server took longer than {tried.route.timeout_s} s")
