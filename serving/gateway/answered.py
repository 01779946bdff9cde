"""An answer as it goes to a client, its head and body written at once.

aiohttp's own response keeps its headers in a dictionary, asks it ten things and sends it through four coroutines, which is a third of what it takes
for a request (docs/log.md). This one writes the same bytes, of the case that is frequent: a 200 to a POST.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE


class Answered:
    """What aiohttp's connection asks of a response. `headers` are ours; `found` are the model server's, as they came."""

    status = 200

    def __init__(self, headers: Mapping[str, str], found: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self.headers, self._found, self._body = headers, found, body
        self.keep_alive = True
        self._writer: Any = None
        self._head = b""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write the head; the request says what becomes of its connection."""
        self._writer, self.keep_alive = request.writer, request.keep_alive
        lines = [b"HTTP/%d.%d 200 OK\r\n" % request.version]
        lines += [f"{name}: {value}\r\n".encode() for name, value in self.headers.items()]
        lines += [b"%b: %b\r\n" % header for header in self._found]
        own = f"Content-Length: {len(self._body)}\r\nDate: {rfc822_formatted_time()}\r\nServer: {SERVER_SOFTWARE}\r\n"
        lines.append(own.encode())
        if self.keep_alive != (request.version == HttpVersion11):  # not what that version does unasked
            lines.append(b"Connection: keep-alive\r\n" if self.keep_alive else b"Connection: close\r\n")
        self._head = b"".join(lines)

    async def write_eof(self) -> None:
        """Send it, and wait where the client reads slowly. ConnectionError where it is gone."""
        await self._writer.write(b"%b\r\n%b" % (self._head, self._body))
        await self._writer.drain()
