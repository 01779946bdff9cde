"""One connection: uvicorn's protocol on httptools, with bounds on the head of a request and every refusal in the protocol's shape.

uvicorn waits for headers for ever, takes any number of them, and answers what is not HTTP in plain text. Knows nothing of models.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.inference.refused import Header, again
from serving.limits import Limits
from serving.patience import cut


class _Refuse(Exception):
    """Ends the parser's work; why is in `_refusal`."""


class Connection(HttpToolsProtocol):
    """`late` is told what took too long; `awaited` says what is waited for."""

    def __init__(self, *args: Any, limits: Limits, **more: Any) -> None:
        super().__init__(*args, **more)
        self._limits = limits
        self._naming, self._head = True, 0  # whether a request line or headers come next, and how much of them came
        self._refusal: tuple[int, str] | None = None
        self._surplus = False
        self._over: asyncio.TimerHandle | None = None

    # -- asyncio's callbacks

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  (as uvicorn's)
        super().connection_made(transport)
        self._surplus = len(self.connections) > self._limits.connections

    def connection_lost(self, exc: Exception | None) -> None:
        if self._over is not None:
            self._over.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._over is not None:  # refused: the rest is thrown away until the other end has seen that
            return
        if self._naming:
            self._head += len(data)
            super().data_received(data)
            if self._naming and self._head > self._limits.head_bytes and self._over is None:
                self.refuse(431, self._too_much())
        else:
            super().data_received(data)

    # -- httptools' callbacks

    def on_headers_complete(self) -> None:
        self._naming = False
        large = self._head > self._limits.head_bytes and self._size() > self._limits.head_bytes
        self._head = 0
        if large or len(self.headers) > self._limits.headers:
            self._refusal = 431, self._too_much()
        elif len(self.pipeline) >= self._limits.pipelined:
            self._refusal = 503, f"more than {self._limits.pipelined} requests of this connection are unanswered; read first"
        elif self._surplus:
            self._refusal = 503, f"there are {self._limits.connections} connections already; ask again"
        elif self._version() == "1.1" and not any(name == b"host" for name, _ in self.headers):
            self._refusal = 400, "the header Host is missing"  # RFC 9112, 3.2
        else:
            super().on_headers_complete()
            return
        raise _Refuse

    def on_message_complete(self) -> None:
        self._naming, self._head = True, 0
        super().on_message_complete()

    # -- refusals

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn where the parser fails, be it by our own hand."""
        self.refuse(*(self._refusal or (400, "this is not a request of HTTP/1.1")))

    def refuse(self, status: int, message: str, *headers: Header) -> None:
        """Answer, and close when the other end had time to see it. Whatever was begun on this connection ends."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = orjson.dumps({"error": message})
        lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
        stated = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            stated.append(again(1))
        lines += [b"%b: %b" % header for header in (*stated, *headers)]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        self.transport.write_eof()
        self._over = self.loop.call_later(self._limits.linger_s, self.transport.abort)

    # -- patience

    def awaited(self) -> tuple[tuple[str, Connection, int], int] | None:
        """What is waited for: its key, and its bytes; None where it is our turn, or a connection may be idle."""
        if self._over is not None:
            return None
        if unread := self.transport.get_write_buffer_size():
            return ("answer", self, id(self.cycle)), unread
        if self.cycle is None or (self.cycle.response_complete and self._head):
            return ("head", self, 0), self._head
        return None

    def late(self, what: str) -> None:
        """It took too long."""
        if what == "head" and self._head:
            self.refuse(408, f"the headers did not come within {self._limits.seconds:g} s")
        elif what == "head":
            self.transport.close()
        else:
            cut(self.transport)

    def _version(self) -> str:
        return self.parser.get_http_version()  # pyright: ignore[reportOptionalMemberAccess]  (there until the connection is lost)

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _too_much(self) -> str:
        return f"the request line and headers are more than {self._limits.head_bytes} bytes or {self._limits.headers} headers"
