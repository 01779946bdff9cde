"""What a monitor's figures may be before they mean anything. Plain values; the replay that finds them is data/drift/replay.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One measure's limits, in its own units, for a window of `Thresholds.window` rows."""

    name: str
    distance: float  # Evidently's statistic: std for numbers, Jensen-Shannon for classes; drift at or above
    missing: float  # how far the share of missing values may move
    unseen: float  # share of rows with a level never seen; 0: none ever was in stable history
    trending: bool = False  # moves steadily in stable history itself: shown, raises no alarm alone
    bursts: bool = False  # went much further in one part of stable history than in all others: limited by that
    usual: float = 0.0  # the median distance of stable windows


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits that stable history kept, for all columns at once: a window of it exceeds any one of them at the rate `false_alarms`.

    A column's distance may lie `cut` times as far above its median as the largest of stable windows did; its missing share may move as
    far as it did, plus `margin`. `disjoint` windows fit into the history;
    fewer than 20 cannot show a rate of 5 %, so that the limits are then wider by `inflation` and `short` says so.
    """

    window: int
    false_alarms: float
    limits: Mapping[str, Limit]
    cut: float
    margin: float
    inflation: float
    disjoint: float
    replayed: int
    rows: int
    sample: int
    seed: int
    short: bool
    said: str

    def widened(self, rows: int) -> float:
        """How much wider limits are for a smaller window: a sample's distance shrinks with the root of its size."""
        usual, now = min(self.window, self.sample), min(max(rows, 1), self.sample)
        return math.sqrt(usual / now) if now < usual else 1.0

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a record or a file."""
        return asdict(self) | {"limits": [asdict(limit) for limit in self.limits.values()]}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Thresholds:
        """What `to_json` gave."""
        return cls(**{**tree, "limits": {limit["name"]: Limit(**limit) for limit in tree["limits"]}})
