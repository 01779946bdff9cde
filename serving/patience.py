"""How long a server waits for the other end: headers or a body that trickle in, an answer that nobody reads (slowloris and its kin).

Looked at a few times a second rather than with a timer per request, which would cost a twentieth of the throughput. Knows nothing of HTTP.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

from serving.limits import Limits

Key = TypeVar("Key", bound=Hashable)
_AT_ONCE = struct.pack("ii", 1, 0)


def cut(transport: Any) -> None:
    """End a connection whose other end does not read: a reset, for the kernel would keep the answer and try for minutes to deliver it."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


class _Wait(NamedTuple):
    since: float
    first: int  # bytes
    moved: float  # when they last changed
    size: int


class Patience:
    """Remembers since when each thing is waited for, and when it last moved."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waits: dict[Hashable, _Wait] = {}

    def allowed_s(self, moved: int) -> float:
        """How long a sender or reader of so many bytes may take."""
        return self._limits.seconds + moved / self._limits.rate

    def overdue(self, waiting: Mapping[Key, int], now: float) -> list[Key]:
        """Which of `waiting` (what is waited for now, and its bytes so far or to go) stood still or took for too long.

        What is not named is forgotten.
        """
        waits: dict[Hashable, _Wait] = {}
        for key, size in waiting.items():
            before = self._waits.get(key, _Wait(now, size, now, size))
            waits[key] = before if size == before.size else before._replace(moved=now, size=size)
        self._waits = waits
        return [key for key in waiting if self._late(waits[key], now)]

    def _late(self, wait: _Wait, now: float) -> bool:
        stands = now - wait.moved > self._limits.seconds
        return stands or now - wait.since > self.allowed_s(max(wait.size, wait.first))
