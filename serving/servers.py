"""Model servers on this machine: the record of each supervised one, and a scratch one for the gate.

A record (HOME/servers/NAME.json) is written before its program is started and deleted after it ended, so no server is without one; it
keeps the ports from one start to the next.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from data.errors import UserError
from data.files import write_json
from serving import instance, manifests
from serving.programs import Program, free_port, specification

_LEFT_S = 6 * 3600  # a scratch folder of that age is nobody's
CODE = Path(__file__).resolve().parents[1]  # where `python -m serving` finds this very package


@dataclass(frozen=True)
class Server:
    """One model server: the program's name, what it serves, and where."""

    name: str
    workload: str
    version: str
    http_port: int
    grpc_port: int
    model: str  # the model's folder
    pid: int | None = None

    @property
    def url(self) -> str:
        """REST, v1 and v2."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_url(self) -> str:
        """v2 over gRPC."""
        return f"127.0.0.1:{self.grpc_port}"

    def ready(self, token: str | None = None) -> bool:
        """Whether it answers that its model is ready, within a second; with a `token`, only where it is the one that was told that."""
        if answer("GET", f"{self.url}/v2/models/{self.workload}/ready", timeout_s=1)[0] != 200:
            return False
        return token is None or self._proves(token)

    def _proves(self, token: str) -> bool:
        number = instance.number()
        status, said = answer("GET", f"{self.url}{instance.PATH}{number}", timeout_s=1)
        return status == 200 and instance.proven(token, self.http_port, number, said)


def records(home: Path) -> dict[str, Server]:
    """Every server that may exist, by name."""
    found = {}
    for file in sorted((home / "servers").glob("*.json")):
        with suppress(FileNotFoundError):
            found[file.stem] = Server(**json.loads(file.read_bytes()))
    return found


def record(home: Path, manifest: dict[str, Any], name: str, *, old: Server | None, running: bool) -> Server:
    """Write and return a server's record; a running one keeps its ports, another one gets them again where they are free."""
    ports = (old.http_port, old.grpc_port) if old else (None, None)
    http_port, grpc_port = ports if running and old else two_ports(*ports)
    server = described(manifest, name, http_port or 0, grpc_port or 0)
    if server != old:
        write_json(home / "servers" / f"{name}.json", asdict(server))
    return server


def forget(home: Path, name: str) -> None:
    """Delete a server's record."""
    (home / "servers" / f"{name}.json").unlink(missing_ok=True)


def described(manifest: dict[str, Any], name: str, http_port: int, grpc_port: int) -> Server:
    """The server that a manifest and two ports make."""
    workload, version = manifests.workload_of(manifest), manifests.version_of(manifest)
    return Server(name, workload, version, http_port, grpc_port, manifests.argument(manifest, "--model_dir"))


def program(manifest: dict[str, Any], server: Server, token: str) -> Program:
    """What the manifest says, as a program of the supervisor, told its token. A pod's replicas and limits have no meaning on one machine."""
    grace_s = manifest["spec"]["predictor"]["terminationGracePeriodSeconds"]
    command = manifests.command(manifest, server.http_port, server.grpc_port)
    return Program(name=server.name, command=command, env=_environment(manifest, token), cwd=CODE, stop_seconds=grace_s)


def two_ports(http_port: int | None = None, grpc_port: int | None = None) -> tuple[int, int]:
    """Two different free ports, the given ones where they are free."""
    first = free_port(http_port)
    second = free_port(grpc_port)
    while second == first:
        second = free_port()
    return first, second


@contextmanager
def scratch(home: Path, manifest: dict[str, Any], deadline_s: float = 60) -> Iterator[Server]:
    """A server that lives as long as the block, not supervised and known to nobody else; it ends even if this process is killed.

    UserError with its log where it does not become ready. Linux ties it to the thread that enters: leave from the same one.
    """
    (home / "scratch").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home / "scratch", ignore_cleanup_errors=True) as folder:
        server = described(manifest, f"scratch-{manifests.name_of(*_named(manifest))}", *two_ports())
        token = instance.told(home, server.name)
        stated = program(manifest, server, token)
        write_json(Path(folder) / "spec.json", specification(stated.command, {**stated.env, "AIPRIME_HOME": str(home)}, CODE))
        command = [sys.executable, "-IS", str(Path(__file__).with_name("child.py")), str(os.getpid()), f"{folder}/spec.json"]
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        try:
            _wait(process, server, token, log, time.monotonic() + deadline_s)
            yield replace(server, pid=process.pid)
        finally:
            process.kill()  # nobody else asks it anything, so there is nothing to drain
            process.wait()


def sweep(home: Path) -> None:
    """Delete what scratch servers of killed processes left behind."""
    for folder in (home / "scratch").glob("*"):
        if time.time() - folder.stat().st_mtime > _LEFT_S:
            shutil.rmtree(folder, ignore_errors=True)


def answer(method: str, url: str, timeout_s: float) -> tuple[int, bytes]:
    """Status and body of a request to this machine, past any proxy; (0, b"") where nobody answers in time."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=timeout_s)
    try:
        connection.request(method, at.path)
        given = connection.getresponse()
        return given.status, given.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _wait(process: subprocess.Popen[bytes], server: Server, token: str, log: Path, end: float) -> None:
    while not server.ready(token):
        late = time.monotonic() > end
        if late or process.poll() is not None:
            tail = "\n    ".join(log.read_text(errors="replace").splitlines()[-20:])
            what = "is not ready in time" if late else f"ended with status {process.returncode}"
            raise UserError(
                f"the scratch server of {server.workload} {what}",
                where=f"{server.model}\n    {tail}",
                next_step="mend what its log says",
            )
        time.sleep(0.02)


def _named(manifest: dict[str, Any]) -> tuple[str, str]:
    return manifests.workload_of(manifest), manifests.version_of(manifest)


def _environment(manifest: dict[str, Any], token: str) -> dict[str, str]:
    return manifests.environment(manifest) | {"AIPRIME_BIND": "127.0.0.1", instance.SETTING: token}
