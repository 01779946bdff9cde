"""An answer that is written at once is, byte for byte, what aiohttp would write."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict

from serving.gateway.answered import Answered
from serving.gateway.connection import Server
from serving.limits import Limits

OURS = {"x-aiprime-stale": "true", "x-aiprime-model-version": "7"}
FOUND = [(b"content-type", b"application/json"), (b"X-Twice", b"a"), (b"X-Twice", b"b")]
REQUESTS = {
    "kept": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    "closed": b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    "old": b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
    "old and kept": b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
}


def by_aiohttp(body: bytes) -> web.Response:
    headers = CIMultiDict(OURS)
    for name, value in FOUND:
        headers.add(name.decode(), value.decode())
    return web.Response(headers=headers, body=body)


async def raw(response: Any, request: bytes) -> tuple[bytes, bool]:
    """What a client is sent, and whether the connection ends with it."""

    async def answer(asked: web.BaseRequest) -> Any:
        await asked.read()
        return response

    runner = web.ServerRunner(Server(answer, Limits()))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        body = await reader.readexactly(int(length[1]))
        try:
            ended = await asyncio.wait_for(reader.read(1), 0.2) == b""
        except TimeoutError:
            ended = False
        return re.sub(rb"Date: [^\r]+", b"Date: now", head) + body, ended
    finally:
        writer.close()
        await runner.cleanup()


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("body", [b'{"predictions": [1]}', b"x" * 200_000], ids=["short", "long"])
def test_it_is_what_aiohttp_would_write(name: str, body: bytes) -> None:
    """The same head, the same body, and the connection ends or stays the same, in both versions of HTTP."""
    expected = asyncio.run(raw(by_aiohttp(body), REQUESTS[name]))
    assert expected == asyncio.run(raw(Answered(OURS, FOUND, body), REQUESTS[name]))
