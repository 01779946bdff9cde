"""A retrain's request: how far its data go and what it is judged on, asked for as a tag of the run, and made true at its start.

It knows by which rule the frozen holdout follows from the promotions; whether to retrain at all is the trigger's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from assets import back, cost
from assets.spec import Spec
from data import cutoff as cutoffs
from data.cutoff import Cutoff, Window
from data.errors import UserError
from data.places import Places
from data.section import seconds
from training.promote import next_frozen

if TYPE_CHECKING:
    from assets.platform import Platform
    from serving.ledger import Decision, Ledger

log = logging.getLogger("aiprime.retraining")
TAG = "aiprime/cutoff"
LIFT = "aiprime/lift_cutoff"  # a run's tag: the `until` of the cutoff that ends here
_UNREADABLE = "unreadable"  # ... where the file is no cutoff
ASKED = "aiprime/retrain_asked"  # a run's tag: the sequence number of the record that it answers


def request(
    spec: Spec,
    platform: Platform,
    *,
    until: datetime,
    window: timedelta | int | None = None,
    reason: str,
    window_sequence: int | None = None,
) -> dict[str, str]:
    """The tags of the run of `WORKLOAD_retrain` that fits on what was known by `until` - `window` and is gated on the truth after.

    `until` (aware) is the watermark: truth is known up to it, not with. `window` is a duration, or a number of the newest rows, or
    (None) what `retrain.holdout` says. Whether the ledger's labels are learnt from: `retrain.labels`.
    `reason` and `window_sequence` (the ledger's record) say what made it start. UserError where the window cannot hold an example.
    """
    refuse_without(reason)
    window = default_window(spec, platform.places, until) if window is None else window
    if isinstance(window, timedelta) and window <= span(spec):
        raise UserError(
            f"a gate window of {window} holds no example: the truth of one lies up to {span(spec)} apart",
            where=spec.name,
            next_step=f"make the window longer than {span(spec)} by the time that is to be judged on",
        )
    wanted = Cutoff(
        until=until,
        window_s=round(window.total_seconds()) if isinstance(window, timedelta) else None,
        window_rows=None if isinstance(window, timedelta) else window,
        frozen=frozen(spec, platform.ledger, until),
        labels=spec.retrain.labels,
        reason=reason.strip(),
        sequence=window_sequence,
    )
    return {TAG: json.dumps(wanted.plain(), sort_keys=True)}


def refuse_without(reason: str) -> None:
    """UserError where no reason is given."""
    if not reason.strip():
        raise UserError("a retrain needs a reason", next_step="say why, in a sentence that a later reader can judge")


def default_window(spec: Spec, places: Places, until: datetime) -> timedelta | int:
    """What `retrain` says of the time from the dataset's first row to `until` (and the span of an example); of the rows, without time."""
    import pyarrow.parquet as pq

    path = places.store(spec.name) / "dataset.parquet"
    if not path.is_file():
        raise UserError(f"{spec.name} was never trained", next_step=f"aiprime run {spec.name}")
    if spec.data.time is None:
        return max(1, round(spec.retrain.holdout * pq.read_metadata(path).num_rows))
    first = pq.read_table(path, columns=[spec.data.time])[0][0].as_py()
    return spec.retrain.judged_on(until - first) + span(spec)


def span(spec: Spec) -> timedelta:
    """From the first truth of an example to its last."""
    horizons = spec.features.horizons or (0,)
    return timedelta(seconds=(max(horizons) - min(horizons)) * seconds(spec.data.step or "0s"))


def frozen(spec: Spec, ledger: Ledger, until: datetime) -> Window | None:
    """The frozen holdout that follows from the promotions so far (training/promote.py states the rule).

    A gate window that lies after `until` counts for none: a replay begins with less than an earlier champion knew.
    """
    gates = {one.version: one.payload.get("gate_window") for one in ledger.history(spec.name, "registered")}
    promoted = dict.fromkeys(one.version for one in ledger.history(spec.name, "promoted"))  # a return to an older one is none
    windows = [_window(gates.get(version)) for version in promoted]
    known = [one if one and one[0] < until else None for one in windows]
    return next_frozen(known, frozen_for=spec.promote.frozen_for, span=span(spec))


def _window(stored: list[str] | None) -> Window | None:
    return (datetime.fromisoformat(stored[0]), datetime.fromisoformat(stored[1])) if stored else None


def record(
    ledger: Ledger, spec: Spec, tags: Mapping[str, str], *, by_person: bool, actor: str = "aiprime", follows: int = 0
) -> Decision:
    """The ledger's `retrain` record of a request, before its run starts. `tags` are the request's.

    `follows`: the record of the last retrain that who asks knew of. Nobody but a person asks twice after the same one.
    """
    asked = json.loads(tags[TAG])
    payload = {"state": "running", "reason": asked.get("reason", ""), "cutoff": asked, "by_person": by_person}
    key = None if by_person else f"retrain:{spec.name}:after:{follows}"
    return ledger.record("retrain", spec.name, "", payload, actor=actor, key=key)


def tags_of(asked: Decision) -> dict[str, str]:
    """The tags of the run that a `retrain` record asks for."""
    return {TAG: json.dumps(asked.payload["cutoff"], sort_keys=True)}


def ended(
    ledger: Ledger, asked: Decision, places: Places, run_id: str, *, failed: str | None, counted_as: str | None = None
) -> Decision:
    """The `retrain` record of its end: passed, refused or failed (of its run, not of its rollout), what it cost, and the version.

    Once for each request, however often it is asked for. `counted_as`: the run's first try, where it was tried again.
    """
    version = None if failed else cost.made(places, asked.workload, counted_as or run_id)
    registered = ledger.history(asked.workload, "registered")
    made = next((one for one in reversed(registered) if one.version == version), None)
    state = "failed" if failed else "passed" if made and made.payload["passed"] else "refused"
    payload = {
        "of": asked.sequence,
        "state": state,
        "failed": failed,
        "run_id": run_id,
        "cpu_s": cost.cpu_seconds(places, asked.workload, counted_as or run_id),
    }
    return ledger.record("retrain", asked.workload, version or "", payload, key=f"retrain:{asked.sequence}:ended")


def lifting(places: Places, workload: str) -> dict[str, str]:
    """The tags of a run that takes away the cutoff that is there now; none where there is none.

    It names that one by its `until`: whoever executes the run again, with its tags, takes away no cutoff that a later retrain left.
    """
    try:
        kept = cutoffs.read(places, workload)
    except UserError:
        return {LIFT: _UNREADABLE}
    return {LIFT: kept.plain()["until"]} if kept else {}


def apply(spec: Spec, places: Places, run_id: str, tags: Mapping[str, str]) -> Cutoff | None:
    """At the start of a run, under the workload's lease: keep the cutoff that its tags ask for, and the labels; begin to count CPU.

    A run without the tag changes nothing, and honours a cutoff that is there, which it says; with `LIFT` it takes that away where
    the tag names it. Returns the cutoff that holds.
    """
    if TAG in tags:
        wanted = Cutoff.model_validate_json(tags[TAG])
        if wanted.labels:
            known = back.labels(spec, places, wanted.until)
            log.info("%s: %s labels of the ledger are learnt from", spec.name, f"{known.num_rows:,}")
            back.write(cutoffs.labels_file(places, spec.name), known)
        cutoffs.write(places, spec.name, wanted)
        cost.begin(places, spec.name, run_id)
        log.info("%s: data up to %s: %s", spec.name, wanted.until.isoformat(), wanted.reason)
    elif LIFT in tags and lifting(places, spec.name).get(LIFT) == tags[LIFT]:
        cutoffs.lift(places, spec.name)
        log.info("%s: no retrain ends the data any more", spec.name)
    elif (kept := cutoffs.read(places, spec.name)) is not None:
        if LIFT in tags:
            log.warning("%s: the run's tag lifts the cutoff %s, which is not the one that is there", spec.name, tags[LIFT])
        log.warning("%s: %s", spec.name, capped(spec.name, kept))
    return cutoffs.read(places, spec.name)


def capped(workload: str, kept: Cutoff) -> str:
    """What a cutoff that a retrain left means for every run, and how to go past it."""
    because = f" ({kept.reason})" if kept.reason else ""
    return (
        f"data up to {kept.until:%Y-%m-%d %H:%M} UTC, where a retrain ended them{because}; newer rows are left out of every run until "
        f"aiprime retrain {workload} --reason ... moves it on, or aiprime run {workload} --lift-cutoff takes it away"
    )
