"""The v2 protocol over gRPC: KServe's servicer on an address of our choice, with true error codes and no repository calls."""

from __future__ import annotations

import asyncio
import logging
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


class RemoteCalls:
    """The gRPC server."""

    def __init__(self, servicer: InferenceServicer, message_limit: int, limits: Limits) -> None:
        self._servicer, self._at_once = servicer, limits.connections
        self._options = [
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
        self._server = grpc.aio.server(options=self._options, maximum_concurrent_rpcs=self._at_once)
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
