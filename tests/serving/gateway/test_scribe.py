"""The process that writes the records: durable when it says so, its refusals are told, and its death is noticed and mended."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from serving.gateway.ids import new_id
from serving.gateway.scribe import Scribe
from serving.records import Label, Records, by_id
from tests.serving.gateway.test_journal import prediction
from tests.serving.waiting import until


def run(home: Path, test: Callable[[Scribe], Coroutine[Any, Any, Any]]) -> Any:
    async def whole() -> Any:
        scribe = Scribe(home)
        await scribe.open()
        try:
            return await asyncio.wait_for(test(scribe), 30)
        finally:
            await scribe.close()

    return asyncio.run(whole())


def pid(scribe: Scribe) -> int:
    assert scribe._process is not None
    return scribe._process.pid


def test_done_means_durable(tmp_path: Path) -> None:
    """When `append` is done another connection finds the records, whole, whatever bytes they hold; labels are counted as ever."""
    one = prediction(entities=("a", 5, None), request=bytes(range(256)) * 5000, form="v2/1", latency_ms=0.25)

    async def test(scribe: Scribe) -> None:
        await scribe.append([one, prediction()])
        (found,) = Records.at(tmp_path).find(one.id)
        for name in (
            "request",
            "answer",
            "entities",
            "form",
            "latency_ms",
            "workload",
            "version",
            "role",
            "at",
            "rows",
            "status",
        ):
            assert getattr(found, name) == getattr(one, name)
        labels = [Label(workload="w", about=by_id(one.id), value=value) for value in (1.0, 1.0, 2.0)]
        done = await scribe.label(labels)
        assert (done.new, done.same, done.corrected) == (1, 1, 1)

    run(tmp_path, test)


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    """A record that is there already is refused alone, a label of no form is the sender's mistake; what follows is kept."""
    one = prediction()

    async def test(scribe: Scribe) -> None:
        await scribe.append([one])
        with pytest.raises(ValueError, match="UNIQUE"):
            await scribe.append([one])
        with pytest.raises(UserError, match="label 0"):
            await scribe.label([Label(workload="w", about="nothing", value=1.0)])
        await scribe.append([prediction()])

    run(tmp_path, test)
    assert Records.at(tmp_path).verify() is None


def test_one_that_is_killed_is_started_anew(tmp_path: Path) -> None:
    """kill -9 while it waits for a lock: who waits is told at once, the next append is kept by a new process, and only one is left."""

    async def test(scribe: Scribe) -> None:
        await scribe.append([prediction()])
        first = pid(scribe)
        other = sqlite3.connect(tmp_path / "records.db", isolation_level=None)
        other.execute("begin immediate")
        waiting = asyncio.ensure_future(scribe.append([prediction()]))
        await asyncio.sleep(0.05)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            await waiting
        other.execute("rollback")
        last = prediction(id=new_id())
        await scribe.append([last])
        assert Records.at(tmp_path).find(last.id)
        assert pid(scribe) != first
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)

    run(tmp_path, test)


def test_signals_are_not_for_it_and_the_end_is(tmp_path: Path) -> None:
    """SIGTERM and SIGINT do not end it; closing the line does, after what it was given."""

    async def test(scribe: Scribe) -> tuple[int, str]:
        await scribe.append([prediction()])
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid(scribe), number)
        last = prediction()
        await scribe.append([last])
        return pid(scribe), last.id

    process, last = run(tmp_path, test)
    until(lambda: not Path(f"/proc/{process}").exists())
    assert Records.at(tmp_path).find(last)
