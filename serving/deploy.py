"""The local target: champions and challengers as supervised processes on this machine, made equal to the ledger.

A switch is always: the version cleared, the new server ready, the decision recorded, the pointer moved, the gateway's word that it
follows, the old server drained, then SIGTERM. The ledger is the truth at each step: whatever is cut off, `reconcile` carries to its end.
The same verbs will drive a cluster.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.failpoints import failpoint
from serving import manifests, routes, servers, switch
from serving.clearance import Clearance
from serving.convergence import Convergence
from serving.fleet import READY_S, Fleet
from serving.ledger import Decision, Ledger
from serving.release import Exposure
from serving.rollout import RolloutSection
from serving.servers import Server

__all__ = ["LocalTarget", "Server"]

log = logging.getLogger("aiprime.deploy")


class LocalTarget:
    """Model servers of one AIPRIME_HOME. Safe to use from several processes: one of them changes a workload at a time.

    Each verb that changes the release takes the fence (`Release.fence`) that its caller looked at: Conflict where it changed since.
    """

    def __init__(self, home: Path, ledger: Ledger | None = None) -> None:
        self.home = home.resolve()
        self._ledger = ledger or Ledger.at(self.home)
        self.clearance = Clearance(self.home, self._ledger)
        self._fleet = Fleet(self.home, self.clearance)
        self._convergence = Convergence(self.home, self._ledger, self._fleet)

    # -- servers

    def boot(self, manifest: dict[str, Any], name: str | None = None, deadline_s: float = READY_S) -> Server:
        """Start a supervised server and wait until its model is ready; one that runs already is only looked at.

        UserError with the log's tail where it does not become ready; then it is gone again.
        """
        with self._alone(manifests.workload_of(manifest)):
            return self._fleet.boot(manifest, name, deadline_s)

    def stop(self, name: str) -> None:
        """End a server (SIGTERM, and SIGKILL after its grace period) and forget it."""
        self._fleet.stop(name)

    def scratch(
        self, manifest: dict[str, Any], signature: Path | None = None, deadline_s: float = READY_S
    ) -> AbstractContextManager[Server]:
        """A server for as long as a `with` block lasts (see servers.scratch): it loads what is signed, released or not."""
        return servers.scratch(self.home, self.clearance.candidate(manifest, signature), deadline_s)

    # -- changes of a release

    def release(
        self,
        workload: str,
        version: str | int,
        *,
        expected: str | int | None,
        reason: str,
        actor: str = "aiprime",
        payload: Mapping[str, Any] | None = None,
        fence: int | None = None,
    ) -> Decision:
        """Make a registered version the champion, and serve it; returns the promotion.

        UserError where it does not become ready, Conflict where another promotion won: then what served before still serves.
        """

        def promote() -> Decision:
            named = {"expected": expected, "reason": reason, "actor": actor, "payload": payload, "fence": fence}
            return self._ledger.promote(workload, version, **named)

        return self._switch(workload, str(version), promote, reason, actor)

    def expose(
        self,
        workload: str,
        version: str | int,
        at: Exposure,
        *,
        expected: int,
        reason: str,
        actor: str = "aiprime",
        payload: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Put a registered version at a step of its rollout, beside the champion; returns the record. Errors as `release`."""

        def record() -> Decision:
            told = {**asdict(at), "reason": reason, "replaces": self._ledger.release(workload).champion, **(payload or {})}
            return self._ledger.change("exposed", workload, version, told, expected=expected, actor=actor)

        return self._switch(workload, str(version), record, reason, actor)

    def advance(
        self,
        workload: str,
        section: RolloutSection,
        *,
        expected: int,
        after: int,
        reason: str,
        actor: str = "aiprime",
        payload: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Take the challenger to its next step, begun at the records' sequence number `after`; past the last it is the champion."""
        release = self._ledger.release(workload, expected=expected)
        if release.challenger is None:
            raise UserError(f"{workload}: no rollout is under way", next_step="aiprime release list shows what serves")
        at = section.exposure(release.step + 1, after)
        named = {"reason": reason, "actor": actor, "payload": payload}
        if at is not None:
            return self.expose(workload, release.challenger, at, expected=expected, **named)
        return self.release(workload, release.challenger, expected=release.champion, fence=expected, **named)

    def roll_back(
        self,
        workload: str,
        version: str | int,
        *,
        expected: int,
        reason: str,
        actor: str = "aiprime",
        payload: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Take the challenger out and hold it; the champion answers everything again. Returns the record."""

        def record() -> Decision:
            told = {"reason": reason, **(payload or {})}
            return self._ledger.change("rolled_back", workload, version, told, expected=expected, actor=actor)

        return self._switch(workload, None, record, reason, actor)

    def rollback(self, workload: str, *, expected: int, reason: str, actor: str = "aiprime") -> Decision:
        """Make the version before the champion once more, and hold the one that it takes over from; returns the promotion.

        UserError where there is none to go back to.
        """
        release = self._ledger.release(workload, expected=expected)
        if release.champion is None or release.previous is None:
            step = "aiprime release list names the versions; promote one of them"
            raise UserError(f"{workload}: there is no version to go back to", next_step=step)
        back = {"holds": [release.champion], "rollback": True}
        named = {"expected": release.champion, "reason": reason, "actor": actor, "payload": back, "fence": expected}
        return self.release(workload, release.previous, **named)

    # -- equal to the ledger

    def reconcile(self) -> list[str]:
        """Make serving equal to the ledger; returns a line for each thing that was done or could not be."""
        servers.sweep(self.home)
        workloads = self._ledger.workloads()
        for workload in workloads:  # all at once, so that waiting for one is waiting for all
            release = self._ledger.release(workload)
            for version in filter(None, (release.champion, release.challenger)):
                with self._alone(workload):
                    self._fleet.launch(workload, version)
        done = []
        for workload in workloads:
            done += self.serve(workload)
        known = {*routes.read(self.home), *(one.workload for one in servers.records(self.home).values())}
        for workload in sorted(known - set(workloads)):
            with self._alone(workload):
                done += self._convergence.withdraw(workload)
        return done

    def serve(self, workload: str) -> list[str]:
        """`reconcile` for one workload."""
        with self._alone(workload):
            return self._convergence.converge(workload)

    def sample(self, workload: str, share: float) -> None:
        """Keep records of this share (0..1) of the workload's requests from now on."""
        with self._alone(workload):
            route = routes.read(self.home).get(workload)
            if route is not None and route.sample != share:
                routes.point(self.home, replace(route, sample=share), self._ledger.newest())
                switch.announce(self.home)

    def _switch(self, workload: str, version: str | None, decide: Callable[[], Decision], reason: str, actor: str) -> Decision:
        """The version cleared to serve, its server ready, the decision recorded, then serving made equal to it."""
        with self._alone(workload):
            server = None
            if version is not None:
                self.clearance.give(workload, version, reason=reason, actor=actor)
                failpoint("after-clearing")
                server = self._fleet.version(workload, version)
            try:
                decision = decide()
            except UserError:  # another change won, or the ledger cannot be written: only what it says may serve
                with suppress(UserError):
                    self._convergence.converge(workload)
                raise
            log.info("%s: version %s was %s", workload, decision.version, decision.kind)
            failpoint("after-decision", decision.kind)
            done = self._convergence.converge(workload)
            route = routes.read(self.home).get(workload)
            if route is None or route.fence < decision.sequence:
                where = str(self._fleet.log(server.name)) if server else ""
                raise UserError("; ".join(done), where=where, next_step="aiprime up tries again")
            return decision

    @contextmanager
    def _alone(self, workload: str) -> Iterator[None]:
        folder = self.home / "servers"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{manifests.name_of(workload, 0)}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
