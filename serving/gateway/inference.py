"""Inference: an id, an arm, its answer, a durable record, and only then the response.

A request that meets a closed connection or a server that is gone is sent once more, to wherever the pointer then leads. A challenger
that does not answer well is only tried: the champion's answer is the client's.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from aiohttp import web

from serving.gateway import ids
from serving.gateway.answered import Answered
from serving.gateway.bodies import Bodies
from serving.gateway.completion import Completion
from serving.gateway.journal import Journal
from serving.gateway.messages import VERSION_HEADER, read, written
from serving.gateway.refusal import Refusal
from serving.gateway.routing import Pointer
from serving.gateway.shadow import Shadow
from serving.gateway.telemetry import Telemetry
from serving.gateway.traffic import challenged
from serving.gateway.tries import Asked, Tries, Try, record
from serving.records.prediction import Prediction
from serving.routes import Route

log = logging.getLogger("aiprime.gateway")
_CHALLENGER_S = 2.0  # and a second per megabyte: then the champion is asked


@dataclass(frozen=True)
class Call:
    """What may be asked of a workload's server; `instances` is "v1" or "v2" where the body holds some."""

    line: str  # with {} for the workload
    instances: str | None = None


class Inference:
    """The handlers that reach model servers."""

    def __init__(
        self, pointer: Pointer, completion: Completion, journal: Journal, telemetry: Telemetry, bodies: Bodies
    ) -> None:
        self._pointer, self._completion, self._journal, self._telemetry = pointer, completion, journal, telemetry
        self._bodies = bodies
        self._tries = Tries(pointer, completion, telemetry)
        self.shadow = Shadow(self._tries, completion, journal, telemetry)

    async def handle(self, request: web.BaseRequest, call: Call, workload: str) -> web.Response | Answered:
        """Answer one request for a workload; every refusal is counted like an answer. Refusal where there is no such workload."""
        started = time.perf_counter()
        route = self.route(workload)
        try:
            response = await (self._relay if call.instances is None else self._infer)(request, call, route)
        except Refusal as refusal:
            response = refusal.response()
        version = response.headers.get(VERSION_HEADER, "")
        self._telemetry.count(workload, version, response.status, time.perf_counter() - started)
        return response

    async def _relay(self, request: web.BaseRequest, call: Call, route: Route) -> web.Response | Answered:
        """What is no inference (metadata, readiness): the champion's server is asked, nothing is kept."""
        asked = await read(self._bodies, request, call.line, call.instances, route.max_body_mb << 20)
        tried = await self._champion(route.workload, asked)
        return written(tried)

    async def _infer(self, request: web.BaseRequest, call: Call, route: Route) -> web.Response | Answered:
        self._journal.admit()
        asked = await self.read(request, call, route)
        tried, prediction_id = await self._answered(route.workload, asked)
        return self._written(tried, asked, prediction_id)

    async def read(self, request: web.BaseRequest, call: Call, route: Route) -> Asked:
        """The request, whole; Refusal where it is too long, or does not come."""
        return await read(self._bodies, request, call.line, call.instances, route.max_body_mb << 20)

    async def answered(self, asked: Asked, workload: str) -> tuple[web.Response | Answered, Prediction]:
        """An inference's answer as its client sees it, and its record whether that is kept or not; counted like any other."""
        self._journal.admit()
        started = time.perf_counter()
        tried, prediction_id = await self._answered(workload, asked)
        response = self._written(tried, asked, prediction_id)
        self._telemetry.count(workload, tried.route.version or "", response.status, time.perf_counter() - started)
        return response, record(prediction_id, asked, tried)

    async def _answered(self, workload: str, asked: Asked) -> tuple[Try, str]:
        """The try that the client sees, durable where it is to be kept, and its id."""
        prediction_id = ids.new_id()
        self._journal.coming += 1
        try:
            tries = await self._tried(workload, prediction_id, asked)
        finally:
            self._journal.coming -= 1
        # Where it is busy nothing was predicted, so there is nothing to keep: a flood does not fill the disk.
        if not tries[0].busy and ids.kept(prediction_id, self.route(workload).sample):
            await self._journal.keep(*(record(prediction_id, asked, one) for one in tries))
            self._copy(tries[0], prediction_id, asked)
        return tries[0], prediction_id

    def _written(self, tried: Try, asked: Asked, prediction_id: str) -> web.Response | Answered:
        return written(tried) if tried.busy else written(tried, asked.protocol, prediction_id)

    async def _tried(self, workload: str, prediction_id: str, asked: Asked) -> list[Try]:
        """What came of it: first the try that the client sees, then a challenger's that failed."""
        route = self.route(workload)  # it may have changed while the body came
        failed = None
        if route.challenger is not None and challenged(route, prediction_id, self._entity(route, asked)):
            failed = await self._challenger(workload, asked)
            if failed is not None and failed.status < 400 and failed.answer is not None:
                return [failed]
            # More is asked than it carries, or another process is in its place: nothing was predicted, and that is no error of its.
            if failed is not None and (failed.busy or failed.stranger):
                failed = None
        tried = await self._champion(workload, asked)
        # What both refuse is the client's mistake and says nothing of the challenger.
        refused_by_both = failed is not None and 400 <= failed.status < 500 and 400 <= tried.status < 500
        return [tried] if failed is None or refused_by_both else [tried, failed]

    def _copy(self, tried: Try, prediction_id: str, asked: Asked) -> None:
        route = self._pointer.routes.get(tried.route.workload)
        if route is None or route.challenger is None or not route.challenger.shadow or tried.status != 200:
            return
        if tried.role == "champion":
            self.shadow.copy(tried.route, self._pointer.challengers[route.workload], prediction_id, asked, tried.sent)

    def _entity(self, route: Route, asked: Asked) -> object:
        """The first row's entity, where it decides."""
        if not route.sticky or asked.protocol is None or asked.json_length is not None:
            return None
        return next(iter(self._completion.entities(route, asked.protocol, asked.body)), None)

    async def _challenger(self, workload: str, asked: Asked) -> Try | None:
        """The challenger's try; None where there is none any more, or the request cannot be completed for it."""
        deadline_s = _CHALLENGER_S + len(asked.body) / 1e6
        tried = None
        for fresh in (False, True):
            route = self._pointer.challengers.get(workload)
            if route is None:
                break
            try:
                tried = await self._tries.once(route, "challenger", asked, deadline_s=deadline_s, fresh=fresh)
            except Refusal:  # the champion may need less
                return None
            if not tried.lost:
                break
        return tried

    async def _champion(self, workload: str, asked: Asked) -> Try:
        """The champion's answer, whatever it is, or the try that its deadline ended; Refusal where nobody answers."""
        route = self.route(workload)
        tried = await self._tries.once(route, "champion", asked, deadline_s=route.timeout_s)
        if tried.lost or tried.stranger:
            self._pointer.refresh()
            route = self.route(workload)
            tried = await self._tries.once(route, "champion", asked, deadline_s=route.timeout_s, fresh=True)
        if tried.error is not None and not tried.stranger:  # which the pointer says
            log.warning("%s: %s does not answer: %s", workload, route.server, tried.error)
        return tried

    def route(self, workload: str) -> Route:
        """The workload's route; Refusal where there is none, or nothing of it may serve."""
        route = self._pointer.routes.get(workload)
        if route is None:
            raise Refusal(404, f"no workload {workload[:100]!r}")
        if route.url is None:
            raise Refusal(503, f"{workload} has no champion yet: nothing of it may serve", retry_after_s=10)
        return route
