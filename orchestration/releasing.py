"""`aiprime release`: what a person sees of a release, and what they may change about it. Each change is theirs, with their reason.

A person need not wait for a run in progress: what they looked at is what they change, or they are told that it changed meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from assets import aliases
from assets.spec import names
from data.errors import UserError
from data.places import Places
from serving.cards import card_path
from serving.deploy import LocalTarget
from serving.ledger import Decision, Ledger
from serving.release import Release
from serving.trust import keys, signature
from serving.trust.refusal import Untrusted

ACTOR = "person"


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a person's change came to."""

    workload: str
    said: str
    release: dict[str, Any]


def versions(places: Places, workload: str | None = None) -> list[dict[str, Any]]:
    """Every registered version, newest first: verdict, state (champion, previous, challenger ..., held, refused) and since when, whose
    signature lies beside it (the key's id; it is checked when it is started), its card."""
    ledger, gateway = Ledger.at(places.home), places.service("gateway") or ""
    found = []
    for name in [_known(places, workload)] if workload else names(places):
        release, history = ledger.release(name), ledger.history(name)
        newest = {
            d.version: d for d in history if d.kind == "registered"
        }  # a version that was judged again has another verdict
        for one in reversed(newest.values()):
            state, since = _state(release, one, history)
            found.append(
                {"workload": name, "version": one.version, "state": state, "since": since, "verdict": one.payload["verdict"]}
                | {
                    "registered": one.at,
                    "paused": release.paused,
                    "signed": _signed(places, one),
                    "card": gateway + card_path(name, one.version),
                }
            )
    return found


def versions_text(found: list[dict[str, Any]]) -> str:
    """The list as aligned lines, a workload after the other."""
    lines, seen = [], ""
    for one in found:
        if one["workload"] != seen:
            seen = one["workload"]
            lines.append(f"{seen}{'  (paused: nothing changes by itself)' if one['paused'] else ''}")
        lines.append(
            f"  {one['version']:<5} {one['state']:<26} {one['since'][:19]:<20} {one['signed'] or 'unsigned':<13} {one['verdict']}"
        )
    if not lines:
        return "no version is registered yet; aiprime run makes one"
    return "\n".join(
        [*lines, f"what is known of each: {found[0]['card'].rpartition('/models/')[0]}/models/NAME/versions/VERSION"]
    )


def promote(places: Places, workload: str, version: str | None, reason: str, override: bool) -> Done:
    """Make a version (the challenger, where none is named) the champion now, past the rest of its rollout.

    UserError where it was never registered, or was refused by the gate and `override` is not given.
    """
    ledger, release = _looked_at(places, workload, reason)
    version = version or release.challenger
    if version is None:
        raise UserError(f"{workload}: no rollout is under way", next_step="name the version; aiprime release list shows them")
    told = _allowed(ledger, workload, version, reason, override)
    if version == release.champion:
        raise UserError(f"{workload}: version {version} is the champion", next_step="nothing is to be done")
    named = {"expected": release.champion, "fence": release.fence, "reason": reason, "actor": ACTOR, "payload": told}
    LocalTarget(places.home).release(workload, version, **named)
    return _done(places, workload, f"version {version} is the champion; before it was {release.champion or 'none'}")


def rollback(places: Places, workload: str, version: str | None, reason: str) -> Done:
    """Go back: a challenger (where one is exposed, or is named) is taken out; else the champion's place goes to the one before it.

    What is left is held: the loop does not expose it again. UserError where there is nothing to go back to.
    """
    _, release = _looked_at(places, workload, reason)
    target = LocalTarget(places.home)
    if release.challenger is not None and version in {None, release.challenger}:
        target.roll_back(workload, release.challenger, expected=release.fence, reason=reason, actor=ACTOR)
        return _done(places, workload, f"version {release.challenger} is out and held; {release.champion} serves")
    if version not in {None, release.champion, release.previous}:
        raise UserError(
            f"{workload}: version {version} does not serve, and a rollback does not lead to it",
            next_step=f"aiprime release promote {workload} {version} --reason ... makes it the champion",
        )
    target.rollback(workload, expected=release.fence, reason=reason, actor=ACTOR)
    return _done(places, workload, f"version {release.previous} serves again; {release.champion} is held")


def change(
    places: Places, kind: Literal["paused", "resumed", "approved"], workload: str, version: str | None, reason: str
) -> Done:
    """Pause or resume all that happens by itself, or let the challenger take all of the traffic."""
    ledger, release = _looked_at(places, workload, reason)
    version = version or release.challenger or release.champion or ""
    ledger.change(kind, workload, version, {"reason": reason}, expected=release.fence, actor=ACTOR)
    said = {
        "paused": "nothing is exposed, advanced or promoted by itself any more; a bad challenger still goes back",
        "resumed": "the loop goes on",
        "approved": f"version {version} may take all of the traffic once its last step is passed",
    }
    return _done(places, workload, said[kind])


def done_text(done: Done) -> str:
    """One line."""
    return f"{done.workload}: {done.said}"


def _known(places: Places, workload: str) -> str:
    if workload not in names(places) and workload not in Ledger.at(places.home).workloads():
        raise UserError(f"no workload {workload!r}", next_step="aiprime workloads lists them")
    return workload


def _looked_at(places: Places, workload: str, reason: str) -> tuple[Ledger, Release]:
    if not reason.strip():
        raise UserError("a person's decision needs a reason", next_step="say why, in a sentence that a later reader can judge")
    ledger = Ledger.at(places.home)
    return ledger, ledger.release(_known(places, workload))


def _allowed(ledger: Ledger, workload: str, version: str, reason: str, override: bool) -> dict[str, Any]:
    """What the promotion's record says beside the reason: the overruled refusals, where there are some."""
    from training.promote import Verdict, overrule

    history = [one for one in ledger.history(workload) if one.version == version]
    registered = next((one for one in reversed(history) if one.kind == "registered"), None)  # as it was judged last
    if registered is None:
        raise UserError(f"{workload}: version {version} was never registered", next_step="aiprime release list shows them")
    refusals = _refusals(registered, history)
    if not refusals:
        return {}
    if not override:
        raise UserError(
            f"{workload}: version {version} was refused: {'; '.join(refusals)}",
            next_step="--override promotes it all the same; your reason stays on record",
        )
    overruled = overrule(Verdict(passed=False, reasons=tuple(refusals), comparisons=()), reason)
    return {"override": overruled.override, "refused": list(overruled.reasons)}


def _refusals(registered: Decision, history: list[Decision]) -> list[str]:
    gate = [] if registered.payload["passed"] else [registered.payload["verdict"]]
    return gate + [one.payload["reason"] for one in history if one.kind == "refused" and one.version == registered.version]


def _state(release: Release, registered: Decision, history: list[Decision]) -> tuple[str, str]:
    """The version's state in a few words, and since when."""
    version = registered.version
    of = [one for one in history if one.version == version]
    last = {one.kind: one.at for one in of}
    if version == release.champion:
        return "champion", last["promoted"]
    if version == release.challenger:
        at = "shadow" if release.shadow else f"{release.share:.0%}"
        waits = ", approved" if release.approved else ""
        return f"challenger at step {release.step} ({at}{waits})", last["exposed"]
    if version in release.held:
        left = [one.at for one in history if one.kind == "promoted" and version in one.payload.get("holds", [])]
        return "held", max([*left, *([last["rolled_back"]] if "rolled_back" in last else [])])
    if version == release.previous:
        return "previous", next(one.at for one in reversed(history) if one.kind == "promoted")
    if _refusals(registered, of):
        return "refused", last.get("refused", registered.at)
    return "retired" if "retired" in last else "registered", last.get("retired", registered.at)


def _signed(places: Places, registered: Decision) -> str:
    try:
        return keys.short(signature.signer(signature.beside(places.models(registered.workload, registered.version))))
    except Untrusted:
        return ""


def _done(places: Places, workload: str, said: str) -> Done:
    aliases.mirror(places, workload)
    release = vars(Ledger.at(places.home).release(workload))
    return Done(workload=workload, said=said, release=release | {"held": sorted(release["held"])})
