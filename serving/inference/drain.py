"""Leaving without a failed request: readiness goes false while everything is still answered, then the port closes, then the rest ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Drain:
    """Whether a server is leaving: not ready, but answering. What reaches it after its port closed was begun before, and is answered too."""

    leaving: bool = False
