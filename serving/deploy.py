"""The local target: champions as supervised processes on this machine, made equal to the ledger.

A switch is always: the new server ready, the promotion recorded, the pointer moved, the gateway's word that it follows, the old server
drained, then SIGTERM. The ledger is the truth at each step: whatever is cut off, `reconcile` carries to its end. The same verbs will
drive a cluster.
"""

from __future__ import annotations

import fcntl
import json
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.errors import UserError
from serving import manifests, routes, servers
from serving.ledger import Decision, Ledger
from serving.routes import Route
from serving.servers import Server, answer
from serving.supervision import Supervisor

__all__ = ["LocalTarget", "Server"]

log = logging.getLogger("aiprime.deploy")
READY_S = 60.0
HUNG_S = 10.0
DRAIN_S = 30.0  # for requests that the old server still answers
_FOLLOW_S = 5.0  # for the gateway to say that it follows the pointer


class LocalTarget:
    """Model servers of one AIPRIME_HOME. Safe to use from several processes: one of them changes a workload at a time."""

    def __init__(self, home: Path, ledger: Ledger | None = None) -> None:
        self.home = home.resolve()
        self._ledger = ledger or Ledger.at(self.home)
        self._supervisor = Supervisor(self.home)

    def boot(self, manifest: dict[str, Any], name: str | None = None, deadline_s: float = READY_S) -> Server:
        """Start a supervised server and wait until its model is ready; one that runs already is only looked at.

        UserError with the log's tail where it does not become ready; then it is gone again.
        """
        with self._alone(manifests.workload_of(manifest)):
            return self._boot(manifest, name, deadline_s)

    def stop(self, name: str) -> None:
        """End a server (SIGTERM, and SIGKILL after its grace period) and forget it."""
        self._supervisor.remove(name)
        servers.forget(self.home, name)

    def scratch(self, manifest: dict[str, Any], deadline_s: float = READY_S) -> AbstractContextManager[Server]:
        """A server for as long as a `with` block lasts: see servers.scratch."""
        return servers.scratch(self.home, manifest, deadline_s)

    def release(
        self, workload: str, version: str | int, *, expected: str | int | None, reason: str, actor: str = "aiprime"
    ) -> Decision:
        """Make a registered version the champion, and serve it; returns the promotion.

        UserError where it does not become ready, Conflict where another promotion won: then what served before still serves.
        """
        with self._alone(workload):
            server = self._boot(manifests.read(manifests.file(self.home, workload, version)))
            try:
                decision = self._ledger.promote(workload, version, expected=expected, reason=reason, actor=actor)
            except UserError:  # another promotion won, or the ledger cannot be written: only its champion may serve
                with suppress(UserError):
                    self._converge(workload, self._ledger.champion(workload))
                raise
            log.info("%s: version %s is the champion, served by %s", workload, version, server.name)
            done = self._converge(workload, decision)
            route = routes.read(self.home).get(workload)
            if route is None or route.fence < decision.sequence:
                raise UserError(
                    "; ".join(done), where=str(self._supervisor.log(server.name)), next_step="aiprime up tries again"
                )
            return decision

    def reconcile(self) -> list[str]:
        """Make serving equal to the ledger; returns a line for each thing that was done or could not be."""
        servers.sweep(self.home)
        champions = self._ledger.champions()
        for workload, champion in champions.items():  # all at once, so that waiting for one is waiting for all
            if champion is not None:
                with self._alone(workload):
                    self._launch(workload, champion)
        done = []
        for workload in champions:
            with self._alone(workload):
                done += self._converge(workload, self._ledger.champion(workload))
        for workload in {*routes.read(self.home), *(one.workload for one in servers.records(self.home).values())} - set(
            champions
        ):
            with self._alone(workload):
                done += self._withdraw(workload)
        return done

    # -- one workload, alone

    def _converge(self, workload: str, champion: Decision | None) -> list[str]:
        """Serve the champion and nothing else of the workload."""
        newest = self._ledger.newest()
        if champion is None:
            retired = self._ledger.history(workload, "retired")
            return self._follow(Route(workload=workload, fence=retired[-1].sequence if retired else 0), newest)
        try:
            manifest = manifests.read(manifests.file(self.home, workload, champion.version))
            server = self._boot(manifest)
        except UserError as error:
            return [f"{workload}: version {champion.version} cannot serve: {error}", *self._keep(workload)]
        route = Route(
            workload=workload,
            fence=champion.sequence,
            version=champion.version,
            server=server.name,
            url=server.url,
            grpc_url=server.grpc_url,
            model=server.model,
            max_body_mb=int(manifests.argument(manifest, "--body_limit")) >> 20,
            timeout_s=manifest["spec"]["predictor"]["timeout"],
        )
        done = self._follow(route, newest)
        key = f"deployed:{workload}:{champion.sequence}"  # once for each promotion, also where it is carried on later
        self._ledger.record("deployed", workload, champion.version, {"server": server.name}, actor="local target", key=key)
        return done

    def _follow(self, route: Route, newest: int) -> list[str]:
        """Point at the route, wait until the gateway follows, then drain and end every other server of the workload."""
        done = []
        before = routes.read(self.home).get(route.workload)
        if before != route:
            if not routes.point(self.home, route, newest):
                return [f"{route.workload}: a newer decision is being followed"]
            if route.url or (before and before.url):
                done.append(f"{route.workload}: now served by {route.server or 'nothing'}")
        others = [
            one for one in servers.records(self.home).values() if one.workload == route.workload and one.name != route.server
        ]
        if before != route or others:
            self._announce()
        for other in others:
            self._drain(other)
            self.stop(other.name)
            done.append(f"{route.workload}: ended {other.name}")
        return done

    def _keep(self, workload: str) -> list[str]:
        """The champion cannot serve: have what the pointer still names serve on, rather than nothing."""
        route = routes.read(self.home).get(workload)
        if route is None or route.version is None:
            return []
        try:
            server = self._boot(manifests.read(manifests.file(self.home, workload, route.version)))
        except UserError as error:
            return [f"{workload}: nor can version {route.version}: {error}"]
        if server.url != route.url:
            routes.point(self.home, replace(route, url=server.url, grpc_url=server.grpc_url), newest=route.fence)
            self._announce()
        return [f"{workload}: version {route.version} serves on"]

    def _withdraw(self, workload: str) -> list[str]:
        """End what the ledger does not know."""
        routes.forget(self.home, workload)
        self._announce()
        names = [one.name for one in servers.records(self.home).values() if one.workload == workload]
        for name in names:
            self.stop(name)
        return [f"{workload}: not in the ledger; ended {', '.join(names) or 'its route'}"]

    def _launch(self, workload: str, champion: Decision) -> None:
        try:
            manifest = manifests.read(manifests.file(self.home, workload, champion.version))
        except UserError:
            return  # `_converge` says so
        self._start(manifest, manifests.name_of(workload, champion.version))

    def _boot(self, manifest: dict[str, Any], name: str | None = None, deadline_s: float = READY_S) -> Server:
        name = name or manifests.name_of(manifests.workload_of(manifest), manifests.version_of(manifest))
        for last in (False, True):
            up_s = next((one.uptime_s for one in self._supervisor.status() if one.name == name), 0)
            server = self._start(manifest, name)
            try:
                # One that has been up for long is ready at once, or it hangs.
                self._supervisor.wait(name, server.ready, HUNG_S if up_s > deadline_s else deadline_s)
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

    def _start(self, manifest: dict[str, Any], name: str) -> Server:
        """Have the program run, without waiting for it."""
        old = servers.records(self.home).get(name)
        running = any(one.name == name and one.pid for one in self._supervisor.status())
        server = servers.record(self.home, manifest, name, old=old, running=running)
        self._supervisor.apply(servers.program(manifest, server))
        return server

    # -- the gateway

    def _gateway(self) -> str | None:
        try:
            return json.loads(routes.address_file(self.home).read_bytes())["url"]
        except FileNotFoundError:
            return None

    def _announce(self) -> None:
        """Have the gateway read the pointers; it reads them by itself, only later, and where it does not run there is nothing to do."""
        url = self._gateway()
        end = time.monotonic() + _FOLLOW_S
        while url is not None and time.monotonic() < end:
            status, _ = answer("POST", f"{url}/-/reload", timeout_s=2)
            if status in {0, 200}:
                return
            time.sleep(0.05)

    def _drain(self, server: Server) -> None:
        """Wait until the gateway has no request in flight to a server that nothing points at any more."""
        url = self._gateway()
        end = time.monotonic() + DRAIN_S
        while url is not None and time.monotonic() < end:
            status, body = answer("GET", f"{url}/-/routes", timeout_s=2)
            if status != 200 or not any(one["url"] == server.url for one in json.loads(body)["servers"]):
                return
            time.sleep(0.02)

    @contextmanager
    def _alone(self, workload: str) -> Iterator[None]:
        folder = self.home / "servers"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{manifests.name_of(workload, 0)}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
