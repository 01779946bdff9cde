"""The short ASGI route for inference in front of KServe's application, and the doors that it closes.

KServe's own path costs eight times as much (FastAPI, pydantic bodies, timing middleware, a log line). This one reads the body, has the
request read against the signature, calls the KServe Model and writes the answer; a contract test holds its answers to the stock routes'.
CloudEvents and `:explain` are not offered.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson

from serving.inference.columns import InvalidRequest
from serving.inference.drain import Drain
from serving.inference.metadata import model_metadata
from serving.inference.patience import GaveUp, Patience

if TYPE_CHECKING:
    from serving.inference.model import OnnxModel

log = logging.getLogger("aiprime.serving")
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

JSON = (b"content-type", b"application/json")
BINARY = (b"content-type", b"application/octet-stream")
CLOSE = (b"connection", b"close")
JSON_LENGTH = b"inference-header-content-length"
OPEN = ("/v1/models", "/v2", "/metrics")  # KServe's application also describes itself, repository endpoints included
DISCARDED = 256 << 20  # bytes of a too large body that are read and thrown away, so that its sender sees the 413


class Refused(Exception):
    """A request that ends here: its status, and a message that a client may read."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


class InferenceRoute:
    """An ASGI application: POSTs are answered here, the rest by `app` (KServe's), under one error shape."""

    def __init__(self, app: Any, model: OnnxModel, drain: Drain, patience: Patience, body_limit: int) -> None:
        self._app, self._model, self._drain = app, model, drain
        self._patience, self._limit = patience, body_limit
        v2, version = f"/v2/models/{model.name}", model.version
        metadata = orjson.dumps(model_metadata(model.signature, model.name, version))
        self._infer: dict[str, Callable[..., Awaitable[tuple[bytes, int | None]]]] = {
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
                if (infer := self._infer.get(scope["path"])) is None:
                    raise Refused(404, self._unknown(scope))
                await self._answer(infer, scope, receive, send)
            else:
                await self._read_only(scope, receive, send)
        except InvalidRequest as error:
            await self._error(send, 400, str(error))
        except GaveUp:
            await self._error(send, 408, f"the body did not come for {self._patience.seconds:g} s", CLOSE)
        except Refused as refused:
            await self._error(send, refused.status, str(refused), *refused.headers)

    async def _answer(
        self, infer: Callable[..., Awaitable[tuple[bytes, int | None]]], scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = dict(scope["headers"])
        if b"expect" in headers and self._stated(headers) > self._limit:
            raise self._too_large()  # the sender asks first, and asking for the body would send it
        message = await self._patience.receive(receive)
        body = message.get("body", b"")
        if message.get("more_body") or len(body) > self._limit:
            body = await self._whole(body, message, headers, receive)
        if message["type"] == "http.disconnect":
            return
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refused(415, "content-encoding is not supported; send the body as it is")
        try:
            answer, json_length = await infer(body, headers)
        except InvalidRequest:
            raise
        except Exception:
            log.exception("a request failed")
            raise Refused(500, "the model failed on this request; the server's log says why") from None
        start = [JSON if json_length is None else BINARY, (b"content-length", b"%d" % len(answer))]
        if json_length is not None:
            start.append((JSON_LENGTH, b"%d" % json_length))
        if self._drain.leaving:
            start.append(CLOSE)
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await send({"type": "http.response.body", "body": answer})

    async def _v2(self, body: bytes, headers: dict[bytes, bytes]) -> tuple[bytes, int | None]:
        batch = self._model.requests.v2(body, headers.get(JSON_LENGTH))
        results, _ = await self._model(batch)
        return self._model.answers.v2(results, batch)

    async def _v1(self, body: bytes, headers: dict[bytes, bytes]) -> tuple[bytes, int | None]:
        answer, _ = await self._model(self._model.requests.v1(body))
        return orjson.dumps(answer), None

    async def _whole(self, body: bytes, message: dict[str, Any], headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The rest of a body that comes in parts; 413 past the limit, 408 where it stops coming."""
        too_large = len(body) > self._limit or self._stated(headers) > self._limit
        parts, length = [body], len(body)
        while message.get("more_body"):
            message = await self._patience.receive(receive)
            if message["type"] == "http.disconnect":
                return b""
            length += len(message.get("body", b""))
            too_large = too_large or length > self._limit
            if length > self._limit + DISCARDED:
                break
            if too_large:
                parts.clear()
            else:
                parts.append(message["body"])
        if too_large:
            raise self._too_large()
        return b"".join(parts)

    @staticmethod
    def _stated(headers: dict[bytes, bytes]) -> int:
        return int(headers.get(b"content-length", b"0"))  # httptools lets only numbers through

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {self._limit} bytes; send fewer rows at a time", CLOSE)

    async def _read_only(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            raise Refused(405, f"{scope['method']} is not offered here")
        if (metadata := self._metadata.get(path)) is not None:
            await self._send(send, 200, metadata)
            return
        if not path.startswith(OPEN) and path != "/":
            raise Refused(404, self._unknown(scope))
        if path.startswith(f"/v2/models/{self._model.name}/versions/"):
            if (path := self._aliases.get(path, "")) == "":
                raise Refused(404, self._unknown(scope))
            scope = scope | {"path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)

    def _unknown(self, scope: Scope) -> str:
        path = scope["path"]
        if path.startswith("/v2/repository/"):
            return "models are not loaded or unloaded over the network; each version has a server of its own"
        return f"nothing is offered at {path[:120]!r}; this server answers for model {self._model.name!r}" + (
            f", version {self._model.version!r}" if self._model.version is not None else ""
        )

    async def _error(self, send: Send, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        await self._send(send, status, orjson.dumps({"error": message.encode("utf-8", "replace").decode()}), *headers)

    async def _send(self, send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        start = [JSON, (b"content-length", b"%d" % len(body)), *headers]
        if self._drain.leaving and CLOSE not in headers:
            start.append(CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": start})
        await send({"type": "http.response.body", "body": body})
