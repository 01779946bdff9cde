"""Which servers answer for a workload right now: one pointer per workload, and one to its challenger; swapped whole.

The file of the routes, and the home's secret, are read at the start, when somebody says that they changed (POST /-/reload), when a server
cannot be reached, and where a time stamp moved (looked at twice a second).
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serving import instance, routes
from serving.gateway.traffic import to_challenger
from serving.gateway.upstream import Stranger, Upstream
from serving.routes import Route

log = logging.getLogger("aiprime.gateway")
_LOOK_S = 0.5
_DOUBT_S = 1.0
_Stamp = tuple[tuple[int, int] | None, tuple[int, int] | None]  # of the file of the routes, and of the home's secret
_Place = tuple[str, str | None]  # a URL, and the token of the server that must answer there


class Pointer:
    """The routes as they stand, and the servers that still have requests in flight."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stamp: _Stamp | None = None
        self._servers: dict[_Place, Upstream] = {}  # those that no route names stay until they are drained
        self._tokens: dict[str | None, str | None] = {}  # by server, of those that a route names
        self.routes: dict[str, Route] = {}
        self.challengers: dict[str, Route] = {}
        self.refresh()

    def take(self, route: Route) -> Upstream:
        """The route's server, counted as busy until it is given back."""
        server = self._servers[self._place(route)]
        server.inflight += 1
        return server

    def give_back(self, server: Upstream) -> None:
        """A request is over."""
        server.inflight -= 1
        if server.left and not server.inflight:
            self._drop_drained()

    def refresh(self) -> None:
        """Read the routes again and swap the pointers. A file that cannot be read leaves everything as it is."""
        try:
            stamp = self._stamped()
            new = routes.read(self._home)
            challengers = {name: other for name, route in new.items() if (other := to_challenger(route)) is not None}
            named = [*new.values(), *challengers.values()]
            tokens = {one.server: instance.expected(self._home, one.server or "") for one in named}
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.error("the routes cannot be read, the ones before stay: %s", error)
            return
        self._tokens = tokens
        for route in named:
            place = self._place(route)
            if route.url is not None and place not in self._servers:
                at = urlsplit(route.url)
                self._servers[place] = Upstream(
                    route.server or "", at.hostname or "127.0.0.1", at.port or 80, route.version or "", place[1]
                )
        self.routes, self.challengers, self._stamp = new, challengers, stamp
        self._drop_drained()

    def doubt(self, workload: str, server: Upstream, error: Stranger) -> None:
        """A stranger was met in the server's place: whoever reconciles is asked to look, once a second however many met it."""
        now = time.monotonic()
        if now - server.doubted < _DOUBT_S:
            return
        server.doubted = now
        log.error("%s: %s", workload, error)
        try:
            routes.ask(self._home, workload)
        except OSError as full:
            log.error("%s: nobody could be asked to reconcile: %s", workload, full)

    async def watch(self) -> None:
        """Notice a changed file that nobody announced, for as long as the gateway runs."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._stamped() != self._stamp:
                self.refresh()

    def shown(self) -> dict[str, Any]:
        """The routes and every server with its requests in flight, as plain values."""
        return {
            "routes": {r.workload: _shown(r) for r in self.routes.values()},
            "servers": [
                {"name": one.name, "url": url, "version": one.version, "inflight": one.inflight, "current": not one.left}
                for (url, _), one in self._servers.items()
            ],
        }

    def _drop_drained(self) -> None:
        pointed_at = {self._place(route) for routes in (self.routes, self.challengers) for route in routes.values()}
        for place, server in list(self._servers.items()):
            server.left = place not in pointed_at
            if server.left and not server.inflight:
                server.close()
                del self._servers[place]

    def _place(self, route: Route) -> _Place:
        return route.url or "", self._tokens.get(route.server)

    def _stamped(self) -> _Stamp:
        return _stamp(routes.path(self._home)), _stamp(instance.secret(self._home))


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def _shown(route: Route) -> dict[str, Any]:
    shown: dict[str, Any] = {"version": route.version, "fence": route.fence, "server": route.server}
    if (arm := route.challenger) is not None:
        shown["challenger"] = {"version": arm.version, "server": arm.server, "share": arm.share, "shadow": arm.shadow}
    return shown
