"""An answer's body with `parameters.prediction_id` in it, by splicing bytes: parsing and writing it anew would cost more than the gateway.

What is not an answer of the protocol (an error, something else) stays byte for byte. Knows nothing of HTTP.
"""

from __future__ import annotations

import re

import orjson

# `"parameters"` as the last member, holding at most one text: what our model servers write. In JSON that is valid this ending can
# mean nothing else: after `,` or `{` a quote opens a string, and strings hold no bare quotes.
_LAST = re.compile(rb'"parameters":\{(?:"[^"\\]*":"[^"\\]*")?\}\}')
_TAIL = 200  # bytes that are looked at for it
_STALE = b',"stale":true'
_ANSWERS = {"v1": b'"predictions"', "v2": b'"outputs"'}


def stamped(body: bytes, protocol: str, prediction_id: str, *, stale: bool = False) -> bytes:
    """The JSON object `body` with the id (and `stale`, where it is so) among its parameters; as it is where it is no answer of `protocol` ("v1" or "v2")."""
    if _ANSWERS[protocol] not in body:
        return body
    if b'"parameters"' in body:
        return _merged(body, prediction_id, stale)
    end = len(body.rstrip())
    if body[:1] != b"{" or body[end - 1 : end] != b"}":
        return body
    return b'%b,"parameters":{"prediction_id":"%b"%b}}' % (body[: end - 1], prediction_id.encode(), _STALE if stale else b"")


def _merged(body: bytes, prediction_id: str, stale: bool) -> bytes:
    start = body.rfind(b'"parameters":{', max(1, len(body) - _TAIL))
    if start > 0 and body[start - 1] in b",{" and _LAST.fullmatch(body, start) is not None:
        at = start + len(b'"parameters":{')
        comma = b"" if body[at : at + 1] == b"}" else b","
        said = prediction_id.encode() + b'"' + (_STALE if stale else b"")
        return b'%b"prediction_id":"%b%b%b' % (body[:at], said, comma, body[at:])
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if not isinstance(document, dict) or not isinstance(document.get("parameters") or {}, dict):
        return body
    added = {"prediction_id": prediction_id} | ({"stale": True} if stale else {})
    document["parameters"] = (document.get("parameters") or {}) | added
    return orjson.dumps(document)
