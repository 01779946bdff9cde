"""One client's connection: aiohttp's protocol, that waits for slow ends no longer than it must, and refuses in our shape.

aiohttp bounds a request's headers itself (128 of them, 8 kB each); it waits for them, and for readers of answers, for ever. Who is awaited
is looked at five times a second.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestPayloadError, _ErrInfo

from serving.gateway.refusal import Refusal
from serving.limits import Limits
from serving.patience import Patience, cut

_KEEP_ALIVE_S = 75
_LOOK_S = 0.2


class Connection(web.RequestHandler):
    """`awaited` says what is waited for, `late` is told what took too long."""

    __slots__ = ("_begun", "_limits", "surplus")

    def __init__(self, server: Server, limits: Limits) -> None:
        unlogged: Any = None  # a line per request costs more than the request
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=unlogged,
            keepalive_timeout=_KEEP_ALIVE_S,
            lingering_time=limits.linger_s,
            auto_decompress=False,  # a compressed body is refused, not unpacked
        )
        self._limits = limits
        self._begun = self.surplus = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        manager: Any = self._manager
        self.surplus = len(manager.open) > self._limits.connections

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiter = self._waiter
        self._begun = not self._request_count or (waiter is not None and not waiter.done())
        if self._messages and self._current_request is not None and isinstance(broken := self._messages[-1][0], _ErrInfo):
            self._break_off(broken.message)

    def _break_off(self, why: str) -> None:
        """What came is no part of the body that is being read: aiohttp would let its reader wait for the rest for ever."""
        payload = self._current_request.content if self._current_request is not None else EMPTY_PAYLOAD
        if not payload.is_eof():
            self._lingering_time = 0
            payload.set_exception(RequestPayloadError(why))

    def awaited(self) -> tuple[tuple[str, Connection, int], int] | None:
        """What is waited for: its key, and its bytes; None where it is our turn, or a connection may be idle."""
        if self.transport is None:
            return None
        if unread := self.transport.get_write_buffer_size():  # pyright: ignore[reportAttributeAccessIssue]  (a TCP transport)
            return ("answer", self, self._request_count), unread
        waiter = self._waiter
        if waiter is not None and not waiter.done() and (self._begun or not self._request_count):
            return ("head", self, self._request_count), 0
        return None

    def late(self, what: str) -> None:
        """It took too long."""
        transport: Any = self.transport
        if what == "answer":
            cut(transport)
            return
        if self._begun:
            body = json.dumps({"error": f"the headers did not come within {self._limits.seconds:g} s"}).encode()
            head = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            transport.write(head % len(body) + body)
        self.force_close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What is not HTTP is refused in our shape too."""
        if isinstance(exc, LineTooLong):
            status, message = 431, "a line of it is too long"
        said = (message or str(exc)).splitlines()[0][:200] if message or str(exc) else "it cannot be read"
        response = Refusal(status, f"this is not a request: {said}").response()
        response.force_close()
        return response


class Server(web.Server):
    """aiohttp's low-level server, with the bounds of `limits`. A client that leaves takes its request along."""

    def __init__(self, handler: Any, limits: Limits) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._limits, self._patience = limits, Patience(limits)

    @property
    def open(self) -> dict[Any, Any]:
        """The connections."""
        return self._connections

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self._limits)

    async def watch(self) -> None:
        """Give up who is too slow, for as long as the gateway runs."""
        while True:
            await asyncio.sleep(_LOOK_S)
            connections: Any = self.connections
            waiting = dict(filter(None, (one.awaited() for one in connections)))
            for what, connection, _ in self._patience.overdue(waiting, time.monotonic()):
                connection.late(what)
