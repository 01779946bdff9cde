"""Reads how a model stands from the ledger and the records: a bounded number of the newest of each, by workload."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from serving.freshness import fresh
from serving.ledger import Decision, Kind, Ledger
from serving.records.store import Records
from serving.standing import watched
from serving.standing.sentences import told
from serving.standing.view import JUDGED, Arm, Look, Standing, State
from serving.vouching import who_vouches

WINDOWS, DECISIONS, REQUESTS = 200, 30, 10_000
_TURNS: tuple[Kind, ...] = ("registered", "promoted", "rolled_back", "refused", "retrain", "called", "replay")
_SAID: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind != "window")
_KEPT_TURNS = 400


def known(ledger: Ledger, workload: str) -> bool:
    """Whether anything was ever decided about the workload."""
    return bool(ledger.latest(workload, 1))


def read(
    ledger: Ledger,
    records: Records,
    workload: str,
    *,
    home: Path | None = None,
    windows: int = WINDOWS,
    requests: int = REQUESTS,
) -> Standing:
    """The whole view: the newest `windows`, and traffic of the latest `requests`. UserError where a database cannot be read.

    `home` is where the models and their features lie: without it nothing is said of the champion's signature, nor of their age.
    """
    release, champion = ledger.release(workload), ledger.champion(workload)
    turns, seen = ledger.latest(workload, _KEPT_TURNS, _TURNS), ledger.latest(workload, windows, ("window",))
    begun = watched.epoch(turns, seen[-1].sequence) if seen else None
    seen = [one for one in seen if begun is None or one.sequence > begun.sequence]
    since = [one for one in turns if begun is None or one.sequence > begun.sequence]
    looks = tuple(map(watched.look, seen))
    found = watched.retrains(since, looks)
    rules = seen[-1].payload.get("rules") or {} if seen else {}
    its = next((one for one in reversed(turns) if one.kind == "registered" and one.version == release.champion), None)
    if its is None and release.champion is not None:  # older than what is kept in view
        registered = ledger.latest(workload, _KEPT_TURNS, ("registered",))
        its = next((one for one in reversed(registered) if one.version == release.champion), None)
    drawn = next((one for one in reversed(seen) if watched.page(one)), None)
    compared = next((one for one in reversed(seen) if watched.features(one)), None)
    call = watched.unanswered(turns, looks)
    state, said = judged(release.champion, looks, call)
    return Standing(
        workload=workload,
        state=state,
        said=said,
        call=call,
        metric=_metric(its),
        champion=release.champion,
        since=champion.at if champion else "",
        reason=told(champion).why if champion else "",
        verdict=str(its.payload.get("verdict", "")) if its else "",
        run_url=str(its.payload["url"]) if its and its.payload.get("url") else None,
        previous=release.previous,
        challenger=release.challenger,
        step=release.step,
        share=release.share,
        shadow=release.shadow,
        paused=release.paused,
        approved=release.approved,
        held=tuple(sorted(release.held)),
        windows=looks,
        marks=tuple(watched.marks(since, found, looks)),
        features=watched.features(compared) if compared else (),
        drift_page=watched.page(drawn) if drawn else None,
        drift_at=float(drawn.payload["end"]) if drawn else None,
        replayed=_played(begun),
        known_until=looks[-1].labels_to if looks else None,
        retrains=watched.lately(found, looks[-1].end if looks else time.time(), rules.get("budget_cpu_s")),
        rules=rules,
        arms=_arms(records, workload, requests),
        told=tuple(told(one) for one in reversed(ledger.latest(workload, DECISIONS, _SAID))),
        vouched=who_vouches(home, ledger, workload, release.champion) if home and release.champion else None,
        stored=fresh(home, workload, release.champion) if home and release.champion else None,
    )


def briefly(ledger: Ledger, records: Records, workload: str, *, home: Path | None = None) -> Standing:
    """The same with fewer windows and requests: for a list of many."""
    return read(ledger, records, workload, home=home, windows=40, requests=1000)


def judged(champion: str | None, windows: Sequence[Look], call: str) -> tuple[State, str]:
    """Green, red or grey, and why. What was seen of another version says nothing of this one; what was not judged is grey, never green."""
    if champion is None:
        return "unknown", "nothing serves"
    if call:
        return "alarm", f"a person was called: {call}"
    if not windows:
        return "unknown", "no window has closed yet"
    last = windows[-1]
    if last.version != champion:
        return "unknown", f"version {champion} has no window yet"
    if last.state == "ok":
        return "ok", next(one.said for one in map(last.signal, JUDGED) if one.state == "ok")
    told_ = [one for one in last.signals.values() if one.red] or [last.signal(name) for name in JUDGED]
    return last.state, "; ".join(f"{one.name}: {one.said}" for one in told_)


def _arms(records: Records, workload: str, requests: int) -> tuple[Arm, ...]:
    after = records.newest(workload, back=requests)
    order = ("champion", "challenger", "shadow")
    found = [
        Arm(
            version=version,
            role=role,
            requests=one.requests,
            errors=one.errors,
            p50_ms=one.p50_ms,
            p99_ms=one.p99_ms,
        )
        for (version, role), one in records.traffic(workload, after=after).items()
    ]
    return tuple(sorted(found, key=lambda one: (order.index(one.role), -len(one.version), one.version)))


def _metric(registered: Decision | None) -> str:
    comparisons = registered.payload.get("comparisons") if registered else None
    return str(comparisons[0].get("metric", "")) if comparisons else ""


def _played(begun: Decision | None) -> tuple[str, str] | None:
    if begun is None or begun.payload.get("state") != "started":
        return None
    return str(begun.payload.get("from", ""))[:10], str(begun.payload.get("to", ""))[:10]
