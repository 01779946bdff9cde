"""Turns: a bounded number runs, a bounded number waits, the rest is told when to come back; who left or was late costs nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.inference.turns import Busy, Gone, Late, Turns


class Work:
    """Work that lasts until it is finished or stopped."""

    def __init__(self, answer: Any = None) -> None:
        self.answer, self.began, self._over = answer, threading.Event(), threading.Event()
        self.stopped = False

    def __call__(self) -> Any:
        self.began.set()
        assert self._over.wait(10)
        return self.answer

    def stop(self) -> None:
        self.stopped = True
        self._over.set()

    def finish(self) -> None:
        self._over.set()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def started(turns: Turns, work: Work, gone: Callable[[], Awaitable[None]] | None = None) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(turns.run(work, work.stop, gone))


def test_some_run_some_wait_and_the_rest_is_told_when_to_come_back() -> None:
    """With 2 threads and room for 1, the fourth is Busy at once, and the third is answered when a thread is free."""

    async def story() -> None:
        turns = Turns(2, waiting=1)
        works = [Work(n) for n in range(4)]
        tasks = [started(turns, work) for work in works[:3]]
        await until(lambda: works[0].began.is_set() and works[1].began.is_set())
        assert not works[2].began.is_set()
        with pytest.raises(Busy) as busy:
            await turns.run(works[3], works[3].stop)
        assert busy.value.again_s >= 1
        works[1].finish()
        await until(works[2].began.is_set)
        works[0].finish()
        works[2].finish()
        assert await asyncio.gather(*tasks) == [0, 1, 2]

    asyncio.run(story())


def test_they_are_served_in_the_order_in_which_they_came() -> None:
    """First come, first served."""

    async def story() -> None:
        turns, order = Turns(1, waiting=5), []
        first = Work()
        tasks = [started(turns, first)]
        await until(first.began.is_set)
        tasks += [
            asyncio.get_running_loop().create_task(turns.run(lambda n=n: order.append(n), lambda: None)) for n in range(5)
        ]
        await asyncio.sleep(0)
        first.finish()
        await asyncio.gather(*tasks)
        assert order == [0, 1, 2, 3, 4]

    asyncio.run(story())


def test_past_the_deadline_the_work_is_stopped() -> None:
    """Late after the deadline, in the queue or on a thread; a thread that was told to stop is the next one's."""

    async def story() -> None:
        turns = Turns(1, waiting=2, deadline_s=0.2)
        slow, queued = Work(), Work()
        told = []
        tasks = [asyncio.get_running_loop().create_task(turns.run(slow, lambda: told.append("stop"))), started(turns, queued)]
        for task in tasks:
            with pytest.raises(Late):
                await task
        assert (told, queued.began.is_set()) == (["stop"], False)
        slow.finish()
        assert await turns.run(lambda: "next", lambda: None) == "next"

    asyncio.run(story())


@pytest.mark.parametrize("running", [True, False], ids=["running", "waiting"])
def test_a_client_that_leaves_takes_its_work_along(running: bool) -> None:
    """Gone when `gone` returns: what ran is stopped, what waited never begins, and the place is free."""

    async def story() -> None:
        turns, left = Turns(1, waiting=1), asyncio.Event()
        before, work = Work(), Work()
        tasks = [] if running else [started(turns, before)]
        if not running:
            await until(before.began.is_set)
        task = started(turns, work, left.wait)  # pyright: ignore[reportArgumentType]
        await until(work.began.is_set) if running else await asyncio.sleep(0.01)
        left.set()
        with pytest.raises(Gone):
            await task
        assert (work.stopped, work.began.is_set()) == (running, running)
        before.finish()
        await asyncio.gather(*tasks)
        assert await turns.run(lambda: "next", lambda: None) == "next"
        assert turns._running == 0

    asyncio.run(story())


def test_a_failure_is_the_caller_s() -> None:
    """What the work raises is raised, and its thread is free."""

    async def story() -> None:
        turns = Turns(1, waiting=0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await turns.run(lambda: 1 // 0, lambda: None)

    asyncio.run(story())


@pytest.mark.parametrize(("seconds", "room"), [(0.0005, 40), (0.005, 4), (0.020, 1), (0.2, 1), (5.0, 1)])
def test_the_queue_is_as_long_as_half_a_prediction_allows(seconds: float, room: int) -> None:
    """On two threads: who waits, waits 10 ms or half a prediction; a stated number is kept."""
    assert Turns(2, seconds=seconds).room == room
    assert Turns(2, seconds=seconds, waiting=7).room == 7


def test_the_time_of_a_prediction_is_measured() -> None:
    """Slow work makes the queue shorter."""

    async def story() -> None:
        turns = Turns(1, seconds=0.001)
        before = turns.room
        for _ in range(10):
            await turns.run(lambda: threading.Event().wait(0.02), lambda: None)
        assert turns.seconds > 0.005
        assert turns.room < before

    asyncio.run(story())
