"""A model server in a process of its own, and the clients that speak to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from unittest import mock

from serving.programs import free_port
from tests.conftest import ROOT

READY_S = 40.0


@dataclass
class Answer:
    """A response, read whole."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Served:
    """A running server."""

    name: str
    process: subprocess.Popen[bytes]
    http_port: int
    grpc_port: int
    log: Path
    fresh_mb: float = 0.0  # when it became ready
    _told: bool = False
    _kept: list[HTTPConnection] = field(default_factory=list)

    def connection(self) -> HTTPConnection:
        """A new connection."""
        self._kept.append(HTTPConnection("127.0.0.1", self.http_port, timeout=30))
        return self._kept[-1]

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
        on: HTTPConnection | None = None,
    ) -> Answer:
        """Send one request, on a connection of its own unless `on` is given."""
        connection = on or self.connection()
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        if on is None:
            connection.close()
        return answer

    def get(self, path: str) -> Answer:
        """GET."""
        return self.request("GET", path)

    def infer(self, document: Any, *, tail: bytes | None = None, path: str | None = None) -> Answer:
        """A v2 inference request; with `tail`, in the binary extension."""
        head = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = (
            {"content-type": "application/json"}
            if tail is None
            else {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
        )
        return self.request("POST", path or f"/v2/models/{self.name}/infer", head + (tail or b""), headers)

    def predict(self, document: Any) -> Answer:
        """A v1 request."""
        return self.request(
            "POST", f"/v1/models/{self.name}:predict", json.dumps(document), {"content-type": "application/json"}
        )

    def calls(self) -> Any:
        """A gRPC stub, and the messages' module."""
        import grpc

        with mock.patch.object(sys, "argv", sys.argv[:1]):  # kserve parses it
            from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as wiring
        return wiring.GRPCInferenceServiceStub(grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}"))

    def wait_until_ready(self) -> None:
        """Fail with the log where it does not become ready."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.get(f"/v2/models/{self.name}/ready").status == 200:
                    self.fresh_mb = self.memory_mb()
                    return
            except (OSError, HTTPException):
                time.sleep(0.02)
        raise AssertionError(f"not ready; exit status {self.process.poll()}\n{self.log.read_text()}")

    def memory_mb(self) -> float:
        """Resident memory, in MB of a million bytes."""
        return int(Path(f"/proc/{self.process.pid}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024 / 1e6

    def tell_to_end(self) -> None:
        """SIGTERM, once: a second one means at once."""
        if not self._told and self.process.poll() is None:
            self._told = True
            self.process.terminate()

    def end(self, deadline_s: float = 15) -> int:
        """The exit status, after SIGTERM where `tell_to_end` has not sent it."""
        self.tell_to_end()
        try:
            return self.process.wait(deadline_s)
        finally:
            self.process.kill()
            self.process.wait()


def messages() -> Any:
    """The gRPC messages of the v2 protocol."""
    with mock.patch.object(sys, "argv", sys.argv[:1]):
        from kserve.protocol.grpc import grpc_predict_v2_pb2
    return grpc_predict_v2_pb2


def start(folder: Path, *options: str, name: str = "hand", env: dict[str, str] | None = None) -> Served:
    """Start a server and return at once; nobody asks who made the model unless the options say so."""
    options = options if "--trusted_keys" in options else (*options, "--unsigned")
    http_port, grpc_port = free_port(), free_port()
    log = folder.with_name(f"{folder.name}-{http_port}.log")
    command = [
        sys.executable,
        "-m",
        "serving",
        "--model_name",
        name,
        "--model_dir",
        str(folder),
        "--http_port",
        str(http_port),
        "--grpc_port",
        str(grpc_port),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, *options], cwd=ROOT, env=os.environ | (env or {}), stdout=out, stderr=out)
    return Served(name, process, http_port, grpc_port, log)


@contextmanager
def serve(folder: Path, *options: str, **more: Any) -> Iterator[Served]:
    """A ready server, ended afterwards."""
    served = start(folder, *options, **more)
    try:
        served.wait_until_ready()
        yield served
    finally:
        if served.process.poll() is None:
            served.end()
