"""How each model stands, for a terminal: the page's facts (serving/standing), as a few aligned lines. Knows no database."""

from __future__ import annotations

from typing import Any

from serving.standing.view import SIGNALS

_WORDS = {"ok": "● healthy", "alarm": "▲ look at it", "unknown": "○ not judged yet"}
_QUIET = {"deployed", "replay"}  # what follows from a decision, or is none
Facts = dict[str, Any]  # `serving.standing.plain`


def text(model: Facts) -> str:
    """One model's block."""
    rows = [
        ("champion", _champion(model)),
        ("signed", _found(model["vouched"])),
        ("features", _found(model["stored"])),
        ("challenger", _challenger(model)),
        *_seen(model),
        ("traffic", _traffic(model)),
        ("truth", f"known up to {model['known_until'] or '(nothing is known yet)'}"),
        ("retrains", _retrains(model)),
        ("last", _last(model)),
    ]
    head = f"  {model['workload']:<20} {_WORDS[model['state']]}: {model['said']}"
    return "\n".join([head, *(f"    {name:<11} {said}" for name, said in rows if said)])


def _champion(model: Facts) -> str:
    if model["champion"] is None:
        return "none: nothing serves"
    previous = f"; a rollback leads to version {model['previous']}" if model["previous"] else ""
    return f"version {model['champion']} since {model['since'][:19]}{previous}{'; the release is paused' if model['paused'] else ''}"


def _found(one: Facts | None) -> str:
    """Who vouches for the champion, or how old its stored feature values are; what is amiss shouts."""
    return "" if one is None else one["said"] if one["well"] else f"LOOK: {one['said']}"


def _challenger(model: Facts) -> str:
    if model["challenger"] is None:
        return f"none; held: {', '.join(model['held'])}" if model["held"] else ""
    given = "shadow: a copy of each request" if model["shadow"] else f"{model['share']:.0%} of the requests"
    return f"version {model['challenger']} at step {model['step']}, {given}"


def _seen(model: Facts) -> list[tuple[str, str]]:
    if not model["windows"]:
        return []
    last = model["windows"][-1]
    rows = [("window", f"{last['start']} to {last['end']}, version {last['version']}, {last['rows']:,} rows")]
    for name in SIGNALS:
        if (one := last["signals"].get(name)) is not None:
            state = one["state"] if one["state"] in {"ok", "unknown"} else one["state"].upper()
            rows.append((f"  {name}", f"{state:<8} {one['said']}"))
    return rows


def _traffic(model: Facts) -> str:
    arms = [
        f"version {one['version']} as {one['role']}: {one['requests']:,} requests, {one['errors']:,} errors, "
        f"p50 {one['p50_ms']:.1f} ms, p99 {one['p99_ms']:.1f} ms"
        for one in model["arms"]
        if one["version"] == model["challenger"] or (one["version"], one["role"]) == (model["champion"], "champion")
    ]
    return "\n                ".join(arms) or "no request was kept yet"


def _retrains(model: Facts) -> str:
    found = model["retrains"]
    budget = f" of {found['budget_cpu_s']:,.0f}" if found["budget_cpu_s"] is not None else ""
    return f"{found['count']} in 30 days of its data, {found['used_cpu_s']:,.0f}{budget} CPU seconds"


def _last(model: Facts) -> str:
    newest = next((one for one in model["told"] if one["kind"] not in _QUIET), None)
    if newest is None:
        return ""
    return f"{newest['at'][:19]} {newest['what']}" + (f": {newest['why']}" if newest["why"] else "")
