"""A pooled HTTP/1.1 client for one model server, on httptools.

aiohttp's own client costs 0.1 ms more per request and 0.6 of the throughput (docs/log.md); httpx a tenth of it. Knows nothing of routes or of
models. Each new connection's other end proves once whose server it is (serving/instance.py), before it is sent anything. Answers are held in
memory: a model server on this machine is trusted to end them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

import httptools

from serving import instance

_IDLE = 256  # connections kept for reuse
_PROOF = 16 << 10  # bytes, head and all, that are read of who has proven nothing
_PROOF_S = 2.0  # that are given to it


class Stranger(ConnectionError):
    """Who listens at the server's address does not prove to be it: another process, or the server hangs."""


class Answer(NamedTuple):
    """A complete response; header names as the server wrote them."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Upstream:
    """One server's connections. `inflight` counts the requests that were begun and are not answered yet.

    With a `token`, whoever cannot prove to have been told it is sent nothing.
    """

    def __init__(self, name: str, host: str, port: int, version: str, token: str | None = None) -> None:
        self.name, self.host, self.port, self.version, self._token = name, host, port, version, token
        self._host = b" HTTP/1.1\r\nHost: %b:%d\r\n" % (host.encode(), port)
        self.inflight = 0
        self.doubted = float("-inf")  # when it was last said that a stranger is in its place (monotonic)
        self.left = False  # no route leads here any more
        self.idle: list[_Connection] = []

    async def request(
        self,
        line: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        *,
        deadline_s: float,
        fresh: bool = False,
    ) -> Answer:
        """Send one request (`line` is such as `POST /v2/models/co2/infer`) and wait for its whole answer.

        TimeoutError after `deadline_s`; other OSErrors where the server cannot be reached or breaks off, Stranger among them. `fresh` opens a
        new connection, and takes who hangs up on it for a Stranger: before, the server may have left at this very moment.
        """
        lines = [line, self._host]
        lines += [b"%b: %b\r\n" % header for header in headers]
        lines.append(b"Content-Length: %d\r\n\r\n" % len(body))
        connection = self.idle.pop() if self.idle and not fresh else await self._connect(deadline_s, fresh)
        return await connection.exchange(b"".join(lines), body, deadline_s)

    def close(self) -> None:
        """Close what is idle; a request in flight ends by itself."""
        for connection in self.idle:
            connection.abort()
        self.idle.clear()

    async def _connect(self, deadline_s: float, fresh: bool) -> _Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(deadline_s):
            _, connection = await loop.create_connection(lambda: _Connection(self.idle), self.host, self.port)
        if self._token is not None:
            await self._ask_proof(connection, self._token, min(deadline_s, _PROOF_S), fresh)
        return connection

    async def _ask_proof(self, connection: _Connection, token: str, deadline_s: float, fresh: bool) -> None:
        number = instance.number()
        line = f"GET {instance.PATH}{number}".encode()
        try:
            answer = await connection.prove(line + self._host + b"\r\n", deadline_s)
        except OSError as error:
            if isinstance(error, ConnectionResetError) and not fresh:
                raise
            raise Stranger(f"no proof that {self.name} answers at port {self.port}: {error}") from error
        if answer.status != 200 or not instance.proven(token, self.port, number, answer.body):
            connection.abort()
            raise Stranger(f"another process than {self.name} answers at port {self.port}")


class _Connection(asyncio.Protocol):
    """One connection, one request at a time; puts itself back among the idle ones when an answer ends well."""

    def __init__(self, idle: list[_Connection]) -> None:
        self._idle = idle
        self._parser = httptools.HttpResponseParser(self)
        self._transport: Any = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._unproven = 0  # bytes that may still come of who has to prove itself

    async def prove(self, head: bytes, deadline_s: float) -> Answer:
        """The answer to a request that nobody else may follow yet, a short one (ConnectionAbortedError)."""
        self._unproven = _PROOF
        answer = await self.exchange(head, b"", deadline_s)
        self._unproven = 0
        return answer

    async def exchange(self, head: bytes, body: bytes, deadline_s: float) -> Answer:
        if self._transport.is_closing():
            raise ConnectionResetError("the pooled connection was closed")
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        late = loop.call_later(
            deadline_s, self._fail, TimeoutError("no answer in time")
        )  # asyncio.timeout costs ten times as much
        self._transport.write(head + body if len(body) < 65_536 else head)
        if len(body) >= 65_536:
            self._transport.write(body)
        try:
            return await waiter
        finally:
            late.cancel()
            # After a whole answer the connection may serve another request by now, whose waiter is another one.
            if self._waiter is waiter:  # given up (a deadline) or broken: what comes later belongs to nobody
                self._waiter = None
                self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._unproven:
            self._unproven -= len(data)
            if self._unproven <= 0:
                self._fail(ConnectionAbortedError("what came is longer than a proof"))
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionAbortedError(f"not an HTTP answer: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        self._fail(ConnectionResetError("the server closed the connection"))

    def _fail(self, error: OSError) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.abort()

    # -- httptools' callbacks

    def on_message_begin(self) -> None:
        self._headers, self._body = [], []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue and its like: the answer is still to come
            return
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done() or not self._parser.should_keep_alive() or len(self._idle) >= _IDLE:
            self.abort() if waiter is None else self._transport.close()
        elif not self._unproven:
            self._idle.append(self)
        if waiter is not None and not waiter.done():
            waiter.set_result(Answer(status, self._headers, self._body[0] if len(self._body) == 1 else b"".join(self._body)))
