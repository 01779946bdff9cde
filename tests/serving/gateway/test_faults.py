"""The log under faults: what a client was told is kept, through kills of the gateway, a full disk, a lock, and its end."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.client import HTTPException
from pathlib import Path

import pytest

from serving.records import Records
from serving.supervision import free_port
from tests.serving.gateway.conftest import ROOT, Running, _live, started
from tests.serving.gateway.model_server import ModelServer, says
from tests.serving.waiting import until

ID = "x-aiprime-prediction-id"
ANSWER = '{"predictions":[1]}'


class Clients:
    """Threads that never stop asking, and the ids that they were given; a request that was cut off is of unknown outcome."""

    def __init__(self, gateway: Running, threads: int = 8) -> None:
        self.given: list[str] = []
        self.gateway, self._over = gateway, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> Clients:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for one in self._threads:
            one.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                reply = self.gateway.predict(1)
            except (OSError, HTTPException):
                continue
            if reply.status == 200:
                self.given.append(reply.headers[ID])


@pytest.mark.slow
def test_nothing_that_was_answered_is_lost_when_the_gateway_is_killed(tmp_path: Path) -> None:
    """Five times kill -9 under load: every id that a client received is found, and the chain holds."""
    with ModelServer(says(ANSWER)) as server:
        given: list[str] = []
        for _ in range(5):
            gateway = started(tmp_path)
            gateway.point(server.url)
            with Clients(gateway) as clients:
                until(lambda clients=clients: len(clients.given) > 100, 30)
                os.kill(gateway.process.pid, signal.SIGKILL)
                gateway.process.wait()
            given += clients.given
    records = Records.at(tmp_path)
    assert len(set(given)) == len(given) > 500
    assert set(given) <= records.sizes(given).keys()
    assert records.verify() is None


@pytest.mark.slow
def test_what_was_handed_over_is_kept_after_sigterm(tmp_path: Path) -> None:
    """SIGTERM under load: the gateway ends well, and all that it answered is kept."""
    gateway = started(tmp_path)
    with ModelServer(says(ANSWER)) as server:
        gateway.point(server.url)
        with Clients(gateway) as clients:
            until(lambda: len(clients.given) > 200, 30)
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(20) == 0
    records = Records.at(tmp_path)
    assert set(clients.given) <= records.sizes(clients.given).keys()
    assert records.verify() is None


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EIO, 503)])
def test_a_disk_that_cannot_be_written_is_said_and_recovers(tmp_path: Path, number: int, status: int) -> None:
    """A full disk is a 507 with Retry-After and no answer that would not be kept; when it can be written again, so are requests."""
    port = free_port()
    command = [sys.executable, "-m", "tests.serving.gateway.full_disk", str(tmp_path), str(port)]
    process = subprocess.Popen(command, cwd=ROOT)
    gateway = Running(tmp_path, port, process)
    try:
        until(lambda: _live(gateway))
        with ModelServer(says(ANSWER)) as server:
            gateway.point(server.url)
            assert gateway.predict(1).status == 200
            (tmp_path / "full").write_text(str(number))
            for _ in range(3):
                reply = gateway.predict(1)
                assert (reply.status, int(reply.headers["retry-after"]) > 0, list(reply.json)) == (status, True, ["error"])
            assert gateway.ask("GET", "/v2/models/co2").status == 200  # what needs no log is answered
            (tmp_path / "full").unlink()
            reply = gateway.predict(1)
            assert reply.status == 200
            assert Records.at(tmp_path).find(reply.headers[ID])
    finally:
        gateway.end()


def test_another_writer_is_waited_for(gateway: Running) -> None:
    """While another process holds the database's lock a request waits, and is then answered and kept."""
    with ModelServer(says(ANSWER)) as server:
        gateway.point(server.url)
        assert gateway.predict(1).status == 200
        other = sqlite3.connect(gateway.home / "records.db", isolation_level=None, check_same_thread=False)
        other.execute("begin immediate")
        release = threading.Timer(0.3, other.execute, ["rollback"])
        began = time.monotonic()
        release.start()
        reply = gateway.predict(1)
        assert time.monotonic() - began > 0.2
        release.join()
    assert reply.status == 200
    assert Records.at(gateway.home).find(reply.headers[ID])
