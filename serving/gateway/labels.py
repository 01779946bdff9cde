"""`POST /v1/labels`: what turned out to be true, by prediction or by time. Nothing of an upload is kept that has a mistake in it.

Sending the same again changes nothing, so a client that got no answer (its end was lost, the disk was full halfway) sends it again. Read and checked in a thread: the loop goes on
with predictions.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiohttp import web

from data.errors import UserError
from serving.gateway import label_forms
from serving.gateway.bodies import Bodies
from serving.gateway.completion import Completion
from serving.gateway.ids import kept
from serving.gateway.label_checks import Checks, Known, Stated, Wrong
from serving.gateway.refusal import Refusal, of_store
from serving.gateway.routing import Pointer
from serving.gateway.telemetry import Telemetry
from serving.records.label import Label, read
from serving.routes import Route

if TYPE_CHECKING:
    from serving.gateway.scribe import Scribe
    from serving.records import Records

log = logging.getLogger("aiprime.gateway")
LIMIT = 64 << 20  # bytes of an upload
_GROUP = 500  # labels of one commit
_SHOWN = 20  # problems that an answer names


class Labels:
    """The labels' door of one gateway."""

    def __init__(
        self,
        records: Records,
        scribe: Scribe,
        pointer: Pointer,
        completion: Completion,
        bodies: Bodies,
        telemetry: Telemetry,
    ) -> None:
        self._records, self._scribe, self._pointer, self._completion = records, scribe, pointer, completion
        self._bodies, self._telemetry = bodies, telemetry

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """`{"new", "same", "corrected"}`, `left_out` where the sample kept no record of a prediction, and `unknown_entities`: the truth of one that is
        not known yet is kept, for it may come before the first prediction, and told, for it may be a slip. Refusal names what is wrong."""
        body = await self._bodies.read(request, LIMIT)
        workload, rows = await asyncio.to_thread(
            label_forms.rows, body, request.content_type, request.rel_url.query.get("workload")
        )
        route = self._pointer.routes.get(workload)
        if route is None:
            raise Refusal(404, f"no workload {workload[:100]!r}")
        labels, left_out, unknown = await asyncio.to_thread(self._read, route, rows)
        answer: dict[str, Any] = {"new": 0, "same": 0, "corrected": 0}
        for start in range(0, len(labels), _GROUP):  # predictions are kept in between
            group = labels[start : start + _GROUP]
            try:
                done = await self._scribe.label(group)
            except (OSError, Refusal) as error:
                raise of_store(error) or error from error
            for name in answer:
                answer[name] += getattr(done, name)
        if left_out:
            answer["left_out"] = left_out
        if unknown:
            count = sum(unknown.values())
            self._telemetry.labelled_unknown(route.workload, count)
            log.warning("%s: %s labels are of %s entities that have no stored values", route.workload, count, len(unknown))
            answer["unknown_entities"] = {"labels": count, "entities": [*unknown][:_SHOWN]}
        return web.Response(text=json.dumps(answer), content_type="application/json")

    def _read(self, route: Route, rows: Sequence[Any]) -> tuple[list[Label], int, dict[str, int]]:
        """The labels, how many are about predictions that the sample left out, and how many are of each entity that is not known; Refusal with
        every problem."""
        checks = Checks(route.workload, self._completion.signature(route))
        stated: list[tuple[int, Stated]] = []
        problems: list[tuple[int, Wrong]] = []
        for number, row in enumerate(rows):
            try:
                stated.append((number, checks.stated(row)))
            except Wrong as wrong:
                problems.append((number, wrong))
        known = self._known({one.prediction_id for _, one in stated if one.prediction_id is not None})
        labels, left_out, named = [], 0, Counter[str]()
        for number, one in stated:
            if one.prediction_id is not None and one.prediction_id not in known and not kept(one.prediction_id, route.sample):
                left_out += 1
                continue
            try:
                label = checks.label(one, known)
                about, _ = read(label, number)
                labels.append(label)
                if about.entity:
                    named[about.entity] += 1
            except Wrong as wrong:
                problems.append((number, wrong))
            except UserError as error:
                problems.append((number, Wrong(error.what, error.next_step)))
        if problems:
            raise _refusal(sorted(problems, key=lambda one: one[0]), len(rows))
        return labels, left_out, {one: named[one] for one in self._completion.unknown(route.workload, named)}

    def _known(self, ids: set[str]) -> dict[str, Known]:
        return {one: Known(workload=workload, rows=rows) for one, (workload, rows) in self._records.sizes(ids).items()}


def _refusal(problems: list[tuple[int, Wrong]], rows: int) -> Refusal:
    number, first = next((one for one in problems if one[1].unknown), problems[0])
    where = "" if rows == 1 else f"label {number}: "
    more = f" ({len(problems)} of {rows} labels are wrong; nothing was kept)" if rows > 1 else ""
    named = [{"index": n, "what": wrong.what, "next_step": wrong.next_step} for n, wrong in problems[:_SHOWN]]
    return Refusal(404 if first.unknown else 400, f"{where}{first.what}; {first.next_step}{more}", more={"labels": named})
