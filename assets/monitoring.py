"""One look at a deployed model: finds the window that is due, has it judged (assets/signals.py), and puts it on record.

What follows from it is the trigger's. Knows no statistics and no Dagster.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from assets import evidence, inputs, signing, yardstick
from assets.signals import SEED, TICK, Judge, Labels
from assets.spec import Spec
from assets.windows import Signal, Window, completed, due, iso, length_rows, length_s, read
from data.failpoints import failpoint
from data.section import seconds
from serving.records import Records
from training.signature import Signature

if TYPE_CHECKING:
    import pandas as pd

    from assets.platform import Platform
    from serving.ledger import Ledger

log = logging.getLogger("aiprime.monitoring")
_ANSWERED = ("champion", "challenger")  # roles whose answers somebody got
_AHEAD_S = 366 * 86_400  # who asks about a time to come asks about no later one: it is milliseconds, or a slip


def look(spec: Spec, platform: Platform, *, clock: float | None = None) -> Window | None:
    """Close and record the next window of the workload, where one is due; None where none is, or nothing serves.

    `clock` is a replay's event time: truth that arrives later is not known yet. Call it again until it gives None. A window is
    recorded once, whoever looks at the same time.
    """
    ledger = platform.ledger
    champion = ledger.champion(spec.name)
    if champion is None:
        return None
    records = Records.at(platform.places.home)
    model = signing.opened(platform.places, spec.name, champion.version)
    signature = Signature.read(model)
    records.absorb(signature, inputs.sole_entity(platform.places, spec, signature))
    epoch = epoch_of(ledger, spec.name)
    before = _last(ledger, spec.name, epoch)
    after = before.sequence if before else epoch.after
    span = _span(spec, _answered(records, spec.name, after), before, after)
    if span is None:
        return _silent(spec, platform, champion.version, before)
    measured = yardstick.read(platform.places, spec.name, champion.version)
    labels = _labels(records, spec, before, span.end, epoch.after, clock)
    judge = Judge(spec, platform, records, signature, measured, (champion.version, model), epoch.after)
    signals = {
        "quality": judge.quality(labels),
        "truth": judge.truth(labels),
        **judge.inputs(after, span.newest, span.start, span.end, drifting="drift" in (before.alarms if before else ())),
        "volume": Signal(state="ok", said=f"{span.rows:,} rows were answered", value=float(span.rows)),
    }
    window = Window(
        workload=spec.name,
        version=champion.version,
        start=span.start,
        end=span.end,
        labels_from=labels.since,
        labels_to=labels.until,
        sequence=span.sequence,
        rows=span.rows,
        labelled=len(labels.rows),
        signals=signals,
        sampled=judge.sampled,
        seed=SEED,
        rules=spec.retrain.model_dump(mode="json"),
        told=labels.told,
    )
    return _record(platform, window, before.seen if before else epoch.decision)


@dataclass(frozen=True)
class Epoch:
    """Where monitoring begins anew: `decision` is the last replay's record (its start or its end), `after` the last prediction before it."""

    decision: int = 0
    after: int = 0


def epoch_of(ledger: Ledger, workload: str) -> Epoch:
    """The workload's epoch: a replay plays other years, whose windows do not go on from those before."""
    replays = ledger.history(workload, "replay")
    return Epoch(replays[-1].sequence, int(replays[-1].payload["after"])) if replays else Epoch()


def _last(ledger: Ledger, workload: str, epoch: Epoch) -> Window | None:
    windows = [one for one in ledger.latest(workload, 1, ("window",)) if one.sequence > epoch.decision]
    return read(windows[-1]) if windows else None


class Span(NamedTuple):
    """The window that is due. Requests that arrive out of order may lie behind `sequence` and yet in it: up to `newest`."""

    start: float
    end: float
    sequence: int  # what comes behind it is read for the next window
    newest: int
    rows: int


def _answered(records: Records, workload: str, after: int) -> pd.DataFrame:
    """Sequence, row and event time of what was answered since the last window, but for what claims to be of another year to come."""
    table = records.outcomes(workload, since=None, until=None, roles=_ANSWERED, after=after)
    rows = table.select(["sequence", "row", "time"]).to_pandas().drop_duplicates(["sequence", "row"])
    believed = rows[rows["time"] <= time.time() + _AHEAD_S]
    if len(believed) < len(rows):  # one of them would close every window to come as soon as that begins
        log.warning("%s: %s rows state a time more than a year ahead: not looked at", workload, len(rows) - len(believed))
    return believed


def _span(spec: Spec, rows: pd.DataFrame, before: Window | None, after: int) -> Span | None:
    """The window that is due among the rows since `before`; None where none is."""
    length = length_s(spec.monitor, spec.data, spec.features)
    if length is None:
        return _counted(rows, length_rows(spec.monitor), before)
    rows = (rows[rows["time"] >= before.end] if before else rows).sort_values("time", kind="stable")
    if rows.empty:
        return None
    times = rows["time"].to_numpy(dtype=float)
    start = before.end if before else float(times[0])
    if times[0] >= start + length:  # nothing came for a while: `silence` says so, not empty windows
        start += length * math.floor((times[0] - start) / length)
    end = due(start, length, times.tolist())
    if end is None:
        return None
    # Clients that send side by side arrive a little out of order: what belongs to the next window stays readable.
    sequences = rows["sequence"].to_numpy(dtype=int)
    inside, later = sequences[times < end], sequences[times >= end]
    return Span(start, end, max(int(later.min()) - 1, after), int(inside.max()), len(inside))


def _counted(rows: pd.DataFrame, count: int, before: Window | None) -> Span | None:
    """A window of rows, in the order of their arrival."""
    rows = rows.sort_values(["sequence", "row"])
    last = completed(rows["sequence"].tolist(), count)
    if last is None:
        return None
    inside = rows["time"].to_numpy(dtype=float)[rows["sequence"].to_numpy(dtype=int) <= last]
    end = float(inside.max()) + TICK
    return Span(float(inside.min()), max(end, before.end) if before else end, last, last, len(inside))


def _labels(records: Records, spec: Spec, before: Window | None, end: float, after: int, clock: float | None) -> Labels:
    """What became known since the window before: by target time, and what was told late of times that it had judged already."""
    import pyarrow as pa

    delay = seconds(spec.data.label_delay)
    since = before.labels_to if before else 0.0
    seen = before.told if before else None
    told = records.told(spec.name, after=seen or 0)
    known = records.watermark(spec.name, since=math.floor(since)).time
    until = since if known is None else max(since, min(float(known), math.inf if clock is None else clock - delay))
    asked = {"roles": ("champion",), "after": after, "since": math.floor(since) + TICK}
    tables = [records.outcomes(spec.name, until=math.floor(until) + TICK, told=(0, told.sequence), **asked)]
    # A window's record of before there was `told` says not what it had read: nothing is late of it.
    if seen is not None and told.earliest is not None and told.earliest < asked["since"]:
        late = asked | {"since": told.earliest, "until": asked["since"], "told": (seen, told.sequence)}
        tables.append(records.outcomes(spec.name, **late))
    waiting = records.unlabelled(spec.name, until=math.floor(end - delay), **asked) if end - delay > since else 0
    return Labels(since, until, pa.concat_tables(tables).to_pandas(), waiting, told.sequence)


def _record(platform: Platform, window: Window, follows: int) -> Window:
    """The window's record; once for the record that it follows, so that two who look at once leave one."""
    key = f"window:{window.workload}:{follows}:{window.version}"
    failpoint("before-window")
    kept = platform.ledger.record("window", window.workload, window.version, window.payload(), actor="monitor", key=key)
    failpoint("after-window")
    return read(kept)


def _silent(spec: Spec, platform: Platform, version: str, before: Window | None) -> Window | None:
    """A red window where nothing was asked for longer than `monitor.silence`; once, until traffic comes again."""
    if before is None or (before.rows == 0 and before.version == version):
        return None
    records = Records.at(platform.places.home)
    newest = evidence.last(records, spec.name, 1)
    if not newest or time.time() - newest[-1].at < seconds(spec.monitor.silence):
        return None
    said = f"no request since {iso(newest[-1].at)}"
    window = Window(
        workload=spec.name,
        version=version,
        start=before.end,
        end=before.end,
        labels_from=before.labels_to,
        labels_to=before.labels_to,
        sequence=before.sequence,
        rows=0,
        labelled=0,
        signals={"volume": Signal(state="no data", said=said, value=0.0)},
        rules=spec.retrain.model_dump(mode="json"),
        told=before.told,
    )
    return _record(platform, window, before.seen)
