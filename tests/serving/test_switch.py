"""A change of version as its clients see it: each of them has its answer, from the old or the new."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from serving.deploy import LocalTarget
from serving.servers import answer
from tests.serving.test_deploy import home, is_settled, register, start_gateway, target, until

__all__ = ["home", "target"]


def test_no_request_is_lost_while_versions_switch(home: Path, target: LocalTarget) -> None:
    """Clients that never stop asking through the gateway get an answer each time, from old or new, while versions are released."""
    url = start_gateway(home)
    for version in (1, 2, 3, 4):
        register(home, version)
    target.release("co2", 1, expected=None, reason="the first")
    stop, seen, failed = threading.Event(), set(), []

    def ask() -> None:
        import http.client

        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        while not stop.is_set():
            connection.request("POST", "/v1/models/co2:predict", '{"instances": [{"sleep": 0.01}]}')
            given = connection.getresponse()
            body = given.read()
            if given.status == 200:
                seen.add((given.headers["x-aiprime-model-version"], json.loads(body)["version"]))
            else:
                failed.append((given.status, body))

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    for version in (2, 3, 4):
        target.release("co2", version, expected=version - 1, reason="next")
    until(lambda: ("4", "4") in seen)
    stop.set()
    for client in clients:
        client.join()
    assert failed == []
    assert seen == {(v, v) for v in "1234"}  # the header names the version that answered
    is_settled(home, "4")


@pytest.mark.slow
def test_an_old_server_is_drained_before_it_ends(home: Path, target: LocalTarget) -> None:
    """A slow request that an old server has begun is answered by it, though the pointer has moved on."""
    url = start_gateway(home)
    register(home, 1)
    register(home, 2)
    target.release("co2", 1, expected=None, reason="the first")
    answered: list[Any] = []

    def ask() -> None:
        import urllib.request

        body = b'{"instances": [{"sleep": 1.5}]}'
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/models/co2:predict", body), timeout=20) as given:
            answered.append(json.loads(given.read())["version"])

    slow = threading.Thread(target=ask)
    slow.start()
    until(lambda: json.loads(answer("GET", f"{url}/-/routes", 2)[1])["servers"][0]["inflight"] == 1)
    target.release("co2", 2, expected=1, reason="better")
    slow.join()
    assert answered == ["1"]
    is_settled(home, "2")
