"""The group commit: requests wait together for one durable write, and each until its own record is on the disk.

While one group is written the next one gathers. Knows nothing of HTTP but how a log that cannot be written is refused: 507 where the disk
is full, 503 else. Keeps no state of a failure: the next group is tried like the first, so it recovers with the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from serving.gateway.refusal import Refusal, of_store

if TYPE_CHECKING:
    from serving.gateway.telemetry import Telemetry
    from serving.records import Prediction

log = logging.getLogger("aiprime.gateway")
GROUP = 512  # requests of one commit
BACKLOG = 4096  # requests that wait for one
_SEVERAL = 5
_MOMENT_S = 0.002
_STUCK_S = 5.0  # a commit that takes longer lets no more requests in


class Log(Protocol):
    """What the journal asks of the records' writer."""

    async def append(self, predictions: Sequence[Prediction]) -> None:
        """Keep them all or raise; durable on return."""


class _Entry(NamedTuple):
    done: asyncio.Future[None]
    predictions: tuple[Prediction, ...]


class Journal:
    """What of a gateway's answers waits to be kept.

    `coming` counts the requests that will have something to keep soon: whoever asks models counts them. A commit costs as much as ten
    more records in it, so where several are coming it waits for half of them, for a moment; one alone never waits.
    """

    def __init__(self, records: Log, telemetry: Telemetry) -> None:
        self._records, self._telemetry = records, telemetry
        self.coming = 0
        self._waiting: list[_Entry] = []
        self._later: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._begun = 0.0  # when that began
        self._backlog = 0
        self._failing = False

    def admit(self) -> None:
        """Refusal (503) where a request would have to wait for too long: say so before the model is asked."""
        stuck = self._writing is not None and time.monotonic() - self._begun > _STUCK_S
        if stuck or self._backlog >= BACKLOG:
            raise Refusal(503, "the prediction log is behind: nothing was answered that it would not keep", retry_after_s=1)

    def keep(self, *predictions: Prediction) -> asyncio.Future[None]:
        """Done when all of them are durable; Refusal (507 or 503) where they cannot be kept."""
        self._backlog += 1
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(done, predictions))
        if self._writing is None:
            self._consider()
        return done

    async def close(self) -> None:
        """Write what was handed over."""
        while self._backlog:
            self._hand_over()
            if self._writing is not None:
                await asyncio.wait([self._writing])

    def _consider(self) -> None:
        """Hand over what waits, unless it is worth waiting for more. Nothing is being written."""
        if self.coming < _SEVERAL or len(self._waiting) >= self.coming:
            self._hand_over()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(_MOMENT_S, self._hand_over)

    def _hand_over(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._writing is None and self._waiting:
            group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
            self._begun = time.monotonic()
            self._writing = asyncio.get_running_loop().create_task(self._write(group))

    async def _write(self, group: list[_Entry]) -> None:
        predictions = [one for entry in group for one in entry.predictions]
        error = await self._error(predictions)
        # Where one of them is at fault, and not the store, the others are kept.
        alone = error is not None and len(group) > 1 and of_store(error) is None
        errors = [await self._error(entry.predictions) for entry in group] if alone else [error] * len(group)
        self._writing = None
        self._backlog -= len(group)
        self._telemetry.committed(len(predictions), time.monotonic() - self._begun)
        if self._waiting:
            self._consider()
        for entry, failed in zip(group, errors, strict=True):
            if entry.done.done():  # its client is gone
                continue
            if failed is None:
                entry.done.set_result(None)
            else:
                entry.done.set_exception(of_store(failed) or _unkept(failed))
        self._tell(next((failed for failed in errors if failed is not None), None))

    async def _error(self, predictions: Sequence[Prediction]) -> Exception | None:
        try:
            await self._records.append(predictions)
        except Exception as error:  # noqa: BLE001  (told to each request that waits)
            return error
        return None

    def _tell(self, error: Exception | None) -> None:
        """A line when it begins and one when it is over: a line per request would fill the disk further."""
        if (error is None) is self._failing:
            self._failing = not self._failing
            log.error("the records cannot be written: %s", error) if error else log.info("the records are written again")


def _unkept(error: Exception) -> Refusal:
    return Refusal(503, f"the prediction cannot be kept, so it is not given: {str(error)[:200]}", retry_after_s=1)
