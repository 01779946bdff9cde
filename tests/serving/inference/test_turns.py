"""Turns: a bounded number runs, a bounded number waits, the rest is told when to come back; who left or was late costs nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.inference.turns import WAIT_S, Busy, Gone, Late, Turns


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
        assert not turns._running

    asyncio.run(story())


@pytest.mark.parametrize("freed_first", [True, False])
def test_who_is_given_up_as_a_thread_comes_free_is_passed_over(freed_first: bool) -> None:
    """In one turn of the loop a thread comes free and the next two are given up: they end as cancelled, and the thread is the third's."""

    async def story() -> None:
        turns = Turns(1, waiting=3)
        before = turns._admitted(1)
        tasks = [asyncio.get_running_loop().create_task(turns.run(lambda: "done", lambda: None)) for _ in range(3)]
        await asyncio.sleep(0)
        if freed_first:
            turns._over(before)
        for task in tasks[:2]:
            task.cancel()
        if not freed_first:
            turns._over(before)
        *given_up, last = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in given_up] == [asyncio.CancelledError] * 2
        assert last == "done"
        assert (turns._running, list(turns._queue)) == (set(), [])

    asyncio.run(story())


def test_a_failure_is_the_caller_s() -> None:
    """What the work raises is raised, and its thread is free."""

    async def story() -> None:
        turns = Turns(1, waiting=0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await turns.run(lambda: 1 // 0, lambda: None)

    asyncio.run(story())


SIZES = st.integers(1, 1 << 20)
SECONDS = st.floats(1e-4, 10)


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def story(turns: Turns, clock: Clock, arrivals: list[tuple[float, int]]) -> list[tuple[float, bool, float | None]]:
    """(expected seconds, came to an empty queue, seconds waited or None where refused) of each arrival; all takes what is expected."""
    told: list[Any] = []

    def until_then(end: float) -> None:
        while turns._running and (first := min(turns._running, key=lambda turn: turn.end)).end <= end:
            clock.now = first.end
            before = set(turns._running)
            turns._over(first)
            for turn in turns._running - before:
                came[turn] = clock.now
        clock.now = max(clock.now, min(end, 1e9))

    came: dict[Any, float] = {}
    for gap, rows in arrivals:
        until_then(clock.now + gap)
        alone = not turns._queue
        try:
            turn = turns._admitted(rows)
        except Busy:
            told.append((turns.costs.expected(rows), alone, None, clock.now))
            continue
        if turn.come.done():
            came[turn] = clock.now
        told.append((turn.seconds, alone, turn, clock.now))
    until_then(float("inf"))
    return [(seconds, alone, turn and came[turn] - at) for seconds, alone, turn, at in told]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 8),
    st.dictionaries(SIZES, SECONDS, min_size=1, max_size=4),
    st.lists(st.tuples(st.floats(0, 0.1), SIZES), max_size=60),
)
def test_who_waits_begins_within_half_its_own_time(
    at_once: int, measured: dict[int, float], arrivals: list[tuple[float, int]]
) -> None:
    """Rows and batches mixed: who is let in waits at most 10 ms or half of its own expected time, or is the only one that waits."""
    clock = Clock()

    async def run() -> list[tuple[float, bool, float | None]]:
        turns = Turns(at_once)
        for rows, seconds in measured.items():
            turns.costs.learn(rows, seconds)
        return story(turns, clock, arrivals)

    with mock.patch("serving.inference.turns.perf_counter", clock):
        found = asyncio.run(run())
    for seconds, alone, waited in found:
        assert waited is not None or not alone  # the first that waits is never refused
        assert waited is None or alone or waited <= max(WAIT_S, seconds / 2) + 1e-9


@pytest.mark.parametrize(("seconds", "room"), [(0.0005, 40), (0.005, 4), (0.020, 1), (0.2, 1), (5.0, 1)])
def test_equal_predictions_wait_as_many_as_wait_half_of_one(seconds: float, room: int) -> None:
    """On two threads that are half-way through: 10 ms or half a prediction's worth of them; a stated number is kept."""

    async def run(stated: int | None) -> int:
        turns, clock = Turns(2, waiting=stated), Clock()
        turns.costs.learn(1, seconds)
        with mock.patch("serving.inference.turns.perf_counter", clock):
            for part in (0.25, 0.5):
                turns._admitted(1)
                clock.now += seconds * part
            for waiting in range(100):
                try:
                    turns._admitted(1)
                except Busy:
                    return waiting
        raise AssertionError("everybody waits")

    assert abs(asyncio.run(run(None)) - room) <= 1
    assert asyncio.run(run(7)) == 7


def test_batches_take_no_room_from_rows() -> None:
    """A job of long batches that is over leaves as many single rows waiting as before it."""

    async def run() -> tuple[int, int]:
        clock = Clock()

        def room(turns: Turns) -> int:
            while True:
                try:
                    turns._admitted(1)
                except Busy:
                    return len(turns._queue)

        with mock.patch("serving.inference.turns.perf_counter", clock):
            fresh, used = Turns(2), Turns(2)
            for turns in (fresh, used):
                turns.costs.learn(1, 0.002)
            for _ in range(50):
                used.costs.learn(20_000, 0.1)
            return room(fresh), room(used)

    fresh, used = asyncio.run(run())
    assert fresh == used > 3


def test_what_is_late_is_expected_to_be_as_late_again() -> None:
    """Behind predictions that hang, the one place that there always is is taken, and no second one."""

    async def run() -> None:
        clock = Clock()
        with mock.patch("serving.inference.turns.perf_counter", clock):
            turns = Turns(2)
            turns.costs.learn(1, 0.001)
            for _ in range(2):
                turns._admitted(1)
            clock.now = 5.0
            turns._admitted(1)
            with pytest.raises(Busy) as busy:
                turns._admitted(1)
            assert busy.value.again_s == 5

    asyncio.run(run())


def test_the_time_of_a_prediction_is_measured() -> None:
    """By its size, on the thread."""

    async def run() -> None:
        turns = Turns(1)
        turns.costs.learn(1, 0.001)
        for _ in range(10):
            await turns.run(lambda: threading.Event().wait(0.02), lambda: None, rows=64)
        assert turns.costs.expected(64) > 0.015
        assert turns.costs.expected(1) == 0.001

    asyncio.run(run())
