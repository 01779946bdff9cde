"""Turns: how many predictions run on threads at once, how many requests wait for one, and who is told to come back instead.

A queue that grows makes everybody late and nobody served, so it is bounded by time: who waits, waits about half a prediction, or 10 ms
where that is longer. Work that nobody waits for any more (deadline, client gone) is told to stop, and keeps its thread until it has.
Knows nothing of models or of protocols. Only for the event loop's thread.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from time import perf_counter
from typing import Any, TypeVar

T = TypeVar("T")

WAIT_S = 0.010
WEIGHT = 0.1  # of the newest prediction in the measured time of one


def processors() -> int:
    """How many this process may use; elsewhere than on Linux all that there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Busy(Exception):
    """As many wait as may; `again_s` is when asking again may help."""

    def __init__(self, again_s: int) -> None:
        super().__init__("more requests are waiting for this model than it answers in time; ask again")
        self.again_s = again_s


class Late(Exception):
    """The deadline passed; the work was told to stop."""


class Gone(Exception):
    """Nobody waits for the answer; the work was told to stop."""


class Turns:
    """`at_once` threads; `waiting` requests at most, or as many as the measured time of a prediction allows; none longer than `deadline_s`."""

    def __init__(self, at_once: int, *, waiting: int | None = None, deadline_s: float = 60.0, seconds: float = 0.002) -> None:
        self.at_once, self.deadline_s = at_once, deadline_s
        self.seconds = seconds  # a prediction's, measured as they go
        self._stated = waiting
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="predict")
        self._running = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def room(self) -> int:
        """How many may wait now."""
        if self._stated is not None:
            return self._stated
        return max(1, round(self.at_once * max(WAIT_S, self.seconds / 2) / self.seconds))

    async def run(
        self, work: Callable[[], T], stop: Callable[[], None], gone: Callable[[], Awaitable[None]] | None = None
    ) -> T:
        """What `work` returns, on a thread, when its turn comes. Busy, Late; Gone where `gone` returns first. `stop` may be called any time."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (coroutines run in tasks)
        left: list[bool] = []

        async def watch(come: Callable[[], Awaitable[None]]) -> None:
            await come()
            left.append(True)
            task.cancel()

        watching = None if gone is None else loop.create_task(watch(gone))
        try:
            async with asyncio.timeout(self.deadline_s):
                await self._turn()
                done = loop.run_in_executor(self._threads, work)
                began = perf_counter()
                done.add_done_callback(lambda future: self._freed(future, began))
                try:
                    return await asyncio.shield(done)
                finally:
                    if not done.done():
                        stop()
        except TimeoutError:
            raise Late(f"the prediction took longer than {self.deadline_s:g} s") from None
        except asyncio.CancelledError:
            if not left:
                raise
            task.uncancel()
            raise Gone from None
        finally:
            if watching is not None:
                watching.cancel()

    async def _turn(self) -> None:
        """Returns when one of the threads is ours."""
        if self._running < self.at_once:
            self._running += 1
            return
        if len(self._queue) >= self.room:
            raise Busy(max(1, ceil((len(self._queue) + 1) * self.seconds / self.at_once)))
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came at this very moment: it is the next one's
                self._next()
            else:
                self._queue.remove(turn)
            raise

    def _freed(self, future: asyncio.Future[Any], began: float) -> None:
        if not future.cancelled() and future.exception() is None:
            self.seconds += WEIGHT * (max(perf_counter() - began, 1e-4) - self.seconds)
        self._next()

    def _next(self) -> None:
        if self._queue:
            self._queue.popleft().set_result(None)
        else:
            self._running -= 1
