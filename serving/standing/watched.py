"""What the monitors put on record, read back: windows, drift by feature, retrains, and where each decision falls on the time line.

Reads any record, also an older one: a field that is missing is unknown, never green.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from data.schema import spoken
from serving.ledger import Decision
from serving.retrains import fold
from serving.standing.sentences import told
from serving.standing.view import Feature, Look, Mark, Retrain, Retrains, Signal

MONTH_S = 30 * 86_400
_MARKED = ("promoted", "rolled_back", "called")


def look(decision: Decision) -> Look:
    """The window of a record."""
    facts = decision.payload
    signals = {name: _signal(name, one) for name, one in facts.get("signals", {}).items()}
    return Look(
        sequence=decision.sequence,
        version=decision.version,
        start=float(facts["start"]),
        end=float(facts["end"]),
        rows=int(facts.get("rows", 0)),
        labelled=int(facts.get("labelled", 0)),
        labels_to=float(facts["labels_to"]) if facts.get("labels_to") else None,  # 0: none is known yet
        signals=signals,
    )


def features(decision: Decision) -> tuple[Feature, ...]:
    """The columns of a window's record, those that moved most first and the trending ones last; empty where none were compared."""
    found = [
        Feature(
            name=spoken(str(name)),
            scaled=_number(one.get("scaled")),
            effect=_number(one.get("effect")),
            drifted=bool(one.get("drifted")),
            trending=bool(one.get("trending")),
        )
        for name, one in _drift(decision).get("features", {}).items()
    ]
    return tuple(sorted(found, key=lambda one: (one.trending, -(one.scaled or 0.0), one.name)))


def page(decision: Decision) -> str | None:
    """The file of Evidently's page of a window's record, where one was drawn."""
    return _drift(decision).get("page")


def epoch(turns: Sequence[Decision], last: int) -> Decision | None:
    """The replay's record (of its start or its end) after which the windows up to record `last` begin; None: from the first on."""
    return next((one for one in reversed(turns) if one.kind == "replay" and one.sequence < last), None)


def retrains(turns: Sequence[Decision], windows: Sequence[Look]) -> list[Retrain]:
    """The retrains that were asked for, with how each ended, oldest first; one without an end is taken to run."""
    return [
        Retrain(
            sequence=one.asked.sequence,
            at=one.at,
            state=one.state or "running",
            cpu_s=one.cpu_s,
            by_person=one.by_person,
            version=one.version,
        )
        for one in fold(turns, {window.sequence: window.end for window in windows})
    ]


def lately(found: Sequence[Retrain], until: float, budget_cpu_s: float | None) -> Retrains:
    """Those of the 30 days up to `until`, and what they used."""
    recent = [one for one in found if one.at > until - MONTH_S]
    return Retrains(count=len(recent), used_cpu_s=sum(one.cpu_s for one in recent), budget_cpu_s=budget_cpu_s)


def marks(turns: Sequence[Decision], found: Sequence[Retrain], windows: Sequence[Look]) -> list[Mark]:
    """What happened between which windows, in order."""

    def after(sequence: int) -> int:
        return bisect_left(windows, sequence, key=lambda one: one.sequence) - 1

    made = []
    for one in found:
        said, failed = f"retrain: {one.state}", one.state not in {"passed", "running"}
        made.append(
            (one.sequence, Mark(kind="retrain", after=after(one.sequence), said=said, version=one.version, failed=failed))
        )
    for one in turns:
        if one.kind in _MARKED:
            said = told(one)
            why = f": {said.why}" if said.why else ""
            made.append(
                (one.sequence, Mark(kind=one.kind, after=after(one.sequence), said=f"{said.what}{why}", version=one.version))
            )
    return [mark for _, mark in sorted(made, key=lambda one: one[0])]


def unanswered(turns: Sequence[Decision], windows: Sequence[Look]) -> str:
    """What a person was told, where since then nobody has retrained or promoted and no window was well; else empty."""
    for one in reversed(turns):
        if one.kind == "called":
            passed = any(window.sequence > one.sequence and not window.red for window in windows)
            return "" if passed else told(one).why
        if one.kind in {"promoted", "retrain"} or (one.kind == "replay" and one.payload.get("state") == "started"):
            return ""
    return ""


def _signal(name: str, one: Mapping[str, Any]) -> Signal:
    return Signal(
        name=name,
        state=str(one.get("state", "unknown")),
        said=str(one.get("said", "")),
        value=_number(one.get("value")),
        limit=_number(one.get("limit")),
    )


def _drift(decision: Decision) -> Mapping[str, Any]:
    return decision.payload.get("signals", {}).get("drift", {}).get("detail") or {}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
