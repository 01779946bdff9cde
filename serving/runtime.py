"""The model server: KServe's ModelServer with one ONNX model, on one address, that leaves without a failed request.

Differences from stock KServe, each held by a test: it binds to loopback unless told otherwise, runs on uvloop, answers inference by the
short route, has no repository endpoints, says when it is not ready, and drains on SIGTERM (serving/inference/drain.py).
Imports kserve (through the modules below), so only `python -m serving` may import it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
import uvloop
from kserve import ModelServer  # noqa: TID253  (this module exists only in the server's process)
from kserve.errors import ModelNotFound, ModelNotReady, ServerNotReady  # noqa: TID253
from kserve.model_server import app  # noqa: TID253
from kserve.protocol.grpc.servicer import InferenceServicer  # noqa: TID253
from kserve.protocol.rest.server import RESTServer  # noqa: TID253
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from serving import instance
from serving.inference.bodies import Bodies
from serving.inference.connection import Connection
from serving.inference.dataplane import ReadyDataPlane
from serving.inference.drain import Drain
from serving.inference.model import OnnxModel
from serving.inference.remote_calls import RemoteCalls, Servicer
from serving.inference.route import InferenceRoute
from serving.limits import Limits
from serving.patience import Patience

log = logging.getLogger("aiprime.serving")
STATUSES = {HTTPException: None, ModelNotFound: 404, ModelNotReady: 503, ServerNotReady: 503}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server listens and leaves."""

    listening: socket.socket  # bound to the HTTP port
    grpc_port: int  # 0: no gRPC
    bind: str = "127.0.0.1"
    body_limit: int = 64 << 20  # bytes
    leaving_seconds: float = 0.3  # not ready, but still answering
    limits: Limits = Limits()  # noqa: RUF009  (frozen)
    grace_seconds: int = 30  # for what is in flight when the port closes
    token: str | None = None  # what tells this server from any other (serving/instance.py)
    stock_routes: bool = False  # KServe's own routes and middleware: what the contract test compares with


class Listener(uvicorn.Server):
    """uvicorn's server, whose SIGTERM is the drain. A second signal ends it at once."""

    def __init__(
        self, config: uvicorn.Config, drain: Drain, bodies: Bodies, settings: Settings, calls: RemoteCalls | None
    ) -> None:
        super().__init__(config)
        self._drain, self._bodies, self._seconds, self._calls = drain, bodies, settings.leaving_seconds, calls
        self._patience = Patience(settings.limits)
        self._grace = settings.grace_seconds
        self._since = 0.0

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM or SIGINT: readiness goes false now; the port closes `leaving_seconds` later."""
        if self._drain.leaving:
            os._exit(128 + sig)
        self._drain.leaving, self._since = True, time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to go; five times: who is too slow."""
        if counter % 2 == 0:
            self._sweep()
        if self._drain.leaving and time.monotonic() - self._since >= self._seconds:
            self.should_exit = True
        return await super().on_tick(counter)

    def _sweep(self) -> None:
        """Whoever has been awaited for too long is given up: headers, bodies, gRPC's messages, readers."""
        connections: Any = self.server_state.connections
        waiting: dict[Any, int] = dict(filter(None, (one.awaited() for one in connections)))
        waiting |= {("body", task, 0): size for task, size in self._bodies.coming.items()}
        if self._calls is not None:
            waiting |= {("message", task, 0): 0 for task in self._calls.messages.coming}
        for what, whom, _ in self._patience.overdue(waiting, time.monotonic()):
            if what == "body":
                self._bodies.give_up(whom)
            elif what == "message" and self._calls is not None:
                self._calls.messages.give_up(whom)
            else:
                whom.late(what)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, finish what is in flight over HTTP and gRPC alike."""
        endings = [super().shutdown(sockets)]
        if self._calls is not None:
            endings.append(self._calls.end(self._grace))
        await asyncio.gather(*endings)


class Server(ModelServer):
    """KServe's ModelServer, bound and drained as above."""

    def __init__(self, model: OnnxModel, settings: Settings) -> None:
        super().__init__(
            http_port=settings.listening.getsockname()[1],
            grpc_port=settings.grpc_port,
            workers=1,
            enable_latency_logging=settings.stock_routes,
            grace_period=settings.grace_seconds,
        )
        self._settings, self._model = settings, model
        self._drain, self._bodies = Drain(), Bodies(settings.limits, settings.body_limit)
        self.dataplane = ReadyDataPlane(self.registered_models, self._drain)

    def serve(self) -> None:
        """Serve until SIGTERM; returns when everything begun has been answered. UserError where a port is taken."""
        self._register_and_check_atleast_one_model_is_ready([self._model])
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._until_signalled())

    async def _until_signalled(self) -> None:
        settings = self._settings
        calls = None
        if settings.grpc_port:
            stock = InferenceServicer(self.dataplane, self.model_repository_extension)
            calls = RemoteCalls(
                stock if settings.stock_routes else Servicer(self.dataplane, self._model),
                settings.body_limit,
                settings.limits,
                self._model.turns.deadline_s,
                patient=not settings.stock_routes,
            )
            await calls.begin(settings.bind, settings.grpc_port)
        config = uvicorn.Config(
            self._application(),
            loop="none",  # uvloop already runs
            http=partial(Connection, limits=settings.limits),  # pyright: ignore[reportArgumentType]  (a protocol's factory is one)
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=settings.stock_routes,
            server_header=False,
            timeout_keep_alive=self.timeout_keep_alive,
            timeout_graceful_shutdown=settings.grace_seconds,
        )
        address = settings.listening.getsockname()
        log.info(
            "serving %s version %s on %s:%d, gRPC on port %d",
            self._model.name,
            self._model.version,
            *address[:2],
            settings.grpc_port,
        )
        await Listener(config, self._drain, self._bodies, settings, calls).serve(sockets=[settings.listening])

    def _application(self) -> Any:
        """KServe's application behind the short route."""
        stock = RESTServer("", self.dataplane, self.model_repository_extension, self.http_port)
        if self._settings.stock_routes:
            stock.create_application()
            return app
        stock._register_endpoints(app)
        stock._add_exception_handlers(app)
        for kind, status in STATUSES.items():
            app.add_exception_handler(kind, partial(_as_error, status))
        token = self._settings.token
        proof = None if token is None else partial(instance.proof, token, self.http_port)
        return InferenceRoute(app, self._model, self._drain, self._bodies, proof)


async def _as_error(status: int | None, _: Any, error: Any) -> JSONResponse:
    """KServe's own handlers log each of these with its stack, a probe of a server that is leaving included."""
    return JSONResponse({"error": error.detail if status is None else str(error)}, status or error.status_code)
