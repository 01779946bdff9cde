"""Which arm answers: pure choices, by a hash. Knows nothing of servers, of requests, or of what a rollout is.

The hash is salted with the challenger's version, so that no entity meets every challenger first; a growing share keeps those it had.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Any

import orjson

from serving.routes import Route

_ALL = 1 << 64


def drawn(key: str, share: float, salt: str) -> bool:
    """Whether `key` is among the share (0..1) of all keys; who is in a share is in every larger one of the same salt."""
    digest = blake2b(f"{salt}\0{key}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * _ALL


def challenged(route: Route, prediction_id: str, entity: Any = None) -> bool:
    """Whether the challenger answers this request: by its entity where the route is sticky and it names one, else by the id."""
    arm = route.challenger
    if arm is None or arm.share <= 0:
        return False
    sticky = route.sticky and entity is not None
    key = orjson.dumps(entity, default=str).decode("utf-8", "replace") if sticky else prediction_id
    return drawn(key, arm.share, f"{route.workload}/{arm.version}")


def to_challenger(route: Route) -> Route | None:
    """The route as it would be if the challenger were the champion; None where there is none."""
    arm = route.challenger
    if arm is None:
        return None
    fields = {"version": arm.version, "server": arm.server, "url": arm.url, "grpc_url": arm.grpc_url, "model": arm.model}
    return replace(route, challenger=None, **fields)
