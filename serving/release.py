"""What of a workload may serve: its decisions, folded into one state. Pure: no database, no clock, no servers.

A decision that cannot follow on those before it (a version exposed that is held, a challenger rolled back that is none) changes
nothing; `refusal` says why. So no sequence of decisions gives a held challenger, two arms of one version, or a share outside [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.chain import Decision


@dataclass(frozen=True, kw_only=True)
class Release:
    """The champion, what it replaced, and how far its challenger has come."""

    workload: str
    champion: str | None = None
    previous: str | None = None  # where a rollback of the champion leads
    challenger: str | None = None
    step: int = 0  # the challenger's place in the rollout's steps
    share: float = 0.0  # of the requests that the challenger answers, 0..1
    shadow: bool = False  # it is sent copies, and answers nobody
    paused: bool = False  # nothing changes by itself
    approved: bool = False  # a person let the challenger take all
    held: frozenset[str] = frozenset()  # rolled back: never exposed again by itself
    fence: int = 0  # the sequence number of the newest decision that changed any of this
    since: str = ""  # when that was, UTC, ISO 8601
    after: int = 0  # the records' sequence number when the challenger's step began
    begun: int = 0  # ... and when its first step began


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The step that a challenger is put at."""

    step: int
    share: float = 0.0
    shadow: bool = False
    after: int = 0

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Exposure:
        """What an `exposed` record says; ValueError where that is no step."""
        step: Any = payload.get("step")
        share, after, shadow = payload.get("share", 0.0), payload.get("after", 0), payload.get("shadow", False)
        if not (_whole(step) and _whole(after) and isinstance(shadow, bool)):
            raise ValueError(f"step {step!r}, shadow {shadow!r}, after {after!r} name no step")
        if isinstance(share, bool) or not isinstance(share, int | float) or not (math.isfinite(share) and 0 <= share <= 1):
            raise ValueError(f"the share {share!r} is not between 0 and 1")
        if shadow and share:
            raise ValueError("a shadow answers nobody")
        return cls(step=step, share=float(share), shadow=shadow, after=after)


def fold(workload: str, decisions: Iterable[Decision]) -> Release:
    """The release that a workload's decisions, oldest first, come to. Other workloads' are passed over."""
    release = Release(workload=workload)
    for decision in decisions:
        release = follow(release, decision)
    return release


def follow(release: Release, decision: Decision) -> Release:
    """The release after one more decision; the same one where the decision does not change it."""
    if decision.workload != release.workload or refusal(release, decision.kind, decision.version, decision.payload):
        return release
    changed = _CHANGED[decision.kind](release, decision.version, decision.payload)
    return replace(changed, fence=decision.sequence, since=decision.at)


def refusal(release: Release, kind: str, version: str, payload: Mapping[str, Any]) -> str | None:
    """Why such a decision would not change the release; None where it would."""
    if kind not in _CHANGED:
        return f"{kind!r} is no change of a release"
    if kind == "exposed":
        return _unexposable(release, version, payload)
    missing = f"version {version} is not the challenger" if version != release.challenger else None
    reasons = {
        "retired": None
        if version in {release.champion, release.previous, release.challenger}
        else f"version {version} does not serve",
        "rolled_back": missing,
        "approved": missing or ("it is approved already" if release.approved else None),
        "paused": "it is paused already" if release.paused else None,
        "resumed": None if release.paused else "it is not paused",
    }
    return reasons.get(kind)


def _unexposable(release: Release, version: str, payload: Mapping[str, Any]) -> str | None:
    if release.champion is None:
        return "there is no champion to try it beside"
    if version == release.champion:
        return f"version {version} is the champion"
    if version in release.held:
        return f"version {version} was rolled back and is held"
    if release.paused:
        return "the release is paused"
    try:
        Exposure.of(payload)
    except ValueError as error:
        return str(error)
    return None


def _promoted(release: Release, version: str, payload: Mapping[str, Any]) -> Release:
    """Any rollout ends: it was a comparison with the champion before."""
    holds = payload.get("holds")
    held = (release.held | {str(one) for one in (holds if isinstance(holds, list) else [])}) - {version}
    replaced = release.previous if version == release.champion else release.champion
    previous = None if replaced in held or replaced == version else replaced
    return replace(_alone(release), champion=version, previous=previous, held=held)


def _retired(release: Release, version: str, _: Mapping[str, Any]) -> Release:
    if version in {release.champion, release.challenger}:
        release = _alone(release)
    return replace(
        release,
        champion=None if version == release.champion else release.champion,
        previous=None if version == release.previous else release.previous,
    )


def _exposed(release: Release, version: str, payload: Mapping[str, Any]) -> Release:
    at, again = Exposure.of(payload), version == release.challenger
    return replace(
        release,
        challenger=version,
        step=at.step,
        share=at.share,
        shadow=at.shadow,
        after=at.after,
        begun=release.begun if again else at.after,
        approved=release.approved and again,
    )


def _alone(release: Release) -> Release:
    return replace(release, challenger=None, step=0, share=0.0, shadow=False, approved=False, after=0, begun=0)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_CHANGED: Mapping[str, Callable[[Release, str, Mapping[str, Any]], Release]] = {
    "promoted": _promoted,
    "retired": _retired,
    "exposed": _exposed,
    "rolled_back": lambda release, version, _: replace(_alone(release), held=release.held | {version}),
    "paused": lambda release, *_: replace(release, paused=True),
    "resumed": lambda release, *_: replace(release, paused=False),
    "approved": lambda release, *_: replace(release, approved=True),
}
CHANGES = tuple(_CHANGED)  # the kinds of decisions that a release is folded from
