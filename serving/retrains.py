"""The retrains of a workload, folded from their records: what asked, how each ended, what became of its version. Pure: no database.

Whether one that has not ended still runs is not on record: who folds must look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving.chain import Decision

End = Literal["passed", "refused", "failed", "rolled back"]


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """One that was asked for; `state` is None while no end is on record."""

    asked: Decision
    at: float  # event time, seconds since 1970: the end of the window that asked; else how far truth was known
    state: End | None
    version: str = ""
    cpu_s: float = 0.0

    @property
    def known_until(self) -> float:
        """How far truth was known to it, in event time; as `at` where that is not on record."""
        until = (self.asked.payload.get("cutoff") or {}).get("until")
        return datetime.fromisoformat(until).timestamp() if until else self.at

    @property
    def by_person(self) -> bool:
        """Whether a person asked."""
        return bool(self.asked.payload.get("by_person"))


def fold(decisions: Iterable[Decision], ends: Mapping[int, float]) -> list[Retrain]:
    """The retrains among decisions of the kinds retrain, rolled_back and refused, oldest first; `ends` are windows' by their records.

    A version that passed and then was rolled back, or did not answer what was asked before, is none that passed.
    """
    decisions = list(decisions)
    retrains = [one for one in decisions if one.kind == "retrain"]
    ended = {one.payload["of"]: one for one in retrains if "of" in one.payload}
    unfit: dict[str, End] = {one.version: "rolled back" for one in decisions if one.kind == "rolled_back"}
    unfit |= {one.version: "refused" for one in decisions if one.kind == "refused"}
    return [_of(one, ended.get(one.sequence), unfit, ends) for one in retrains if "of" not in one.payload]


def _of(asked: Decision, end: Decision | None, unfit: Mapping[str, End], ends: Mapping[int, float]) -> Retrain:
    cutoff: Mapping[str, Any] = asked.payload.get("cutoff") or {}
    at = ends.get(cutoff.get("sequence") or 0)
    if at is None:
        at = datetime.fromisoformat(cutoff.get("until") or asked.at).timestamp()
    if end is None:
        return Retrain(asked=asked, at=at, state=None)
    state: End = end.payload.get("state", "failed")
    if state == "passed":
        state = unfit.get(end.version, state)
    return Retrain(asked=asked, at=at, state=state, version=end.version, cpu_s=float(end.payload.get("cpu_s") or 0.0))
