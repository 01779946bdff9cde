"""Leaving without a failed request: first readiness goes false while everything is still answered, then the port closes, then the rest ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Drain:
    """Where a server stands: serving, `leaving` (not ready, still answering), or `closed` (nothing new is begun)."""

    leaving: bool = False
    closed: bool = False
