"""Turns: how many predictions run on threads at once, how many requests wait for one, and who is told to come back instead.

A queue that grows makes everybody late and nobody served, so it is bounded by time: who waits, waits about half of its own prediction, or
10 ms where that is longer, as far as is known of those before it. Work that nobody waits for any more (deadline, client gone) is told to stop,
and keeps its thread until it has. Knows nothing of models or of protocols. Only for the event loop's thread.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from heapq import heapify, heapreplace
from math import ceil
from time import perf_counter
from typing import Any, TypeVar

from serving.inference.costs import Costs

T = TypeVar("T")

WAIT_S = 0.010


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


class _Turn:
    """One prediction's: `come` is done when a thread is its own, and `end` is when it is expected to be over."""

    __slots__ = ("come", "end", "rows", "seconds")

    def __init__(self, rows: int, seconds: float) -> None:
        self.rows, self.seconds, self.end = rows, seconds, 0.0
        self.come: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Turns:
    """`at_once` threads; `waiting` requests at most, or as many as the expected times allow; none longer than `deadline_s`."""

    def __init__(self, at_once: int, *, waiting: int | None = None, deadline_s: float = 60.0) -> None:
        self.at_once, self.deadline_s = at_once, deadline_s
        self.costs = Costs()
        self._stated = waiting
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="predict")
        self._running: set[_Turn] = set()
        self._queue: deque[_Turn] = deque()

    def wait_s(self) -> float:
        """How long one that comes now would wait: each before it takes what is expected of it, in order, on the first thread that is free."""
        if len(self._running) < self.at_once:
            return 0.0
        now = perf_counter()
        free = [abs(turn.end - now) for turn in self._running]  # what is late is expected to be as late again
        heapify(free)
        for turn in self._queue:
            heapreplace(free, free[0] + turn.seconds)
        return free[0]

    async def run(
        self,
        work: Callable[[], T],
        stop: Callable[[], None],
        gone: Callable[[], Awaitable[None]] | None = None,
        rows: int = 1,
    ) -> T:
        """What `work` on so many rows returns, on a thread, when its turn comes. Busy, Late; Gone where `gone` returns first. `stop` may be called any time."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (coroutines run in tasks)
        turn = self._admitted(rows)
        left: list[bool] = []

        async def watch(come: Callable[[], Awaitable[None]]) -> None:
            await come()
            left.append(True)
            task.cancel()

        watching = None if gone is None else loop.create_task(watch(gone))
        try:
            async with asyncio.timeout(self.deadline_s):
                await self._came(turn)
                done = loop.run_in_executor(self._threads, work)
                began = perf_counter()
                done.add_done_callback(lambda future: self._freed(turn, future, began))
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

    def _admitted(self, rows: int) -> _Turn:
        """A turn that has come, or waits in the queue; Busy."""
        turn = _Turn(rows, self.costs.expected(rows))
        if len(self._running) < self.at_once:
            self._begin(turn)
            return turn
        wait = self.wait_s()
        if self._stated is None:
            busy = bool(self._queue) and wait > max(WAIT_S, turn.seconds / 2)
        else:
            busy = len(self._queue) >= self._stated
        if busy:
            raise Busy(max(1, ceil(wait)))
        self._queue.append(turn)
        return turn

    async def _came(self, turn: _Turn) -> None:
        """Returns when the turn has come; one that is not waited for any more is the next one's."""
        try:
            await turn.come
        except asyncio.CancelledError:
            if turn in self._running:
                self._over(turn)
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def _freed(self, turn: _Turn, future: asyncio.Future[Any], began: float) -> None:
        if not future.cancelled() and future.exception() is None:
            self.costs.learn(turn.rows, perf_counter() - began)
        self._over(turn)

    def _begin(self, turn: _Turn) -> None:
        turn.end = perf_counter() + turn.seconds
        self._running.add(turn)
        turn.come.set_result(None)

    def _over(self, turn: _Turn) -> None:
        self._running.remove(turn)
        while self._queue:
            following = self._queue.popleft()
            if not following.come.done():  # else it was given up in this very turn of the loop
                self._begin(following)
                return
