"""A gateway as a real process in front of servers that the tests command."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving import routes
from serving.routes import Route
from serving.supervision import free_port
from tests.serving.waiting import until

ROOT = Path(__file__).parents[3]


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A gateway process and how to talk to it."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]
    fence: int = 0

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
        chunked: bool = False,
        timeout_s: float = 20,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            sent: Any = iter([body]) if chunked else body
            connection.request(method, path, sent, headers or {}, encode_chunked=chunked)
            given = connection.getresponse()
            return Reply(given.status, {name.lower(): value for name, value in given.getheaders()}, given.read())
        finally:
            connection.close()

    def predict(self, *instances: Any, workload: str = "co2") -> Reply:
        return self.ask("POST", f"/v1/models/{workload}:predict", json.dumps({"instances": instances}))

    def point(self, url: str | None, workload: str = "co2", announce: bool = True, **fields: Any) -> None:
        self.fence += 1
        stated: dict[str, Any] = {"version": str(self.fence), "server": f"{workload}-v{self.fence}"} | fields
        routes.point(self.home, Route(workload=workload, fence=self.fence, url=url, **stated), newest=self.fence)
        if announce:
            assert self.ask("POST", "/-/reload").json["routes"][workload]["fence"] == self.fence

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(15)


def started(home: Path) -> Running:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "serving.gateway", "--home", str(home), "--port", str(port)], cwd=ROOT)
    running = Running(home, port, process)
    until(lambda: _live(running))
    return running


def _live(running: Running) -> bool:
    assert running.process.poll() is None
    try:
        return running.ask("GET", "/v2/health/live").status == 200
    except ConnectionRefusedError:
        return False


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = started(tmp_path_factory.mktemp("gateway"))
    yield running
    running.end()
