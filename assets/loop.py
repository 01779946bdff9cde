"""One turn of the loop for one workload: judge the rollout, close the windows that are due, and decide whether to retrain.

Everything that is decided is a record. The retrain itself is a run of the workload's `retrain` job: whoever turns the loop (Dagster's
sensor, a replay) starts it. Knows no Dagster.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from assets import alerts, lease, monitoring, retraining, rollout
from assets.platform import Platform
from assets.spec import Spec
from assets.trigger import Answer, Attempt, State, decide
from assets.windows import Window, length_s, read
from data.errors import UserError
from data.failpoints import failpoint
from serving import retrains
from serving.ledger import Decision, Ledger

log = logging.getLogger("aiprime.loop")
_STARTING_S = 300  # between the request of a retrain and the lease of its run, or its place in the queue
_LEAST_S = 3600.0  # of a window in the rules: one that counts rows can pass in seconds, and two of them are the cooldown
_MOST = 1000  # windows of one turn: a backlog is worked off in several
_BACK = 200  # windows that a decision looks back on: it must not take longer with each year


def lock_name(workload: str) -> str:
    """The lease of who turns the workload's loop from outside: a replay."""
    return f"{workload}.loop"


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one turn did: the windows it closed, the rollout's news, and the retrain to start (its record), if any."""

    windows: tuple[Window, ...]
    rollout: str
    retrain: Decision | None = None
    answer: Answer | None = None


def unseen(_: Decision) -> bool:
    """Whether a request's run waits or runs, for who sees no queue: its age and the lease must tell."""
    return False


def turn(spec: Spec, platform: Platform, *, clock: float | None = None, waits: Callable[[Decision], bool] = unseen) -> Turn:
    """One turn; `clock` is a replay's event time. Safe to call at any time and from several processes: each record is made once.

    `waits` says whether the run of a `retrain` record is queued or under way, for who can see the queue.
    """
    said = _rollout(spec, platform)
    windows: list[Window] = []
    asked: Decision | None = None
    answer: Answer | None = None
    if (left := _unanswered(spec, platform.ledger)) is not None:
        answer = _answer(spec, platform.ledger, platform, waits)
        asked = _act(spec, platform, left, answer)
    while asked is None and len(windows) < _MOST and (window := _look(spec, platform, clock)) is not None:
        windows.append(window)
        answer = _answer(spec, platform.ledger, platform, waits)
        asked = _act(spec, platform, window, answer)
    return Turn(windows=tuple(windows), rollout=said, retrain=asked, answer=answer)


def _look(spec: Spec, platform: Platform, clock: float | None) -> Window | None:
    """The next window; where judging it breaks, a person is called, once for that window, and the error goes on."""
    try:
        return monitoring.look(spec, platform, clock=clock)
    except Exception as error:
        ledger, said = platform.ledger, f"no window can be judged: {type(error).__name__}: {error}"
        before = ledger.latest(spec.name, 1, ("window",))
        key = f"called:{spec.name}:unjudged:{before[0].sequence if before else 0}"
        payload = {"window": before[0].sequence if before else 0, "reasons": [said], "said": said}
        newest = ledger.newest()
        if ledger.record("called", spec.name, "", payload, actor="loop", key=key).sequence > newest:
            alerts.call(platform.places, spec.name, said)
        raise


def _unanswered(spec: Spec, ledger: Ledger) -> Window | None:
    """The last window, where it raised an alarm and nothing was decided on it: who recorded it died before."""
    newest = ledger.latest(spec.name, 1, ("window",))
    if not newest or not newest[0].payload["alarms"] or newest[0].sequence < monitoring.epoch_of(ledger, spec.name).decision:
        return None
    decided = ledger.latest(spec.name, 1, ("retrain", "declined", "called"))
    return None if decided and decided[0].sequence > newest[0].sequence else read(newest[0])


def _rollout(spec: Spec, platform: Platform) -> str:
    """The rollout's news; what a person must mend there does not keep the windows from being judged."""
    try:
        return rollout.tick(spec, platform)
    except UserError as error:
        log.warning("%s: the rollout could not go on: %s", spec.name, error)
        return f"could not go on: {error.what}"


def asked_for(spec: Spec, ledger: Ledger) -> list[retrains.Retrain]:
    """The retrains that were asked for since the epoch began, oldest first."""
    epoch = monitoring.epoch_of(ledger, spec.name).decision
    records = [one for one in ledger.history(spec.name, "retrain") if one.sequence > epoch]
    unfit = [*ledger.history(spec.name, "rolled_back"), *ledger.history(spec.name, "refused")]
    ends = {one.sequence: float(one.payload["end"]) for one in ledger.latest(spec.name, _BACK, ("window",))}
    return retrains.fold([*records, *unfit], ends)


def attempt(spec: Spec, platform: Platform, one: retrains.Retrain, waits: Callable[[Decision], bool] = unseen) -> Attempt:
    """A retrain as the trigger's rule sees it; `waits` as in `turn`."""
    state: State = one.state or ("running" if waits(one.asked) else _running(spec, platform, one.asked))
    return Attempt(at=one.at, state=state, cpu_s=one.cpu_s, by_person=one.by_person, sequence=one.asked.sequence)


def _running(spec: Spec, platform: Platform, asked: Decision) -> State:
    """A request without an end: running while its run is starting or holds the lease, else it died on the way."""
    age_s = (datetime.now(UTC) - datetime.fromisoformat(asked.at)).total_seconds()
    return "running" if age_s < _STARTING_S or lease.busy(platform.places.home, spec.name) else "failed"


def _answer(spec: Spec, ledger: Ledger, platform: Platform, waits: Callable[[Decision], bool] = unseen) -> Answer:
    epoch = monitoring.epoch_of(ledger, spec.name).decision
    looked_back = max(_BACK, spec.retrain.n)
    windows = [read(one) for one in ledger.latest(spec.name, looked_back, ("window",)) if one.sequence > epoch]
    if spec.retrain.every and (first := ledger.first(spec.name, "window", after=epoch)) and first.sequence < windows[0].seen:
        windows.insert(0, read(first))  # since when it is
    champion = ledger.champion(spec.name)
    span = length_s(spec.monitor, spec.data, spec.features)
    latest = windows[-1]
    tried = asked_for(spec, ledger)
    learnt = tried[-1].known_until if tried else float("-inf")
    return decide(
        spec.retrain,
        [one.as_seen(since_last_retrain=one.labels_to > learnt and one.labels_to > one.labels_from) for one in windows],
        [attempt(spec, platform, one, waits) for one in tried],
        champion=champion.version if champion else None,
        window_s=span if span is not None else max(latest.end - latest.start, _LEAST_S),
        challenger=ledger.release(spec.name).challenger,
    )


def _act(spec: Spec, platform: Platform, window: Window, answer: Answer) -> Decision | None:
    """Put the decision on record; the `retrain` record where one is to be started."""
    ledger = platform.ledger
    if answer.call:
        _call(platform, spec, window, answer, answer.call)
    if not answer.fire:
        asked = (one.payload.get("cutoff") for one in ledger.history(spec.name, "retrain"))
        already = any(cutoff and cutoff.get("sequence") == answer.window for cutoff in asked)  # by who decides at the same time
        if (answer.alarm or answer.call) and not already:
            _decline(ledger, spec, window, answer)
        return None
    until = datetime.fromtimestamp(window.labels_to, UTC)
    reason = f"window {answer.window}: {'; '.join(answer.reasons)}"
    try:
        tags = retraining.request(spec, platform, until=until, reason=reason, window_sequence=answer.window)
    except UserError as error:  # what a person must mend does not keep the windows to come from being judged
        said = f"no retrain can be asked for: {error.what}"
        _call(platform, spec, window, answer, said)
        _decline(ledger, spec, window, answer, said)
        return None
    # Two who decide at once, on whichever windows, knew of the same last retrain: one record between them.
    follows = answer.follows or monitoring.epoch_of(ledger, spec.name).decision
    asked = retraining.record(ledger, spec, tags, by_person=False, actor="loop", follows=follows)
    failpoint("after-retrain-asked")
    log.info("%s: retrain asked for: %s", spec.name, reason)
    return asked


def _inputs(answer: Answer, *more: str) -> dict[str, Any]:
    return {"window": answer.window, "reasons": [*answer.reasons, *more], "used_cpu_s": round(answer.used_cpu_s, 1)}


def _decline(ledger: Ledger, spec: Spec, window: Window, answer: Answer, *more: str) -> None:
    key = f"declined:{spec.name}:{answer.window}"
    ledger.record("declined", spec.name, window.version, _inputs(answer, *more), actor="loop", key=key)


def _call(platform: Platform, spec: Spec, window: Window, answer: Answer, said: str) -> None:
    """Tell a person, once per episode."""
    if _called(platform.ledger, spec.name, said, broken=bool(answer.follows)):
        return
    payload, key = _inputs(answer) | {"said": said}, f"called:{spec.name}:{answer.window}"
    platform.ledger.record("called", spec.name, window.version, payload, actor="loop", key=key)
    alerts.call(platform.places, spec.name, said)


def _called(ledger: Ledger, workload: str, said: str, *, broken: bool) -> bool:
    """Whether a person was told of the same kind of thing, and since then no retrain was asked for and no window was judged well.

    `broken`: it is the breaker's, which no window mends.
    """
    epoch = monitoring.epoch_of(ledger, workload).decision
    told = [one for one in ledger.latest(workload, 1, ("called",)) if one.sequence > epoch]
    if not told or told[0].payload["said"].partition(":")[0] != said.partition(":")[0]:
        return False
    since = [one for one in ledger.latest(workload, _BACK, ("retrain", "window")) if one.sequence > told[0].sequence]
    return not any(one.kind == "retrain" or (not broken and _well(read(one))) for one in since)


def _well(window: Window) -> bool:
    """Whether truth was known, and nothing is red."""
    quality = window.signals.get("quality")
    return quality is not None and quality.state == "ok" and not window.red
