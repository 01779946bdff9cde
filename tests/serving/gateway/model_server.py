"""A model server that does as it is told, HTTP by hand: it keeps what it was sent and answers, stalls, breaks off or hangs up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass
class Asked:
    """One request as it arrived."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


Behaviour = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ModelServer:
    """Listens on a port of 127.0.0.1, in a thread of its own."""

    behave: Behaviour
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _end: asyncio.Event = field(init=False)

    def __enter__(self) -> ModelServer:
        started = threading.Event()

        async def run() -> None:
            self._loop = asyncio.get_running_loop()
            self._end = asyncio.Event()
            server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            await self._end.wait()
            server.close()
            self.hang_up()

        self._thread = threading.Thread(target=asyncio.run, args=(run(),))
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hang_up(self) -> None:
        """Close every connection, as a server does with idle ones."""
        for writer in list(self._writers):
            self._loop.call_soon_threadsafe(writer.transport.abort)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                line, *headers = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
                asked = Asked(line, [(h.split(": ", 1)[0], h.split(": ", 1)[1]) for h in headers], b"")
                asked.body = await reader.readexactly(int(asked.header("content-length") or 0))
                self.asked.append(asked)
                await self.behave(asked, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


def response(body: bytes, status: int = 200, headers: str = "") -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
        status,
        headers.encode(),
        len(body),
        body,
    )


async def echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answer with the body that was sent."""
    writer.write(response(asked.body or b"{}"))


def says(text: str, status: int = 200, headers: str = "") -> Behaviour:
    """Always the same answer."""

    async def behave(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(response(text.encode(), status, headers))

    return behave
