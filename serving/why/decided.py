"""Which version answered and why: the release as the ledger had it when the answer was given, and what was erased since. Pure but for the
ledger's reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import orjson

from serving.gateway.traffic import drawn
from serving.ledger import Decision, Kind, Ledger
from serving.records import Prediction
from serving.release import CHANGES, Release, fold
from serving.standing.sentences import told
from serving.why.steps import Step

_CHANGES: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind in CHANGES)
_MOST = 5000  # changes of one release that are looked through


def decision(ledger: Ledger, one: Prediction) -> Step:
    """The gateway's choice: the release of then, the decision that made it so, and the draw where a share decided.

    The two clocks are this machine's; the ledger's order is by sequence, so a decision of the very same moment may come before or after.
    """
    moment = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="microseconds")
    before = [each for each in ledger.latest(one.workload, _MOST, _CHANGES) if each.at <= moment]
    release = fold(one.workload, before)
    made = _made(before, one)
    facts: dict[str, Any] = {"role": one.role, "champion": release.champion, "challenger": release.challenger}
    if release.challenger is not None:
        facts |= {"step": release.step, "share": release.share, "shadow": release.shadow}
    draw = _draw(release, one)
    if draw is not None:
        facts["drawn_for_challenger"] = draw
    if release.paused:
        facts["paused"] = True
    said, gone = _said(release, one, draw), None
    if made is not None:
        found = told(made)
        facts |= {"decision": made.sequence, "decided_at": made.at, "decided_by": made.actor, "reason": found.why}
        said += f" {found.what} on {made.at[:16].replace('T', ' ')} UTC" + (f": {found.why}." if found.why else ".")
    else:
        gone = "the ledger holds no decision of before this answer that lets this version serve"
    return Step(
        name="decision",
        title="Why this version answered",
        said=said,
        source=f"ledger, decision {made.sequence}" if made else "ledger",
        facts=facts,
        gone=gone,
    )


def _made(before: Sequence[Decision], one: Prediction) -> Decision | None:
    """The decision by which the version had its role."""
    kinds = {"promoted"} if one.role == "champion" else {"exposed"}
    return next((each for each in reversed(before) if each.kind in kinds and each.version == one.version), None)


def _draw(release: Release, one: Prediction) -> bool | None:
    """Whether the id (or, where requests of one entity stay together, its entity) falls into the challenger's share; None where there
    was nothing to draw."""
    if release.challenger is None or release.share <= 0 or one.role == "shadow":
        return None
    salt = f"{one.workload}/{release.challenger}"
    by_id = drawn(one.id, release.share, salt)
    if by_id == (one.role == "challenger") or not one.entities or one.entities[0] is None:
        return by_id
    return drawn(orjson.dumps(one.entities[0], default=str).decode("utf-8", "replace"), release.share, salt)


def _said(release: Release, one: Prediction, draw: bool | None) -> str:
    version = f"version {one.version}"
    if one.role == "shadow":
        return f"A copy was sent to {version} to compare it with the champion; nobody was given this answer."
    if one.role == "challenger":
        share = f"{release.share:.0%} of the requests" if release.share else "a share of the requests"
        return f"{version.capitalize()} was being tried on {share}, and this one fell into that share."
    if release.champion != one.version:
        now = f"version {release.champion}" if release.champion else "none"
        return f"{version.capitalize()} answered as the champion; the ledger's champion at that moment was {now}: it was just changing."
    if draw:
        return f"{version.capitalize()} was the champion. The request fell into the share of version {release.challenger}, which did not answer it well."
    if release.challenger is not None and release.share:
        return f"{version.capitalize()} was the champion; version {release.challenger} was being tried on {release.share:.0%} of the requests, not on this one."
    return f"{version.capitalize()} was the champion: it answered every request."


def erasure(ledger: Ledger, one: Prediction) -> str:
    """Why the content of a record is gone, as far as that is on record."""
    found = []
    for each in ledger.latest(one.workload, _MOST, ("erased", "forgotten")):
        before = each.payload.get("before")
        if before is not None and datetime.fromisoformat(str(before)).timestamp() <= one.at:
            continue  # it was of what came earlier
        if datetime.fromisoformat(each.at).timestamp() < one.at:
            continue
        reason = told(each).why
        found.append(f"{each.at[:10]} (decision {each.sequence}{f', {reason}' if reason else ''})")
    if not found:
        return "erased; no decision on record says when"
    return f"erased on {' or '.join(found[:3])}"
