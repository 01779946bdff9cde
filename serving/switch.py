"""The gateway, as whoever moves its pointers sees it: tell it, wait until it follows, wait until it has let go of a server."""

from __future__ import annotations

import json
import time
from pathlib import Path

from serving import routes
from serving.servers import Server, answer

DRAIN_S = 30.0  # for requests that an old server still answers
_FOLLOW_S = 5.0  # for the gateway to say that it follows the pointer


def announce(home: Path) -> None:
    """Have the gateway read the pointers; it reads them by itself, only later, and where it does not run there is nothing to do."""
    url = _address(home)
    end = time.monotonic() + _FOLLOW_S
    while url is not None and time.monotonic() < end:
        status, _ = answer("POST", f"{url}/-/reload", timeout_s=2)
        if status in {0, 200}:
            return
        time.sleep(0.05)


def drain(home: Path, server: Server) -> None:
    """Wait until the gateway has no request in flight to a server that nothing points at any more."""
    url = _address(home)
    end = time.monotonic() + DRAIN_S
    while url is not None and time.monotonic() < end:
        status, body = answer("GET", f"{url}/-/routes", timeout_s=2)
        if status != 200 or not any(one["url"] == server.url for one in json.loads(body)["servers"]):
            return
        time.sleep(0.02)


def _address(home: Path) -> str | None:
    try:
        return json.loads(routes.address_file(home).read_bytes())["url"]
    except FileNotFoundError:
        return None
