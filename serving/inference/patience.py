"""How long a server waits for a sender: headers or a body that stop coming are given up (slowloris). uvicorn itself waits for ever.

Looked at once a second rather than with a timer per request, which would cost a twentieth of the throughput.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any


class GaveUp(Exception):
    """The rest of a body did not come in time."""


class Patience:
    """Waits up to `seconds`, and up to one second more."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._bodies: dict[asyncio.Task[Any], float | None] = {}  # since when its next part is awaited; None: not looked at yet
        self._given_up: set[asyncio.Task[Any]] = set()
        self._silent: dict[Any, float] = {}

    async def receive(self, receive: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """The next message of a request; GaveUp where it does not come."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (ASGI applications run in tasks)
        self._bodies[task] = None
        try:
            return await receive()
        except asyncio.CancelledError:
            if task not in self._given_up:
                raise
            self._given_up.discard(task)
            task.uncancel()
            raise GaveUp from None
        finally:
            del self._bodies[task]

    def sweep(self, connections: Iterable[Any]) -> None:
        """Give up bodies, and close connections (uvicorn's protocols), that have been awaited too long."""
        now = time.monotonic()
        for task, since in self._bodies.items():
            if since is None:
                self._bodies[task] = now
            elif now - since > self.seconds and task not in self._given_up:
                self._given_up.add(task)
                task.cancel()
        self._silent = {connection: self._silent.get(connection, now) for connection in connections if _unnamed(connection)}
        for connection, since in self._silent.items():
            if now - since > self.seconds and connection.transport is not None:
                connection.transport.close()


def _unnamed(connection: Any) -> bool:
    """Whether a connection's next request line and headers are awaited, and no keep-alive timeout runs."""
    return connection.cycle is None or (connection.cycle.response_complete and connection.timeout_keep_alive_task is None)
