"""One try at one model server: the request completed for its version, sent, timed, and what came of it as a record.

Knows nothing of who asked or of which version ought to answer. Inference has no effects, so asking twice is asking once: a connection
that turns out to be closed is replaced.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple

import orjson

from serving.gateway.completion import Completed, Completion
from serving.gateway.routing import Pointer
from serving.gateway.telemetry import Telemetry
from serving.gateway.upstream import Answer, Stranger
from serving.records.prediction import Prediction, Role
from serving.routes import Route

_BUSY = 429
_SHAPE = re.compile(rb'"shape":\s*\[\s*(\d+)')  # of the first output; inside a text the quotes would be escaped


class Asked(NamedTuple):
    """A client's request: `line` with {} for the workload, `protocol` v1 or v2 (None: no inference), headers as they go on."""

    line: str
    protocol: str | None
    body: bytes
    headers: list[tuple[bytes, bytes]]
    json_length: str | None = None  # how much of a binary body is JSON, as the client says


class Try(NamedTuple):
    """What came of it: an answer, or an error and no answer."""

    route: Route
    role: Role
    sent: Completed
    answer: Answer | None
    error: OSError | None
    seconds: float
    at: float

    @property
    def status(self) -> int:
        """The answer's; 504 past the deadline, 0 where nobody answered."""
        if self.answer is not None:
            return self.answer.status
        return 504 if isinstance(self.error, TimeoutError) else 0

    @property
    def busy(self) -> bool:
        """Whether the server refused to let it wait: nothing was predicted."""
        return self.status == _BUSY

    @property
    def lost(self) -> bool:
        """Whether the server is gone or hung up: to ask again may help."""
        return self.error is not None and not isinstance(self.error, TimeoutError | Stranger)

    @property
    def stranger(self) -> bool:
        """Whether nobody proved to be the server: nothing was asked."""
        return isinstance(self.error, Stranger)


class Tries:
    """Asks servers."""

    def __init__(self, pointer: Pointer, completion: Completion, telemetry: Telemetry) -> None:
        self._pointer, self._completion, self._telemetry = pointer, completion, telemetry

    async def once(
        self,
        route: Route,
        role: Role,
        asked: Asked,
        *,
        deadline_s: float,
        fresh: bool = False,
        completed: Completed | None = None,
    ) -> Try:
        """Ask the route's server. Refusal where the request cannot be completed; what the server does is in the Try.

        Nothing is awaited between the route's reading and its server's count, so a drained server gets no more.
        """
        server = self._pointer.take(route)
        answer = error = None
        try:
            if completed is None:
                completed = (
                    Completed(asked.body)
                    if asked.protocol is None
                    else await self._completion.complete(
                        route, asked.protocol, asked.body, binary=asked.json_length is not None
                    )
                )
            began = time.perf_counter()
            try:
                line = asked.line.format(route.workload).encode()
                answer = await server.request(line, asked.headers, completed.body, deadline_s=deadline_s, fresh=fresh)
            except OSError as raised:
                error = raised
                if isinstance(raised, Stranger):
                    self._pointer.doubt(route.workload, server, raised)
        finally:
            self._pointer.give_back(server)
        seconds = time.perf_counter() - began
        done = Try(route=route, role=role, sent=completed, answer=answer, error=error, seconds=seconds, at=time.time())
        if asked.protocol is not None:
            self._telemetry.tried(route.workload, route.version or "", role, done.status)
        return done


def record(prediction_id: str, asked: Asked, tried: Try) -> Prediction:
    """The try as it is kept."""
    answer = b"" if tried.answer is None else tried.answer.body
    form = asked.protocol or ""
    if asked.json_length is not None:
        form = f"{form}/{asked.json_length}"
    return Prediction(
        id=prediction_id,
        workload=tried.route.workload,
        version=tried.route.version or "",
        role=tried.role,
        at=tried.at,
        rows=tried.sent.rows or (_rows(form, answer) if tried.status == 200 else 0),
        form=form,
        request=tried.sent.body,
        answer=answer,
        entities=tried.sent.entities,
        status=tried.status,
        latency_ms=tried.seconds * 1000,
    )


def _rows(form: str, answer: bytes) -> int:
    """How many rows an answer has; 0 where it is none of the protocol."""
    if form != "v1":
        found = _SHAPE.search(answer)
        return int(found[1]) if found else 0
    try:
        predictions = orjson.loads(answer).get("predictions")
    except (orjson.JSONDecodeError, AttributeError):
        return 0
    return len(predictions) if isinstance(predictions, list) else 0
