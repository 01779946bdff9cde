"""The short ASGI route for inference in front of KServe's application, and the doors that it closes.

KServe's own path costs eight times as much (FastAPI, pydantic bodies, timing middleware, a log line). This one reads the body, has the
request read against the signature, calls the KServe Model and writes the answer; a contract test holds its answers to the stock routes'.
CloudEvents and `:explain` are not offered.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from serving import instance
from serving.inference.bodies import Bodies, Receive
from serving.inference.columns import InvalidRequest
from serving.inference.drain import Drain
from serving.inference.metadata import model_metadata
from serving.inference.refused import CLOSE, FAILED, Refused, again
from serving.inference.turns import Busy, Gone, Late

if TYPE_CHECKING:
    from serving.inference.model import OnnxModel

log = logging.getLogger("aiprime.serving")
Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Proof = Callable[[str], bytes]  # of a number: whose server this is
Infer = Callable[[bytes, dict[bytes, bytes], Receive], Awaitable[tuple[bytes, int | None]]]

JSON = (b"content-type", b"application/json")
BINARY = (b"content-type", b"application/octet-stream")
JSON_LENGTH = b"inference-header-content-length"
OPEN = ("/v1/models", "/v2", "/metrics")  # KServe's application also describes itself, repository endpoints included
_BODY = (b"content-length", b"transfer-encoding")


class InferenceRoute:
    """An ASGI application: POSTs are answered here, the rest by `app` (KServe's), under one error shape."""

    def __init__(self, app: Any, model: OnnxModel, drain: Drain, bodies: Bodies, proof: Proof | None = None) -> None:
        self._app, self._model, self._drain, self._bodies, self._proof = app, model, drain, bodies, proof
        v2, version = f"/v2/models/{model.name}", model.version
        metadata = orjson.dumps(model_metadata(model.signature, model.name, version))
        self._infer: dict[str, Infer] = {
            f"/v1/models/{model.name}:predict": self._v1,
            f"{v2}/infer": self._v2,
        }
        self._metadata = {v2: metadata}
        self._aliases: dict[str, str] = {}
        if version is not None:
            self._infer[f"{v2}/versions/{version}/infer"] = self._v2
            self._metadata[f"{v2}/versions/{version}"] = metadata
            self._aliases[f"{v2}/versions/{version}/ready"] = f"{v2}/ready"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            if scope["method"] == "POST":
                await self._answer(scope, receive, send)
            else:
                await self._read_only(scope, receive, send)
        except InvalidRequest as error:
            await self._error(send, 400, str(error))
        except Refused as refused:
            await self._refuse(refused, receive, send)
        except Gone:
            return
        except Exception:
            log.exception("a request failed")
            await self._error(send, 500, FAILED)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if b"expect" in headers and self._bodies.states_too_much(headers):
            raise self._bodies.too_large()  # the sender asks first, and asking for the body would send it
        body = await self._bodies.read(receive, headers)
        if body is None:
            raise Gone
        if (infer := self._infer.get(scope["path"])) is None:
            raise Refused(404, self._unknown(scope))
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refused(415, "content-encoding is not supported; send the body as it is")
        try:
            answer, json_length = await infer(body, headers, receive)
        except Busy as busy:
            raise Refused(429, str(busy), again(busy.again_s)) from None
        except Late as late:
            raise Refused(504, str(late)) from None
        start = [JSON if json_length is None else BINARY, (b"content-length", b"%d" % len(answer))]
        if json_length is not None:
            start.append((JSON_LENGTH, b"%d" % json_length))
        if self._drain.leaving:
            start.append(CLOSE)
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await send({"type": "http.response.body", "body": answer})

    async def _v2(self, body: bytes, headers: dict[bytes, bytes], receive: Receive) -> tuple[bytes, int | None]:
        batch = self._model.requests.v2(body, headers.get(JSON_LENGTH))
        if batch.row is None:
            batch.gone = partial(_disconnected, receive)
        results, _ = await self._model(batch)
        return self._model.answers.v2(results, batch)

    async def _v1(self, body: bytes, headers: dict[bytes, bytes], receive: Receive) -> tuple[bytes, int | None]:
        batch = self._model.requests.v1(body)
        if batch.row is None:
            batch.gone = partial(_disconnected, receive)
        answer, _ = await self._model(batch)
        return orjson.dumps(answer), None

    async def _read_only(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if any(name in _BODY for name, _ in scope["headers"]):  # it means nothing, and must not stay on the connection
            await self._bodies.read(receive, dict(scope["headers"]))
        if scope["method"] not in ("GET", "HEAD"):
            raise Refused(405, f"{scope['method']} is not offered here")
        if (metadata := self._metadata.get(path)) is not None:
            await self._send(send, 200, metadata)
            return
        if self._proof is not None and path.startswith(instance.PATH):
            await self._prove(send, self._proof(path[len(instance.PATH) :]))
            return
        if not path.startswith(OPEN) and path != "/":
            raise Refused(404, self._unknown(scope))
        if path.startswith(f"/v2/models/{self._model.name}/versions/"):
            if (path := self._aliases.get(path, "")) == "":
                raise Refused(404, self._unknown(scope))
            scope = scope | {"path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)

    async def _prove(self, send: Send, proof: bytes) -> None:
        """The proof; a server that is leaving keeps the connection: what follows on it is answered still."""
        start = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(proof))]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await send({"type": "http.response.body", "body": proof})

    def _unknown(self, scope: Scope) -> str:
        path = scope["path"]
        if path.startswith("/v2/repository/"):
            return "models are not loaded or unloaded over the network; each version has a server of its own"
        return f"nothing is offered at {path[:120]!r}; this server answers for model {self._model.name!r}" + (
            f", version {self._model.version!r}" if self._model.version is not None else ""
        )

    async def _refuse(self, refused: Refused, receive: Receive, send: Send) -> None:
        if not refused.unread:
            await self._error(send, refused.status, str(refused), *refused.headers)
            return
        body = orjson.dumps({"error": str(refused)})
        start = [JSON, (b"content-length", b"%d" % len(body)), *refused.headers]
        await send({"type": "http.response.start", "status": refused.status, "headers": start})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await self._bodies.discard(receive)
        await send({"type": "http.response.body", "body": b""})

    async def _error(self, send: Send, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        await self._send(send, status, orjson.dumps({"error": message.encode("utf-8", "replace").decode()}), *headers)

    async def _send(self, send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        start = [JSON, (b"content-length", b"%d" % len(body)), *headers]
        if self._drain.leaving and CLOSE not in headers:
            start.append(CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": start})
        await send({"type": "http.response.body", "body": body})


async def _disconnected(receive: Receive) -> None:
    """Returns when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
