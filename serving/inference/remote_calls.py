"""The v2 protocol over gRPC: KServe's servicer on an address of our choice, with true error codes and no repository calls."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import grpc
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady  # noqa: TID253  (this module exists only in the server's process)
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages  # noqa: TID253
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as wiring  # noqa: TID253
from kserve.protocol.grpc.servicer import InferenceServicer  # noqa: TID253

from data.errors import UserError
from serving.inference.dataplane import ReadyDataPlane
from serving.inference.metadata import PLATFORM
from serving.inference.model import OnnxModel
from serving.inference.refused import FAILED
from serving.inference.turns import Busy, Late
from serving.limits import Limits

log = logging.getLogger("aiprime.serving")
WINDOW, FRAME = 8 << 20, 1 << 20
IDLE_S = 65.0  # as uvicorn's between two requests
AGE_S = 300.0  # of a connection: then its client is told to make another one
CODES = {
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    ModelNotFound: grpc.StatusCode.NOT_FOUND,
    ModelNotReady: grpc.StatusCode.UNAVAILABLE,
    Late: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class Servicer(InferenceServicer):
    """KServe's servicer; what fails becomes a status that says no more than a client may know."""

    def __init__(self, dataplane: ReadyDataPlane, model: OnnxModel) -> None:
        super().__init__(dataplane, None)  # pyright: ignore[reportArgumentType]  (no repository)
        self._model = model

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """Inference."""
        return await self._answered(super().ModelInfer(request, context), context)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        """Readiness of one model."""
        return await self._answered(super().ModelReady(request, context), context)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        """Inputs and outputs; what gRPC's messages have no place for is in the REST answer."""
        found = await self._answered(self._data_plane.model_metadata(request.name), context)
        versions = [] if self._model.version is None else [self._model.version]
        return messages.ModelMetadataResponse(
            name=found["name"], versions=versions, platform=PLATFORM, inputs=found["inputs"], outputs=found["outputs"]
        )

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        """Refused."""
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "models are not loaded or unloaded over the network")

    RepositoryModelUnload = RepositoryModelLoad

    async def _answered(self, answer: Any, context: Any) -> Any:
        try:
            return await answer
        except Busy as busy:
            context.set_trailing_metadata((("retry-after", str(busy.again_s)),))
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(busy))
        except tuple(CODES) as error:
            await context.abort(CODES[type(error)], str(error))
        except Exception:
            log.exception("a gRPC request failed")
            await context.abort(grpc.StatusCode.INTERNAL, FAILED)


class Messages(grpc.aio.ServerInterceptor):
    """Awaits the calls' messages, so that one that does not come can be given up; gRPC itself would wait for ever.

    `coming` are the tasks that wait. How much of a message came is not seen here.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._handlers: dict[str, Any] = {}
        self._given_up: set[asyncio.Task[Any]] = set()
        self.coming: set[asyncio.Task[Any]] = set()

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """The method's handler, that is called before the message came instead of after."""
        method = handler_call_details.method
        if method not in self._handlers:
            if (handler := await continuation(handler_call_details)) is None:
                return None
            self._handlers[method] = grpc.stream_unary_rpc_method_handler(
                partial(self._answer, handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return self._handlers[method]

    def give_up(self, task: asyncio.Task[Any]) -> None:
        """End a call whose message is too slow."""
        if task in self.coming and task not in self._given_up:
            self._given_up.add(task)
            task.cancel()

    async def _answer(self, answer: Any, _: Any, context: Any) -> Any:
        return await answer(await self._message(context), context)

    async def _message(self, context: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (gRPC runs each call in a task)
        self.coming.add(task)
        try:
            message = await context.read()
            if message is not grpc.aio.EOF:  # pyright: ignore[reportAttributeAccessIssue]  (from its C part)
                return message
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call ended without a message")
        except asyncio.CancelledError:
            if task not in self._given_up:
                raise
            self._given_up.discard(task)
            task.uncancel()
            late = f"the message did not come within {self._limits.seconds:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, late)
        finally:
            self.coming.discard(task)


class RemoteCalls:
    """The gRPC server. `messages` waits for what clients send; who does not read is let go with its connection's age.

    No call takes longer than `longest_s`.
    """

    def __init__(
        self, servicer: InferenceServicer, message_limit: int, limits: Limits, longest_s: float, *, patient: bool = True
    ) -> None:
        self._servicer, self._at_once = servicer, limits.connections
        self.messages = Messages(limits)
        self._interceptors = [self.messages] if patient else []
        self._options = [
            ("grpc.max_connection_idle_ms", int(IDLE_S * 1000)),
            ("grpc.max_connection_age_ms", int(AGE_S * 1000)),
            ("grpc.max_connection_age_grace_ms", int((longest_s + 2 * limits.seconds) * 1000)),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", message_limit),
            ("grpc.server_handshake_timeout_ms", int(limits.seconds * 1000)),
            ("grpc.so_reuseport", 0),  # a port that is taken must be an error
            ("grpc.http2.lookahead_bytes", WINDOW),  # the defaults (64 kB, 16 kB) halve the speed of a batch
            ("grpc.http2.max_frame_size", FRAME),
        ]
        self._server: Any = None

    async def begin(self, host: str, port: int) -> None:
        """Listen; UserError where the port is taken."""
        self._server = grpc.aio.server(
            interceptors=self._interceptors, options=self._options, maximum_concurrent_rpcs=self._at_once
        )
        wiring.add_GRPCInferenceServiceServicer_to_server(self._servicer, self._server)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise UserError(f"cannot listen on {address} (gRPC)", next_step="choose another port with --grpc_port") from error
        await self._server.start()

    async def end(self, grace_seconds: float) -> None:
        """Refuse new calls, finish those in flight."""
        await asyncio.shield(self._server.stop(grace_seconds))
