"""Which servers answer for a workload right now: one pointer per workload, and one to its challenger; swapped whole.

The file of the routes is read at the start, when somebody says that it changed (POST /-/reload), when a server cannot be
reached, and where its time stamp moved (looked at twice a second).
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serving import routes
from serving.gateway.traffic import to_challenger
from serving.gateway.upstream import Upstream
from serving.routes import Route

log = logging.getLogger("aiprime.gateway")
_LOOK_S = 0.5


class Pointer:
    """The routes as they stand, and the servers that still have requests in flight."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stamp: tuple[int, int] | None = None
        self._servers: dict[str, Upstream] = {}  # by URL; those that no route names stay until they are drained
        self.routes: dict[str, Route] = {}
        self.challengers: dict[str, Route] = {}
        self.refresh()

    def take(self, route: Route) -> Upstream:
        """The route's server, counted as busy until it is given back."""
        server = self._servers[route.url or ""]
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
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.error("the routes cannot be read, the ones before stay: %s", error)
            return
        challengers = {name: other for name, route in new.items() if (other := to_challenger(route)) is not None}
        for route in (*new.values(), *challengers.values()):
            if route.url is not None and route.url not in self._servers:
                at = urlsplit(route.url)
                self._servers[route.url] = Upstream(
                    route.server or "", at.hostname or "127.0.0.1", at.port or 80, route.version or ""
                )
        self.routes, self.challengers, self._stamp = new, challengers, stamp
        self._drop_drained()

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
                for url, one in self._servers.items()
            ],
        }

    def _drop_drained(self) -> None:
        pointed_at = {route.url for routes in (self.routes, self.challengers) for route in routes.values()}
        for url, server in list(self._servers.items()):
            server.left = url not in pointed_at
            if server.left and not server.inflight:
                server.close()
                del self._servers[url]

    def _stamped(self) -> tuple[int, int] | None:
        try:
            found = routes.path(self._home).stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino


def _shown(route: Route) -> dict[str, Any]:
    shown: dict[str, Any] = {"version": route.version, "fence": route.fence, "server": route.server}
    if (arm := route.challenger) is not None:
        shown["challenger"] = {"version": arm.version, "server": arm.server, "share": arm.share, "shadow": arm.shadow}
    return shown
