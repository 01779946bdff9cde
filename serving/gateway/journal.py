"""The group commit: one thread writes the records, and a request waits until its own are durable.

The event loop hands predictions over and goes on; the thread takes all that wait, commits them in one transaction, and wakes their
requests with one call. Knows nothing of HTTP but how a log that cannot be written is refused: 507 where the disk is full, 503 else. It
keeps no state of a failure: the next group is tried like the first, so it recovers with the disk.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from serving.gateway.refusal import Refusal

if TYPE_CHECKING:
    from serving.gateway.telemetry import Telemetry
    from serving.records import Prediction

log = logging.getLogger("aiprime.gateway")
GROUP = 512  # requests of one commit
BACKLOG = 4096  # requests that wait for one
_SEVERAL = 5
_MOMENT_S = 0.002
_STUCK_S = 5.0  # a commit that takes longer lets no more requests in
_SQLITE_FULL = 13
_DISK_FULL = "53100"  # PostgreSQL's
_FULL = {errno.ENOSPC, errno.EDQUOT}
T = TypeVar("T")


class Log(Protocol):
    """What the journal asks of the records."""

    def open(self) -> None:
        """Asked once: connects before the first request has to wait for that."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Keep them all or raise; durable on return."""


class _Entry(NamedTuple):
    done: asyncio.Future[Any]
    predictions: tuple[Prediction, ...]
    job: Callable[[], Any] | None


_Outcome = tuple[_Entry, Any, Exception | None]


class Journal:
    """The one writer of a gateway's records. All methods belong to the event loop's thread.

    `coming` counts the requests that will have something to keep soon: whoever asks models counts them. A commit costs as much as ten
    more records in it, so where several are coming it waits for half of them, for a moment; one alone never waits.
    """

    def __init__(self, records: Log, telemetry: Telemetry) -> None:
        self._records, self._telemetry = records, telemetry
        self.coming = 0
        self._waiting: list[_Entry] = []
        self._later: asyncio.TimerHandle | None = None
        self._groups: SimpleQueue[list[_Entry] | None] = SimpleQueue()
        self._backlog = 0
        self._begun: float | None = None  # when the commit that is under way began
        self._thread: threading.Thread | None = None
        self._failing = False

    def start(self) -> None:
        """Begin to write; the running loop is the one that is woken."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def admit(self) -> None:
        """Refusal (503) where a request would have to wait for too long: say so before the model is asked."""
        begun = self._begun
        if self._backlog >= BACKLOG or (begun is not None and time.monotonic() - begun > _STUCK_S):
            raise Refusal(503, "the prediction log is behind: nothing was answered that it would not keep", retry_after_s=1)

    def keep(self, *predictions: Prediction) -> asyncio.Future[None]:
        """Done when all of them are durable; Refusal (507 or 503) where they cannot be kept."""
        return self._put(predictions, None)

    def run(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Have the writing thread do something between two commits: two writers would only wait for each other's lock."""
        return self._put((), job)

    async def close(self) -> None:
        """Write what was handed over, then end the thread."""
        if self._thread is None:
            return
        while self._backlog:
            self._hand_over()
            await asyncio.sleep(0.01)
        self._groups.put(None)
        await asyncio.to_thread(self._thread.join)
        self._thread = None

    def _put(self, predictions: tuple[Prediction, ...], job: Callable[[], Any] | None) -> asyncio.Future[Any]:
        self._backlog += 1
        done = self._loop.create_future()
        self._waiting.append(_Entry(done, predictions, job))
        if self._begun is None:
            self._consider()
        return done

    def _consider(self) -> None:
        """Hand over what waits, unless it is worth waiting for more. The thread is idle."""
        if self.coming < _SEVERAL or len(self._waiting) >= self.coming:
            self._hand_over()
        elif self._later is None:
            self._later = self._loop.call_later(_MOMENT_S, self._hand_over)

    def _hand_over(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._begun is not None or not self._waiting:
            return
        group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
        self._begun = time.monotonic()
        self._groups.put(group)

    def _wake(self, outcomes: list[_Outcome], seconds: float) -> None:
        """A group is done."""
        self._begun = None
        self._backlog -= len(outcomes)
        if self._waiting:
            self._consider()
        size = sum(len(entry.predictions) for entry, _, _ in outcomes)
        if size:
            self._telemetry.committed(size, seconds)
        for entry, result, error in outcomes:
            if entry.done.done():  # its client is gone
                continue
            if error is None:
                entry.done.set_result(result)
            elif entry.job is not None:
                entry.done.set_exception(refusal(error) or error)
            else:
                entry.done.set_exception(refusal(error) or _unkept(error))
        self._tell(next((error for _, _, error in outcomes if error is not None), None))

    def _tell(self, error: Exception | None) -> None:
        """A line when it begins and one when it is over: a line per request would fill the disk further."""
        if (error is None) is self._failing:
            self._failing = not self._failing
            log.error("the records cannot be written: %s", error) if error else log.info("the records are written again")

    # -- the thread

    def _write(self) -> None:
        _outcome(self._records.open)  # what is wrong with it, the first group will say
        while (group := self._groups.get()) is not None:
            began = time.monotonic()
            outcomes = self._commit([one for one in group if one.job is None])
            outcomes += [(one, *_outcome(one.job)) for one in group if one.job is not None]
            self._loop.call_soon_threadsafe(self._wake, outcomes, time.monotonic() - began)

    def _commit(self, group: list[_Entry]) -> list[_Outcome]:
        if not group:
            return []
        predictions = [one for entry in group for one in entry.predictions]
        _, error = _outcome(lambda: self._records.append(predictions))
        if error is not None and len(group) > 1 and refusal(error) is None:  # one of them is at fault: not the others'
            return [(entry, *_outcome(lambda entry=entry: self._records.append(entry.predictions))) for entry in group]
        return [(entry, None, error) for entry in group]


def refusal(error: BaseException) -> Refusal | None:
    """What a client is told where the store as a whole cannot be written; None where the fault lies with what was to be kept."""
    if isinstance(error, Refusal):
        return Refusal(error.status, error.what, retry_after_s=error.retry_after_s)
    for cause in _causes(error):
        full = isinstance(cause, OSError) and cause.errno in _FULL
        if full or _code(cause) == _SQLITE_FULL or getattr(cause, "sqlstate", None) == _DISK_FULL:
            return Refusal(507, "the disk is full: the prediction cannot be kept, so it is not given", retry_after_s=5)
    if any(isinstance(cause, OSError) or type(cause).__name__ == "OperationalError" for cause in _causes(error)):
        return Refusal(503, "the prediction log cannot be written now; the gateway's log says why", retry_after_s=1)
    return None


def _unkept(error: Exception) -> Refusal:
    return Refusal(503, f"the prediction cannot be kept, so it is not given: {str(error)[:200]}", retry_after_s=1)


def _outcome(job: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return job(), None
    except Exception as error:  # noqa: BLE001  (handed to whoever waits, which is on another thread)
        return None, error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came from, and what SQLAlchemy wrapped in it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = getattr(seen, "orig", None) or seen.__cause__


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code, SQLite's documentation has it
