"""How long a server waits for the other end: headers or a body that trickle in, an answer that nobody reads (slowloris and its kin).

Looked at once a second rather than with a timer per request, which would cost a twentieth of the throughput. Knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from serving.limits import Limits

Key = TypeVar("Key", bound=Hashable)


class Patience:
    """Remembers since when each thing is waited for."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._first: dict[Hashable, tuple[float, int]] = {}

    def allowed_s(self, moved: int) -> float:
        """How long a sender or reader of so many bytes may take."""
        return self._limits.seconds + moved / self._limits.rate

    def overdue(self, waiting: Mapping[Key, int], now: float) -> list[Key]:
        """Which of `waiting` (what is waited for now, and its bytes so far or to go) has been waited for too long; what is not named is forgotten."""
        self._first = {key: self._first.get(key, (now, size)) for key, size in waiting.items()}
        return [
            key for key, size in waiting.items() if now - self._first[key][0] > self.allowed_s(max(size, self._first[key][1]))
        ]
