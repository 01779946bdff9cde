"""One workload's servers and route, made equal to its release: the champion, beside it its challenger, and nothing else.

Whatever was cut off, doing it again ends in the same place. Decides nothing; whoever calls holds the workload's lock.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from data.errors import UserError
from data.failpoints import failpoint
from serving import manifests, routes, switch
from serving.fleet import Fleet
from serving.gateway.online import Names
from serving.ledger import Ledger
from serving.release import Release
from serving.routes import Arm, Route
from serving.servers import Server

MANY_ENTITIES = 20  # with fewer, one of them would be one arm's alone


class Convergence:
    """Steps of which each may be repeated."""

    def __init__(self, home: Path, ledger: Ledger, fleet: Fleet) -> None:
        self._home, self._ledger, self._fleet = home, ledger, fleet

    def converge(self, workload: str) -> list[str]:
        """Serve what the ledger says and nothing else of the workload; a line for each thing that was done or could not be."""
        release, newest = self._ledger.release(workload), self._ledger.newest()
        promotion = self._ledger.champion(workload)
        if release.champion is None or promotion is None:
            return self._follow(Route(workload=workload, fence=release.fence), newest)
        try:
            server = self._fleet.version(workload, release.champion)
        except UserError as error:
            return [f"{workload}: version {release.champion} cannot serve: {error}", *self._keep(release)]
        said, arm = self._arm(release)
        said += self._follow(self._route(release, server, arm), newest)
        routes.settle(self._home, workload)
        key = f"deployed:{workload}:{promotion.sequence}"  # once for each promotion, also where it is carried on later
        payload = {"server": server.name}
        self._ledger.record("deployed", workload, promotion.version, payload, actor="local target", key=key)
        return said

    def withdraw(self, workload: str) -> list[str]:
        """End what the ledger does not know."""
        routes.forget(self._home, workload)
        switch.announce(self._home)
        names = [one.name for one in self._fleet.of(workload)]
        for name in names:
            self._fleet.stop(name)
        return [f"{workload}: not in the ledger; ended {', '.join(names) or 'its route'}"]

    def _arm(self, release: Release) -> tuple[list[str], Arm | None]:
        """The challenger, ready; None where there is none or it cannot serve: the champion then answers everything."""
        if release.challenger is None:
            return [], None
        try:
            server = self._fleet.version(release.workload, release.challenger)
        except UserError as error:
            return [f"{release.workload}: challenger {release.challenger} cannot serve: {error}"], None
        return [], Arm(
            version=server.version,
            server=server.name,
            url=server.url,
            grpc_url=server.grpc_url,
            model=server.model,
            share=release.share,
            shadow=release.shadow,
        )

    def _route(self, release: Release, server: Server, arm: Arm | None) -> Route:
        manifest = manifests.read(manifests.file(self._home, release.workload, server.version))
        before = routes.read(self._home).get(release.workload)
        return Route(
            workload=release.workload,
            fence=release.fence,
            version=server.version,
            server=server.name,
            url=server.url,
            grpc_url=server.grpc_url,
            model=server.model,
            max_body_mb=int(manifests.argument(manifest, "--body_limit")) >> 20,
            timeout_s=manifest["spec"]["predictor"]["timeout"],
            challenger=arm,
            sticky=arm is not None and _has_many_entities(self._home / "feast" / release.workload),
            sample=before.sample if before else 1.0,
        )

    def _follow(self, route: Route, newest: int) -> list[str]:
        """Point at the route, wait until the gateway follows, then drain and end every other server of the workload."""
        done = []
        before = routes.read(self._home).get(route.workload)
        if before != route:
            if not routes.point(self._home, route, newest):
                return [f"{route.workload}: a newer decision is being followed"]
            failpoint("after-point")
            if before is None or _served(before) != _served(route):
                done += [f"{route.workload}: now served by {_served(route) or 'nothing'}"] if route.url or before else []
        wanted = {route.server, route.challenger.server if route.challenger else None}
        others = [one for one in self._fleet.of(route.workload) if one.name not in wanted]
        if before != route or others:
            switch.announce(self._home)
        for other in others:
            switch.drain(self._home, other)
            failpoint("during-drain")
            self._fleet.stop(other.name)
            done.append(f"{route.workload}: ended {other.name}")
        return done

    def _keep(self, release: Release) -> list[str]:
        """The champion cannot serve: have what the pointer still names serve on, rather than nothing; nobody is tried meanwhile."""
        workload = release.workload
        route = routes.read(self._home).get(workload)
        if route is None or route.version is None:
            return []
        try:
            server = self._fleet.version(workload, route.version)
        except UserError as error:
            return [f"{workload}: nor can version {route.version}: {error}"]
        kept = replace(route, url=server.url, grpc_url=server.grpc_url, challenger=None)
        if kept != route:
            routes.point(self._home, kept, newest=route.fence)
            switch.announce(self._home)
        return [f"{workload}: version {route.version} serves on"]


def _served(route: Route) -> str:
    """Who answers, for a person."""
    if route.challenger is None:
        return route.server or ""
    arm = route.challenger
    return f"{route.server}, with {arm.server} {'as its shadow' if arm.shadow else f'on {arm.share:.0%}'}"


def _has_many_entities(folder: Path) -> bool:
    """Whether the online store of the workload (Feast's SQLite) keeps at least MANY_ENTITIES; False where it keeps none."""
    try:
        names = Names.read(folder / "names.json")
    except FileNotFoundError:
        return False
    table = f"{names.project}_{names.view}".replace('"', '""')
    count = f'SELECT COUNT(*) FROM (SELECT DISTINCT entity_key FROM "{table}" LIMIT {MANY_ENTITIES})'
    with closing(sqlite3.connect(f"file:{quote(str(folder / 'online.db'))}?mode=ro", uri=True, timeout=5)) as store:
        return store.execute(count).fetchone()[0] >= MANY_ENTITIES
