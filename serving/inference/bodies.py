"""Bodies of requests as they come over ASGI: whole, or refused because they are too large (413), too slow (408), or too many at once (503)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from serving.inference.refused import CLOSE, Refused, again
from serving.limits import Limits

Receive = Callable[[], Awaitable[dict[str, Any]]]


class Bodies:
    """Reads the bodies of one server. `coming` is what is waited for now: the tasks that read, and the bytes that each has."""

    def __init__(self, limits: Limits, limit: int) -> None:
        self._limits, self._limit = limits, limit
        self._held = 0
        self._given_up: set[asyncio.Task[Any]] = set()
        self.coming: dict[asyncio.Task[Any], int] = {}

    async def read(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes | None:
        """The whole body; None where its sender is gone. Refused where it may not come in."""
        message = await self._next(receive, 0)
        if message["type"] == "http.disconnect":
            return None
        body = message["body"]
        if message["more_body"]:
            return await self._rest(body, receive, headers)
        if len(body) > self._limit:
            raise self.too_large()
        return body

    async def discard(self, receive: Receive) -> None:
        """Throw away what of a refused body still comes, for a moment: a connection that is closed at once takes the answer with it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.linger_s):
                while (await receive()).get("more_body"):
                    pass

    def give_up(self, task: asyncio.Task[Any]) -> None:
        """Refuse a body that is too slow."""
        if task in self.coming and task not in self._given_up:
            self._given_up.add(task)
            task.cancel()

    def too_large(self, *, unread: bool = False) -> Refused:
        """413."""
        return Refused(413, f"the body is larger than {self._limit} bytes; send fewer rows at a time", CLOSE, unread=unread)

    def states_too_much(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the body's stated length is over the limit (httptools lets only numbers through)."""
        return int(headers.get(b"content-length", b"0")) > self._limit

    async def _rest(self, first: bytes, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes | None:
        if self.states_too_much(headers):
            raise self.too_large(unread=True)
        parts, length = [first], len(first)
        self._held += length
        try:
            while True:
                if length > self._limit:
                    raise self.too_large(unread=True)
                if self._held > self._limits.held_bytes:
                    raise Refused(503, "too many large bodies are coming in; ask again", CLOSE, again(1), unread=True)
                message = await self._next(receive, length)
                if message["type"] == "http.disconnect":
                    return None
                parts.append(message["body"])
                self._held += len(parts[-1])
                length += len(parts[-1])
                if not message["more_body"]:
                    break
        finally:
            self._held -= length
        if length > self._limit:
            raise self.too_large()
        return b"".join(parts)

    async def _next(self, receive: Receive, length: int) -> dict[str, Any]:
        """The next message; 408 where it does not come."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (ASGI applications run in tasks)
        self.coming[task] = length
        try:
            return await receive()
        except asyncio.CancelledError:
            if task not in self._given_up:
                raise
            self._given_up.discard(task)
            task.uncancel()
            raise Refused(
                408,
                f"the body did not come within {self._limits.seconds:g} s, and a second for each {self._limits.rate >> 10} kB",
                CLOSE,
            ) from None
        finally:
            del self.coming[task]
