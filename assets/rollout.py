"""A passed version on its way to all of the traffic: replayed, exposed, judged step by step, promoted or rolled back.

The rules are `serving.rollout`'s; each change is a compare-and-set on the release that was judged, so that a tick that comes late
changes nothing. Knows nothing of Dagster.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from assets import aliases, booted, evidence, lease, signing
from assets.spec import Spec
from serving import routes
from serving.ledger import Conflict, Decision
from serving.records.store import Records
from serving.release import Release
from serving.rollout import judge
from training.signature import Signature

if TYPE_CHECKING:
    from assets.platform import Platform
    from serving.records.prediction import Prediction

log = logging.getLogger("aiprime.rollout")


def offer(spec: Spec, platform: Platform, registered: Decision, verdict: str) -> str:
    """Let a version that passed the gate on its way; returns what became of it, in a sentence. The champion serves on meanwhile.

    At once where there is no champion, no step, or no traffic to try it on; else at the first step. Doing it again changes nothing.
    """
    ledger, target = platform.ledger, platform.deployment()
    release, version = ledger.release(spec.name), registered.version
    refused = next((one for one in ledger.history(spec.name, "refused") if one.version == version), None)
    if said := _settled(release, version) or (f"refused: {refused.payload['reason']}" if refused else ""):
        target.serve(spec.name)
    elif untried := _nothing_to_try_on(spec, platform, release):
        reason = f"{verdict} ({untried})"
        target.release(spec.name, version, expected=release.champion, fence=release.fence, reason=reason)
        said = f"promoted at once: {untried}"
    else:
        said = _expose(spec, platform, release, registered, verdict)
    target.sample(spec.name, spec.monitor.kept)
    aliases.mirror(platform.places, spec.name)
    return said


def tick(spec: Spec, platform: Platform) -> str:
    """Judge the challenger's step once, and do what follows; returns what was done, in a sentence.

    A roll back never waits for a run in progress; an advance does. Where a decision was cut off before anything followed it, that is done.
    """
    release, target = platform.ledger.release(spec.name), platform.deployment()
    if release.challenger is None:
        late = release.champion is not None and routes.behind(platform.places.home, spec.name, release.fence)
        return f"serving was behind: {'; '.join(target.serve(spec.name))}" if late else "no rollout is under way"
    said = target.serve(spec.name)
    route = routes.read(platform.places.home).get(spec.name)
    if route is None or route.version != release.champion:
        return f"waits for the champion: {'; '.join(said)}"
    if route.challenger is None:
        return _back(spec, platform, release, f"its server does not become ready: {'; '.join(said)}", {})
    records = Records.at(platform.places.home)
    found = evidence.gather(spec, platform.places, records, release)
    step = judge(release, spec.rollout, found.champion, found.challenger, found.losses, found.agreement, found.missing)
    if step.verdict == "roll_back":
        return _back(spec, platform, release, step.sentence, found.plain())
    if step.verdict == "stay":
        return f"version {release.challenger} stays {_at(release)}: {step.sentence}"
    try:
        with lease.within(platform.places.home, spec.name, "rollout"):
            after, judged = records.newest(spec.name), {"judged": found.plain()}
            done = target.advance(
                spec.name, spec.rollout, expected=release.fence, after=after, reason=step.sentence, payload=judged
            )
    except lease.Busy:
        return f"version {release.challenger} stays {_at(release)}: a run of {spec.name} is in progress"
    except Conflict as conflict:
        return f"nothing was done: {conflict.what}"
    aliases.mirror(platform.places, spec.name)
    now = platform.ledger.release(spec.name)
    where = "is the champion" if done.kind == "promoted" else f"goes on {_at(now)}"
    return f"version {done.version} {where}: {step.sentence}"


def _settled(release: Release, version: str) -> str:
    """What a version already is, where nothing is to be done about it; else empty."""
    if version == release.champion:
        return "it is the champion"
    if version == release.challenger:
        return f"its rollout is under way, {_at(release)}"
    if version in release.held:
        return f"held: it was rolled back; a person may `aiprime release promote {release.workload} {version}`"
    if release.paused:
        return f"not exposed: paused by a person; `aiprime release resume {release.workload}` lets it go on"
    return ""


def _nothing_to_try_on(spec: Spec, platform: Platform, release: Release) -> str:
    """Why the gate's verdict alone decides; empty where it does not."""
    section = spec.rollout
    if release.champion is None:
        return "there is no champion to try it beside"
    if not section.steps:
        return "the rollout has no steps"
    if section.without_traffic == "expose":
        return ""
    enough = max(1, math.ceil(section.min_requests * spec.monitor.kept))  # what is kept of them stands for all
    seen = evidence.answered_lately(Records.at(platform.places.home), spec.name, enough)
    told = f"{seen} of {enough} kept" if enough < section.min_requests else f"{seen} of {enough}"
    return (
        f"the champion answered {told} requests in the last 24 hours: there is no traffic to try it on" if seen < enough else ""
    )


def _expose(spec: Spec, platform: Platform, release: Release, registered: Decision, verdict: str) -> str:
    """Replay the last logged requests, then the first step. A version that does not answer them is refused, on record."""
    records, version = Records.at(platform.places.home), registered.version
    logged = [one for one in evidence.last(records, spec.name, spec.rollout.replayed) if one.status == 200]
    replayed, failed = replay(spec, platform, release, registered, logged)
    if failed:
        reason = f"it does not answer {len(failed)} of the last {replayed} logged requests: {failed[0]}"
        platform.ledger.record(
            "refused", spec.name, version, {"reason": reason, "replayed": replayed}, key=f"refused:{spec.name}:{version}"
        )
        return f"refused: {reason}"
    at = spec.rollout.exposure(0, records.newest(spec.name))
    if at is None:
        raise ValueError(f"{spec.name}: a rollout without steps exposes nothing")
    told = {"replayed": replayed}
    platform.deployment().expose(spec.name, version, at, expected=release.fence, reason=verdict, payload=told)
    return f"exposed {_at(platform.ledger.release(spec.name))}; {replayed} logged requests were replayed before"


def replay(
    spec: Spec, platform: Platform, release: Release, registered: Decision, logged: Sequence[Prediction]
) -> tuple[int, list[str]]:
    """Ask the version in a scratch server what the champion was asked: how many were sent, and what each failed answer said.

    None are sent where it reads other inputs than the champion, for which the logged requests were completed: its shadow then shows.
    """
    if not logged:
        return 0, []
    folder = signing.opened(platform.places, spec.name, registered.version)
    theirs = Signature.read(signing.opened(platform.places, spec.name, release.champion or ""))
    if {c.name for c in Signature.read(folder).inputs} != {c.name for c in theirs.inputs}:
        return 0, []
    digest = registered.payload["model_digest"]
    answered = booted.answers(spec, platform, folder, digest, [asked(spec.name, one) for one in logged])
    failed = [f"{one.status} {one.body[:200].decode(errors='replace')}" for one in answered if one.status != 200]
    return len(answered), failed


def asked(workload: str, logged: Prediction) -> booted.Asked:
    """A logged request as its model server got it. `v2/N` is the binary form: the first N bytes are JSON."""
    protocol, _, length = logged.form.partition("/")
    path = f"/v1/models/{workload}:predict" if protocol == "v1" else f"/v2/models/{workload}/infer"
    if length:
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": length}
        return booted.Asked(path=path, body=logged.request, headers=headers)
    return booted.Asked(path=path, body=logged.request)


def _back(spec: Spec, platform: Platform, release: Release, reason: str, judged: dict[str, object]) -> str:
    version = release.challenger or ""
    try:
        platform.deployment().roll_back(
            spec.name, version, expected=release.fence, reason=reason, payload={"judged": judged, "at": _at(release)}
        )
    except Conflict as conflict:
        return f"nothing was done: {conflict.what}"
    log.warning("%s: version %s was rolled back: %s", spec.name, version, reason)
    aliases.mirror(platform.places, spec.name)
    return f"version {version} was rolled back and is held: {reason}"


def _at(release: Release) -> str:
    return f"at step {release.step} ({'shadow' if release.shadow else f'{release.share:.0%}'})"
