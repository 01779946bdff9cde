"""The supervised model servers of one AIPRIME_HOME: started until ready, replaced where they hang, ended.

Knows neither the ledger nor the gateway: which of them may serve is decided elsewhere, and `Clearance` says how each is told.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from data.errors import UserError
from serving import instance, manifests, servers
from serving.clearance import Clearance
from serving.servers import Server
from serving.supervision import Supervisor

READY_S = 60.0
HUNG_S = 10.0


class Fleet:
    """Every change of one workload's servers belongs under that workload's lock: see `LocalTarget`."""

    def __init__(self, home: Path, clearance: Clearance) -> None:
        self.home = home
        self._clearance = clearance
        self._supervisor = Supervisor(home)

    def of(self, workload: str) -> list[Server]:
        """The workload's servers that may exist."""
        return [one for one in servers.records(self.home).values() if one.workload == workload]

    def boot(self, manifest: dict[str, Any], name: str | None = None, deadline_s: float = READY_S) -> Server:
        """Start a server and wait until its model is ready; one that runs already is only looked at, and replaced where it hangs.

        UserError with the log's tail where it does not become ready; then it is gone again.
        """
        name = name or manifests.name_of(manifests.workload_of(manifest), manifests.version_of(manifest))
        for last in (False, True):
            up_s = next((one.uptime_s for one in self._supervisor.status() if one.name == name), 0)
            server = self.start(manifest, name)
            ready = partial(server.ready, instance.told(self.home, name))
            try:
                # One that has been up for long is ready at once, or it hangs.
                self._supervisor.wait(name, ready, HUNG_S if up_s > deadline_s else deadline_s)
            except UserError:
                self._supervisor.remove(name)
                ports = server.http_port, server.grpc_port
                if last or not (up_s or servers.two_ports(*ports) != ports):
                    servers.forget(self.home, name)
                    raise
            else:
                break
        pid = next((one.pid for one in self._supervisor.status() if one.name == name), None)
        return replace(server, pid=pid)

    def version(self, workload: str, version: str) -> Server:
        """A registered version's server, ready. UserError as `boot`, and where the version was not cleared to serve."""
        manifest = self._clearance.manifest(workload, version)
        try:
            return self.boot(manifest)
        except UserError as failed:
            try:
                self._clearance.verify(workload, version)
            except UserError as refused:
                if refused.what in str(failed):  # the server said the same, at each of its starts
                    raise refused from failed
            raise

    def launch(self, workload: str, version: str) -> None:
        """Have a registered version's server start, and do not wait; one that may not is left to whoever waits for it."""
        try:
            manifest = self._clearance.manifest(workload, version)
        except UserError:
            return
        self.start(manifest, manifests.name_of(workload, version))

    def start(self, manifest: dict[str, Any], name: str) -> Server:
        """Have the program run, without waiting for it."""
        old = servers.records(self.home).get(name)
        running = any(one.name == name and one.pid for one in self._supervisor.status())
        server = servers.record(self.home, manifest, name, old=old, running=running)
        self._supervisor.apply(servers.program(manifest, server, instance.told(self.home, name)))
        return server

    def stop(self, name: str) -> None:
        """End a server (SIGTERM, and SIGKILL after its grace period) and forget it."""
        self._supervisor.remove(name)
        servers.forget(self.home, name)

    def log(self, name: str) -> Path:
        """Where a server's output goes."""
        return self._supervisor.log(name)
