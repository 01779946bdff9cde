"""Where each workload's traffic goes: HOME/gateway/routes.json, a projection of the ledger that the gateway reads.

Replaced whole on each change. A change carries the fencing token of the promotion that it follows: one that comes late, behind a
newer promotion, is not written.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.files import write_json


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The challenger's server and what it is given: `share` of the requests to answer, or with `shadow` a copy of them."""

    version: str
    server: str
    url: str
    grpc_url: str
    model: str
    share: float = 0.0  # 0..1
    shadow: bool = False


@dataclass(frozen=True, kw_only=True)
class Route:
    """One workload's server; `url` is None where the workload is known and nothing of it may serve."""

    workload: str
    fence: int = 0  # the sequence number of the decision that this follows
    version: str | None = None
    server: str | None = None  # the program's name
    url: str | None = None
    grpc_url: str | None = None
    model: str | None = None  # the model's folder: what the gateway reads the signature from
    max_body_mb: int = 16
    timeout_s: int = 60
    challenger: Arm | None = None
    sticky: bool = False  # one entity is always given the same arm; else each request is drawn by itself
    sample: float = 1.0  # the share of the requests that is kept as a record


def path(home: Path) -> Path:
    """The file of the routes."""
    return home / "gateway" / "routes.json"


def address_file(home: Path) -> Path:
    """Where a running gateway notes its own URL."""
    return home / "gateway" / "address.json"


def read(home: Path) -> dict[str, Route]:
    """The routes by workload; empty where there are none yet."""
    try:
        written = json.loads(path(home).read_bytes())
    except FileNotFoundError:
        return {}
    return {one["workload"]: _route(one) for one in written["routes"]}


def behind(home: Path, workload: str, fence: int) -> bool:
    """Whether serving is to be made equal to the ledger: the pointer follows an older decision than `fence`, or somebody asked for it."""
    route = read(home).get(workload)
    return route is None or route.fence < fence or _asked(home, workload).exists()


def ask(home: Path, workload: str) -> None:
    """Have whoever reconciles look at the workload soon: its pointer leads to a process that is not its server."""
    _asked(home, workload).touch()


def settle(home: Path, workload: str) -> None:
    """Serving was made equal to the ledger."""
    _asked(home, workload).unlink(missing_ok=True)


def point(home: Path, route: Route, newest: int) -> bool:
    """Write a workload's route, durable on return; False where the one that is there follows a newer decision.

    `newest` is the sequence number of the ledger's last decision: a route that follows none that exists (the ledger was restored
    from a backup) stands in nobody's way.
    """
    with _changing(home) as routes:
        current = routes.get(route.workload)
        if current is not None and route.fence < current.fence <= newest:
            return False
        routes[route.workload] = route
    return True


def forget(home: Path, workload: str) -> None:
    """Take a workload's route out: its URL is unknown from then on."""
    with _changing(home) as routes:
        routes.pop(workload, None)
    settle(home, workload)


def _asked(home: Path, workload: str) -> Path:
    return home / "servers" / f"{workload}.asked"


def _route(written: dict[str, Any]) -> Route:
    arm = written.get("challenger")  # a file from before rollouts has none
    fields: dict[str, Any] = {**written, "challenger": Arm(**arm) if arm else None}
    return Route(**fields)


@contextmanager
def _changing(home: Path) -> Iterator[dict[str, Route]]:
    file = path(home)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        routes = read(home)
        before = dict(routes)
        yield routes
        if routes != before or not file.exists():
            write_json(file, {"routes": [asdict(routes[name]) for name in sorted(routes)]})
