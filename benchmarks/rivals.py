"""The servers that are compared: ours, the bare one, stock KServe, and where they are there mlflow and MLServer."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import load, reference
from serving.programs import free_port
from training.signature import Signature

READY_S = 90.0
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@dataclass
class Rival:
    """One server: how it is started, where it answers, and how it wants a row."""

    name: str
    command: list[str]
    port: int
    path: str
    row: dict[str, Any]  # one that it must answer before it counts as ready
    body: Callable[[dict[str, Any]], bytes] = load.v2
    grpc_port: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    connection: http.client.HTTPConnection | None = None

    def memory_mb(self) -> float:
        """Resident memory of the process and its children."""
        assert self.process is not None
        pids, total = [self.process.pid], 0.0
        while pids:
            pid = pids.pop()
            children = Path(f"/proc/{pid}/task/{pid}/children")
            pids += [int(child) for child in children.read_text().split()] if children.exists() else []
            total += int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024 / 1e6
        return total

    def answers(self) -> bool:
        """Whether it answers the row."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            connection.request("POST", self.path, self.body(self.row), {"content-type": "application/json"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def ours(folder: Path) -> Rival:
    """`python -m serving`."""
    name, port, grpc_port = Signature.read(folder).workload, free_port(), free_port()
    command = [
        sys.executable,
        "-m",
        "serving",
        "--model_name",
        name,
        "--model_dir",
        str(folder),
        "--http_port",
        str(port),
        "--grpc_port",
        str(grpc_port),
        "--version",
        "1",
        "--unsigned",
    ]
    return Rival("AI Prime", command, port, f"/v2/models/{name}/infer", load.one_row(folder), grpc_port=grpc_port)


def bare(folder: Path) -> Rival:
    """benchmarks/bare_server.py."""
    port = free_port()
    return Rival(
        "bare", [sys.executable, "-m", "benchmarks.bare_server", str(folder), str(port)], port, "/", load.one_row(folder)
    )


def stock(folder: Path) -> Rival:
    """benchmarks/stock_server.py."""
    name, port, grpc_port = Signature.read(folder).workload, free_port(), free_port()
    command = [sys.executable, "-m", "benchmarks.stock_server", str(folder), str(port), str(grpc_port)]
    return Rival("stock KServe", command, port, f"/v2/models/{name}/infer", load.one_row(folder), grpc_port=grpc_port)


def mlflow(folder: Path) -> Rival:
    """`mlflow models serve` of a model without pickle: a loader module and the exported folder."""
    import mlflow.pyfunc

    port, path = free_port(), folder / "mlflow"
    mlflow.pyfunc.save_model(
        path, loader_module="benchmarks.mlflow_loader", data_path=str(reference.FOLDER), pip_requirements=["onnxruntime"]
    )
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(path),
        "-p",
        str(port),
        "-h",
        "127.0.0.1",
        "--env-manager",
        "local",
    ]
    environment = {"PYTHONPATH": str(Path.cwd()), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def body(row: dict[str, Any]) -> bytes:
        return json.dumps({"inputs": [row["inputs"][0]["data"]]}).encode()

    return Rival(
        "mlflow models serve", command, port, "/invocations", load.one_row(reference.FOLDER), body, environment=environment
    )


def mlserver(folder: Path, python: Path) -> Rival:
    """MLServer in an environment of its own, with a runtime of ten lines over the same graph."""
    place, port = folder / "mlserver", free_port()
    place.mkdir()
    (place / "net.py").write_text((Path(__file__).parent / "mlserver_runtime.py").read_text())
    (place / "settings.json").write_text(
        json.dumps(
            {
                "host": "127.0.0.1",
                "http_port": port,
                "grpc_port": free_port(),
                "metrics_port": free_port(),
                "parallel_workers": 0,
            }
        )
    )
    (place / "model-settings.json").write_text(
        json.dumps(
            {"name": "reference", "implementation": "net.Net", "parameters": {"uri": str(reference.FOLDER / "model.onnx")}}
        )
    )
    command = [str(python.parent / "mlserver"), "start", str(place)]
    return Rival("MLServer", command, port, "/v2/models/reference/infer", load.one_row(reference.FOLDER))


@contextmanager
def running(servers: list[Rival]) -> Iterator[list[Rival]]:
    """All of them, each answering; ended afterwards."""
    with ExitStack() as stack:
        for server in servers:
            environment = os.environ | ENVIRONMENT | server.environment
            server.process = subprocess.Popen(
                server.command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(_end, server.process)
        deadline = time.monotonic() + READY_S
        for server in servers:
            while not server.answers():
                if time.monotonic() > deadline or (server.process is not None and server.process.poll() is not None):
                    raise RuntimeError(f"{server.name} did not start: {' '.join(server.command)}")
                time.sleep(0.02)
        yield servers


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
