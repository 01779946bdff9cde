"""The group commit: what is acknowledged was appended, a failure is told to those it concerns, and the next group is tried anew."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from data.errors import UserError
from serving.gateway import journal as journals
from serving.gateway.ids import new_id
from serving.gateway.journal import Journal
from serving.gateway.refusal import Refusal, of_store
from serving.gateway.telemetry import Telemetry
from serving.records import Prediction


def prediction(**fields: Any) -> Prediction:
    stated: dict[str, Any] = {
        "id": new_id(),
        "workload": "w",
        "version": "1",
        "role": "champion",
        "at": 1.0,
        "rows": 1,
        "form": "v1",
    }
    return Prediction(**stated | {"request": b"{}", "answer": b"{}", "entities": (), "status": 200, "latency_ms": 1.0} | fields)


class Kept:
    """Records in memory; `before` may wait or raise."""

    def __init__(self, before: Callable[[Sequence[Prediction]], Coroutine[Any, Any, object]] | None = None) -> None:
        self.groups: list[list[str]] = []
        self._before = before

    async def append(self, predictions: Sequence[Prediction]) -> None:
        if self._before is not None:
            await self._before(predictions)
        self.groups.append([one.id for one in predictions])


def run(records: Any, test: Callable[[Journal], Coroutine[Any, Any, Any]]) -> Any:
    """Run a test with a journal, and close it."""

    async def whole() -> Any:
        journal = Journal(records, Telemetry())
        found = await asyncio.wait_for(test(journal), 10)
        await asyncio.wait_for(journal.close(), 10)
        return found

    return asyncio.run(whole())


def test_what_waits_is_committed_together() -> None:
    """While a commit is under way others wait, and all of them are in the next one."""
    release = asyncio.Event()
    records = Kept(lambda _: release.wait())

    async def test(journal: Journal) -> None:
        first = journal.keep(prediction())
        await asyncio.sleep(0)
        others = [journal.keep(prediction()) for _ in range(40)]
        release.set()
        await asyncio.gather(first, *others)

    run(records, test)
    assert [len(group) for group in records.groups] == [1, 40]


def test_a_group_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No transaction holds more than its limit, and nothing is left behind."""
    monkeypatch.setattr(journals, "GROUP", 16)
    records = Kept()

    async def test(journal: Journal) -> None:
        await asyncio.gather(*(journal.keep(prediction()) for _ in range(100)))

    run(records, test)
    assert sum(map(len, records.groups)) == 100
    assert max(map(len, records.groups)) <= 16


def test_one_alone_never_waits_for_others() -> None:
    """With one request at a time, a commit begins at once; with several coming, those that come are in one group."""
    records = Kept()

    async def test(journal: Journal) -> None:
        journal.coming = 20
        kept = []
        for _ in range(10):
            journal.coming -= 1
            kept.append(journal.keep(prediction()))
        await asyncio.gather(*kept)

    run(records, test)
    assert [len(group) for group in records.groups] == [10]


FULL = [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Disk quota exceeded")]


def full_sqlite() -> sqlite3.Error:
    """SQLite's own error for a database that may not grow."""
    database = sqlite3.connect(":memory:")
    database.execute("create table t (x)")
    database.execute("pragma max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError) as raised:
        database.execute("insert into t values (zeroblob(100000))")
    return raised.value


def explained(error: Exception) -> UserError:
    """As the records tell it."""
    outer = UserError("the store of predictions cannot be used")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "status"),
    [
        *((error, 507) for error in (*FULL, full_sqlite(), explained(full_sqlite()))),
        (explained(sqlite3.OperationalError("database is locked")), 503),
        (OSError(errno.EIO, "Input/output error"), 503),
    ],
)
def test_a_log_that_cannot_be_written_is_said_and_recovers(error: Exception, status: int) -> None:
    """A full disk is a 507, a lock or a broken disk a 503, each with Retry-After; the next group is written as soon as it can be."""
    failing = [error]

    async def before(_: object) -> None:
        if failing:
            raise failing[0]

    records = Kept(before)

    async def test(journal: Journal) -> None:
        for _ in range(2):
            with pytest.raises(Refusal) as refused:
                await journal.keep(prediction())
            assert refused.value.status == status
            assert int(refused.value.response().headers["Retry-After"]) > 0
        failing.clear()
        await journal.keep(prediction())

    run(records, test)
    assert [len(group) for group in records.groups] == [1]


def test_one_record_that_cannot_be_kept_fails_alone() -> None:
    """Where a record is at fault and not the store, the others of its group are kept."""
    wrong = prediction()

    async def before(group: Sequence[Prediction]) -> None:
        if wrong in group:
            raise ValueError("two records of one id")

    records = Kept(before)

    async def test(journal: Journal) -> list[Any]:
        journal.coming = 9
        kept = [journal.keep(one) for one in (prediction(), prediction(), wrong, *(prediction() for _ in range(6)))]
        return await asyncio.gather(*kept, return_exceptions=True)

    found = run(records, test)
    assert [one is None for one in found] == [True, True, False, *[True] * 6]
    assert isinstance(found[2], Refusal)


def test_too_many_that_wait_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound, and behind a commit that hangs, a request is a 503 before any model is asked; later ones are admitted again."""
    monkeypatch.setattr(journals, "BACKLOG", 5)
    release = asyncio.Event()

    async def test(journal: Journal) -> None:
        kept = [journal.keep(prediction()) for _ in range(4)]
        journal.admit()
        kept.append(journal.keep(prediction()))
        with pytest.raises(Refusal) as refused:
            journal.admit()
        assert refused.value.status == 503
        release.set()
        await asyncio.gather(*kept)
        journal.admit()

        monkeypatch.setattr(journals, "_STUCK_S", 0.0)
        release.clear()
        hanging = journal.keep(prediction())
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="behind"):
            journal.admit()
        release.set()
        await hanging
        journal.admit()

    run(Kept(lambda _: release.wait()), test)


def test_closing_writes_what_was_handed_over() -> None:
    """What was handed over before the end is written, though nobody waits for it any more."""
    records = Kept()

    async def test(journal: Journal) -> None:
        journal.coming = 50
        for _ in range(10):
            journal.keep(prediction())

    run(records, test)
    assert sum(map(len, records.groups)) == 10


def test_a_record_s_own_fault_is_no_fault_of_the_store() -> None:
    """An error that names neither disk nor database refuses nobody else."""
    assert of_store(ValueError("x")) is None
