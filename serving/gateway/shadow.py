"""Shadow copies: after an answer is durable, the same request goes to the challenger, whose answer only the log sees.

Never slows or fails anybody: no more than a few are in flight, the rest is dropped and counted, and each has a deadline.
"""

from __future__ import annotations

import asyncio
import logging

from serving.gateway.completion import Completed, Completion
from serving.gateway.journal import Journal
from serving.gateway.refusal import Refusal
from serving.gateway.telemetry import Telemetry
from serving.gateway.tries import Asked, Tries, record
from serving.routes import Route

log = logging.getLogger("aiprime.gateway")
AT_ONCE = 16
DEADLINE_S = 2.0


class Shadow:
    """The copies of one gateway."""

    def __init__(self, tries: Tries, completion: Completion, journal: Journal, telemetry: Telemetry) -> None:
        self._tries, self._completion, self._journal, self._telemetry = tries, completion, journal, telemetry
        self._tasks: set[asyncio.Task[None]] = set()

    def copy(self, champion: Route, challenger: Route, prediction_id: str, asked: Asked, sent: Completed) -> None:
        """Send a copy of what the champion was `sent`, completed anew where the challenger takes other inputs; returns at once."""
        if len(self._tasks) >= AT_ONCE:
            self._telemetry.dropped(challenger.workload)
            return
        completed = sent if self._completion.alike(champion, challenger) else None
        task = asyncio.get_running_loop().create_task(self._send(challenger, prediction_id, asked, completed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait for those in flight: each ends by its deadline."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _send(self, route: Route, prediction_id: str, asked: Asked, completed: Completed | None) -> None:
        try:
            tried = await self._tries.once(route, "shadow", asked, deadline_s=DEADLINE_S, completed=completed)
            if tried.lost:  # a pooled connection that was closed meanwhile is not the challenger's failure
                tried = await self._tries.once(route, "shadow", asked, deadline_s=DEADLINE_S, completed=tried.sent, fresh=True)
            # The champion's clients ask for more than a second server carries, or another process is in its place: no error of its.
            if tried.busy or tried.stranger:
                self._telemetry.dropped(route.workload)
                return
            await self._journal.keep(record(prediction_id, asked, tried))
        except Refusal as refused:  # it cannot be completed for the challenger, or the log is full
            self._telemetry.dropped(route.workload)
            log.debug("a shadow copy of %s was dropped: %s", prediction_id, refused)
        except Exception:
            self._telemetry.dropped(route.workload)
            log.exception("a shadow copy of %s failed", prediction_id)
