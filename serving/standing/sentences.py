"""Decisions as sentences: what was decided, and why. Reads any record, also one that an older version wrote: what is missing is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from serving.ledger import Decision
from serving.standing.view import Said

_LOUD = {"called", "rolled_back", "refused"}
Facts = Mapping[str, Any]


def told(decision: Decision) -> Said:
    """A decision for a person."""
    facts, version = decision.payload, decision.version
    what = _WHAT.get(decision.kind, lambda version, _: f"{decision.kind} {version}".strip())(version, facts)
    loud = decision.kind in _LOUD or facts.get("state") in {"failed", "refused"} or facts.get("passed") is False
    return Said(
        sequence=decision.sequence,
        at=decision.at,
        kind=decision.kind,
        version=version,
        actor=decision.actor,
        what=what,
        why=_why(decision.kind, facts),
        loud=loud,
    )


def _why(kind: str, facts: Facts) -> str:
    reasons = facts.get("reasons")
    if isinstance(reasons, list) and kind in {"declined", "window"}:
        return "; ".join(map(str, reasons))
    if kind == "retrain" and "of" in facts:
        failed = f"{facts['failed']}; " if facts.get("failed") else ""
        return f"{failed}it took {float(facts.get('cpu_s') or 0):,.0f} CPU seconds"
    if kind == "replay":
        fault = facts.get("fault")
        return f"with a planted fault: {', '.join(f'{name} {value}' for name, value in fault.items())}" if fault else ""
    if kind == "deployed":
        return f"server {facts['server']}" if facts.get("server") else ""
    if kind == "erased":
        return ", ".join(f"{name}: {value}" for name, value in facts.items() if value)
    return str(facts.get("said") or facts.get("reason") or facts.get("verdict") or "")


def _retrain(version: str, facts: Facts) -> str:
    if "of" not in facts:
        return "A retrain was asked for" + (" by a person" if facts.get("by_person") else "")
    made = f": version {version}" if version else ""
    return {"passed": f"The retrain passed the gate{made}", "refused": f"The gate refused what was retrained{made}"}.get(
        str(facts.get("state")), "The retrain failed"
    )


def _exposed(version: str, facts: Facts) -> str:
    step = f"step {facts.get('step', 0)}"
    if facts.get("shadow"):
        return f"Version {version} is sent a copy of each request ({step}: shadow)"
    return f"Version {version} answers {float(facts.get('share') or 0):.0%} of the requests ({step})"


def _promoted(version: str, facts: Facts) -> str:
    return f"Version {version} became the champion" + (f" in place of {facts['replaces']}" if facts.get("replaces") else "")


def _replay(_: str, facts: Facts) -> str:
    span = " to ".join(str(facts[name])[:10] for name in ("from", "to") if facts.get(name))
    return f"A replay of {span} {facts.get('state', '')}".strip()


_WHAT: Mapping[str, Callable[[str, Facts], str]] = {
    "registered": lambda v, facts: f"Version {v} was registered" + ("" if facts.get("passed") else ": the gate refused it"),
    "refused": lambda v, _: f"Version {v} was refused",
    "promoted": _promoted,
    "deployed": lambda v, _: f"Version {v} answers",
    "retired": lambda v, _: f"Version {v} was retired",
    "exposed": _exposed,
    "rolled_back": lambda v, _: f"Version {v} was rolled back and is held",
    "paused": lambda *_: "The release was paused",
    "resumed": lambda *_: "The release goes on",
    "approved": lambda v, _: f"Version {v} was approved by a person",
    "window": lambda *_: "A window was judged",
    "retrain": _retrain,
    "declined": lambda *_: "No retrain was asked for",
    "called": lambda *_: "A person was called",
    "erased": lambda *_: "Predictions were erased",
    "replay": _replay,
    "cleared": lambda v, facts: f"Version {v} was cleared to serve" + (" by a person" if facts.get("by") == "person" else ""),
    "restored": lambda _, facts: f"The state was restored from the backup of {str(facts.get('taken', ''))[:16]}",
    "migrated": lambda _, facts: f"The state was brought from version {facts.get('from')} to {facts.get('to')}",
}
