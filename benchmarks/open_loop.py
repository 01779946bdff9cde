"""Requests at a rate that does not care how the server is doing, over plain asyncio: what came of each, and how long it took."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit


class One(NamedTuple):
    """One answer; status 0 where none came."""

    status: int
    seconds: float
    again: str  # Retry-After


class Load:
    """Connections to one URL, as many as it takes, each used again."""

    def __init__(self, url: str, path: str, body: bytes) -> None:
        at = urlsplit(url)
        self._at = at.hostname or "127.0.0.1", at.port or 80
        head = f"POST {path} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._text = head.encode() + body
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def one(self) -> One:
        """Ask once."""
        began = time.perf_counter()
        try:
            reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(*self._at)
            writer.write(self._text)
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode("latin-1").lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            return One(0, time.perf_counter() - began, "")
        seconds = time.perf_counter() - began
        if "connection: close" in head:
            writer.close()
        else:
            self._idle.append((reader, writer))
        return One(int(head.split()[1]), seconds, head.split("retry-after:")[1].split()[0] if "retry-after:" in head else "")

    async def at_rate(self, per_second: float, seconds: float) -> list[One]:
        """Ask at a constant rate, however many are unanswered."""
        tasks: list[asyncio.Task[One]] = []
        with _uncollected():
            began = time.perf_counter()
            for number in range(int(per_second * seconds)):
                wait = began + number / per_second - time.perf_counter()
                if wait > 0:
                    await asyncio.sleep(wait)
                tasks.append(asyncio.create_task(self.one()))
            return list(await asyncio.gather(*tasks))

    async def in_turn(self, seconds: float) -> list[One]:
        """One after the other."""
        found, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            found.append(await self.one())
        return found

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


@contextmanager
def _uncollected() -> Iterator[None]:
    """No collection of this process's own objects: one took 41 ms, which were then measured as the server's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def percentile(values: list[float], share: float) -> float:
    """By nearest rank; NaN of nothing."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")
