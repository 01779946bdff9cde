"""One replay: requests of later years go through the gateway, their truth comes when it would have come, and the loop turns after each step.

The replay drives the loop itself, in event time, and holds the workload's loop lock: Dagster's sensor leaves it alone meanwhile. What
it brings about is real: records, windows, retrains, versions and releases stay.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from assets import lease, loop, retraining, watching
from assets.platform import Platform
from assets.spec import Spec, load
from assets.windows import length_rows, length_s
from data.errors import UserError
from data.faults import Fault
from data.places import Places
from data.section import seconds
from orchestration import instance, releasing, running, services
from orchestration.replay import scenario
from orchestration.replay.sending import Client
from serving.records import Records
from training.signature import Signature

if TYPE_CHECKING:
    import dagster as dg
    import pandas as pd

    from assets.windows import Window
    from orchestration.replay.scenario import Scenario
    from serving.ledger import Decision, Kind

log = logging.getLogger("aiprime.replay")
STEPS_PER_WINDOW = 4
Told = Callable[[str, dict[str, Any]], None]  # what happened, and its facts


@dataclass
class Show:
    """Who watches: the terminal, and the Dagster UI through its instance."""

    told: Told
    instance: dg.DagsterInstance
    seen: int  # the last decision that was told


@dataclass
class Played:
    """What a replay came to."""

    workload: str
    requests: int = 0
    labels: int = 0
    windows: list[Window] = field(default_factory=list)
    retrains: list[str] = field(default_factory=list)  # how each ended
    champions: list[str] = field(default_factory=list)  # in order
    called: list[str] = field(default_factory=list)
    seconds: float = 0.0


def replay(
    places: Places,
    workload: str,
    start: str,
    *,
    end: str | None = None,
    speed: float | None = None,
    fault: str | None = None,
    replace_champion: bool = False,
    told: Told,
) -> Played:
    """Play the workload's rows from `start` on. `speed` is event seconds per second (None: as fast as it goes).

    UserError where the workload is no series, nothing lies after `start`, another process turns its loop, or what serves knows of
    what is to be played and `replace_champion` does not allow to put an earlier one in its place.
    """
    spec, platform = load(places, workload), Platform()
    begun = time.monotonic()
    with lease.within(places.home, loop.lock_name(workload), "replay"):
        played = scenario.load(spec, places, start, end, Fault.parse(fault) if fault else None)  # a slip changes nothing
        services.start(places, services.CORE)
        played = played.known_from(_prepare(spec, platform, played.start, told, replace_champion=replace_champion))
        show = Show(told, instance.get(places), platform.ledger.newest())
        _mark(platform, spec, played, "started")
        try:
            done = _play(spec, platform, played, speed, show)
        finally:
            _mend(places, spec, played)
            _mark(platform, spec, played, "ended")
    done.seconds = time.monotonic() - begun
    return done


def pace(speed: str) -> float | None:
    """`max` (None), or a positive number; UserError for anything else."""
    if speed == "max":
        return None
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not 0 < factor < math.inf:
        raise UserError(f"--speed {speed!r} is no speed", next_step="write max, or a number such as 1000000")
    return factor


def step_s(spec: Spec) -> int:
    """The event time that is played before the loop turns: a quarter of a window, in rows of one entity where it counts rows."""
    window_s = length_s(spec.monitor, spec.data, spec.features)
    if window_s is None:
        window_s = length_rows(spec.monitor) * seconds(spec.data.step or "1h")
    return max(1, round(window_s / STEPS_PER_WINDOW))


def plain(done: Played) -> dict[str, Any]:
    """For a script."""
    return vars(done) | {"windows": [one.payload() | {"version": one.version} for one in done.windows]}


def _play(spec: Spec, platform: Platform, played: Scenario, speed: float | None, show: Show) -> Played:
    import pandas as pd

    places, done = platform.places, Played(spec.name)
    gateway = places.service("gateway")
    if gateway is None:
        raise UserError("the gateway is not running", next_step="aiprime up")
    length = pd.Timedelta(seconds=step_s(spec))
    with Client(gateway) as client:
        done.labels += client.label(spec.name, played.before())
        for begin, finish in played.steps(length):
            paced = time.monotonic()
            champion = platform.ledger.champion(spec.name)
            if champion is None:
                raise UserError(f"{spec.name} has no champion any more", next_step=f"aiprime run {spec.name}")
            if done.champions[-1:] != [champion.version]:
                done.champions.append(champion.version)
                show.told("champion", {"version": champion.version, "at": begin})
            signature = Signature.read(places.models(spec.name, champion.version))
            done.requests += client.predict(spec.name, played.requests(signature, begin, finish))
            done.labels += client.label(spec.name, played.labels(begin, finish))
            _turn(spec, platform, finish, done, show)
            if speed:
                time.sleep(max(0.0, (finish - begin).total_seconds() / speed - (time.monotonic() - paced)))
    return done


def _turn(spec: Spec, platform: Platform, clock: pd.Timestamp, done: Played, show: Show) -> None:
    """Turn the loop until it has nothing more to do at this event time; a retrain that it asks for is run here."""
    while True:
        turned = loop.turn(spec, platform, clock=clock.timestamp())
        for window in turned.windows:
            done.windows.append(window)
            show.told("window", {"window": window})
            show.instance.report_runless_asset_event(watching.materialization(window, platform.places))
        _tell_news(spec, platform, done, show)
        if turned.retrain is None:
            return
        _retrain(spec, platform, turned.retrain, done, show)


def _tell_news(spec: Spec, platform: Platform, done: Played, show: Show) -> None:
    newest = platform.ledger.newest()
    told: tuple[Kind, ...] = ("exposed", "promoted", "rolled_back", "declined", "called")
    for one in platform.ledger.latest(spec.name, newest - show.seen, told):
        if one.sequence > show.seen:
            show.told(one.kind, {"decision": one})
            done.called += [one.payload["said"]] if one.kind == "called" else []
    show.seen = newest


def _retrain(spec: Spec, platform: Platform, asked: Decision, done: Played, show: Show) -> None:
    show.told("retrain", {"decision": asked})
    outcome = running.run(platform.places, spec.name, job="retrain", tags=retraining.tags_of(asked))
    ended = retraining.ended(platform.ledger, asked, platform.places, outcome.run_id, failed=outcome.failed)
    done.retrains.append(ended.payload["state"])
    show.told("retrained", {"decision": ended, "outcome": outcome})


def _mend(places: Places, spec: Spec, played: Scenario) -> None:
    """After a planted fault: tell the true values of what the sensor reported wrongly, so that nothing ever learns from those."""
    gateway = places.service("gateway")
    if played.fault is not None and gateway is not None:
        with Client(gateway) as client:
            client.label(spec.name, played.mended())


def _prepare(spec: Spec, platform: Platform, begins: pd.Timestamp, told: Told, *, replace_champion: bool) -> pd.Timestamp:
    """Have a champion that knows nothing of what will be played; returns how far its data go.

    Where it knows more (or there is none), a version is trained on what was known at the start, and put in its place with that reason.
    """
    import pandas as pd

    known = _known_until(spec, platform)
    if known is not None and known <= begins:
        return known
    places = platform.places
    if spec.data.until is not None and pd.Timestamp(spec.data.until, tz="UTC") <= begins and known is None:
        outcome = running.run(places, spec.name)  # its first training ends before the replay begins
        if outcome.failed:
            raise UserError(f"{spec.name}: {outcome.failed}: {outcome.said}")
        return pd.Timestamp(spec.data.until, tz="UTC")
    if known is not None and not replace_champion:
        raise UserError(
            f"{spec.name}: what serves knows data up to {known:%Y-%m-%d}, and a replay from {begins:%Y-%m-%d} would ask it what it has seen",
            next_step=f"choose --from {known:%Y-%m-%d} or later, or --yes: a version of {begins:%Y-%m-%d} then takes its place for good",
        )
    reason = f"a replay from {begins:%Y-%m-%d} starts here: its champion may know nothing later"
    told("prepare", {"reason": reason})
    if not (places.store(spec.name) / "dataset.parquet").is_file():
        running.run(places, spec.name, until="dataset")
    tags = retraining.request(spec, platform, until=begins.to_pydatetime(), reason=reason)
    asked = retraining.record(platform.ledger, spec, tags, by_person=True, actor="replay")
    outcome = running.run(places, spec.name, job="retrain", tags=tags)
    retraining.ended(platform.ledger, asked, places, outcome.run_id, failed=outcome.failed)
    judged = [one for one in platform.ledger.history(spec.name, "registered") if one.payload.get("cutoff")]
    if not judged or pd.Timestamp(judged[-1].payload["cutoff"]["until"]) != begins:
        raise UserError(f"{spec.name}: {outcome.failed or 'no version was registered'}: {outcome.said}", where=reason)
    if platform.ledger.release(spec.name).champion != judged[-1].version:  # also a refused one: a replay begins somewhere
        releasing.promote(places, spec.name, judged[-1].version, reason, override=True)
    return begins


def _known_until(spec: Spec, platform: Platform) -> pd.Timestamp | None:
    """How far the champion's training data go; None where there is no champion. Without a cutoff: as far as the YAML lets them."""
    import pandas as pd

    champion = platform.ledger.champion(spec.name)
    if champion is None:
        return None
    its = [one for one in platform.ledger.history(spec.name, "registered") if one.version == champion.version][-1]
    cutoff = its.payload.get("cutoff")
    until = cutoff["until"] if cutoff else spec.data.until
    if until is None:
        return pd.Timestamp.now(tz="UTC")
    stamp = pd.Timestamp(until)
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


def _mark(platform: Platform, spec: Spec, played: Scenario, state: str) -> None:
    """Monitoring begins anew at each end of a replay."""
    payload = {
        "state": state,
        "from": played.start.isoformat(),
        "to": played.end.isoformat(),
        "after": Records.at(platform.places.home).newest(spec.name),
        "fault": vars(played.fault) | {"at": str(played.fault_at)} if played.fault else None,
    }
    platform.ledger.record("replay", spec.name, "", payload, actor="replay")
