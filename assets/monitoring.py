"""One look at a deployed model: finds the window that is due, has it judged (assets/signals.py), and puts it on record.

What follows from it is the trigger's. Knows no statistics and no Dagster.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets import evidence, inputs, yardstick
from assets.signals import SEED, TICK, Judge, Labels
from assets.spec import Spec
from assets.windows import Signal, Window, due, iso, length_rows, length_s, read
from data.section import seconds
from serving.records import Records
from training.signature import Signature

if TYPE_CHECKING:
    import pandas as pd

    from assets.platform import Platform
    from serving.ledger import Ledger

log = logging.getLogger("aiprime.monitoring")
_ANSWERED = ("champion", "challenger")  # roles whose answers somebody got


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
    model = platform.places.models(spec.name, champion.version)
    signature = Signature.read(model)
    records.absorb(signature, inputs.sole_entity(platform.places, spec, signature))
    epoch = epoch_of(ledger, spec.name)
    before = _last(ledger, spec.name, epoch)
    after = before.sequence if before else epoch.after
    span = _span(spec, _answered(records, spec.name, before, after), before, after)
    if span is None:
        return _silent(spec, platform, champion.version, before)
    start, end, sequence, inside = span
    measured = yardstick.read(platform.places, spec.name, champion.version)
    labels = _labels(records, spec, before, end, epoch.after, clock)
    judge = Judge(spec, platform, records, signature, measured, champion.version, epoch.after)
    signals = {
        "quality": judge.quality(labels),
        "truth": judge.truth(labels),
        **judge.inputs(after, sequence, start, end, drifting="drift" in (before.alarms if before else ())),
        "volume": Signal(state="ok" if inside else "no data", said=f"{inside:,} rows were answered", value=float(inside)),
    }
    window = Window(
        workload=spec.name,
        version=champion.version,
        start=start,
        end=end,
        labels_from=labels.since,
        labels_to=labels.until,
        sequence=sequence,
        rows=inside,
        labelled=len(labels.rows),
        signals=signals,
        sampled=judge.sampled,
        seed=SEED,
        rules=spec.retrain.model_dump(mode="json"),
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


def _answered(records: Records, workload: str, before: Window | None, after: int) -> pd.DataFrame:
    """Sequence and event time of what was answered since the last window, by time."""
    table = records.outcomes(workload, since=None, until=None, roles=_ANSWERED, after=after)
    rows = table.select(["sequence", "row", "time"]).to_pandas().drop_duplicates(["sequence", "row"])
    rows = rows[rows["time"] >= before.end] if before else rows
    return rows.sort_values("time", kind="stable", ignore_index=True)


def _span(spec: Spec, rows: pd.DataFrame, before: Window | None, after: int) -> tuple[float, float, int, int] | None:
    """Start, end, last sequence number and rows of the window that is due."""
    if rows.empty:
        return None
    times = rows["time"].to_numpy(dtype=float)
    length, count = length_s(spec.monitor, spec.data, spec.features), length_rows(spec.monitor)
    start = before.end if before and length is not None else float(times[0])
    if length is not None and before is not None and times[0] >= start + length:
        start += length * math.floor(
            (times[0] - start) / length
        )  # nothing came for a while: `silence` says so, not empty windows
    end = due(start, length, count, times.tolist())
    if end is None:
        return None
    inside = times < end if length is not None else rows.index.to_numpy() < count
    # Clients that send side by side arrive a little out of order: what belongs to the next window stays readable.
    later = rows.loc[~inside, "sequence"]
    last = int(rows["sequence"].max()) if later.empty else int(later.min()) - 1
    return start, end, max(last, after), int(inside.sum())


def _labels(records: Records, spec: Spec, before: Window | None, end: float, after: int, clock: float | None) -> Labels:
    delay = seconds(spec.data.label_delay)
    since = before.labels_to if before else 0.0
    known = records.watermark(spec.name, since=math.floor(since)).time
    until = since if known is None else max(since, min(float(known), math.inf if clock is None else clock - delay))
    asked = {"roles": ("champion",), "after": after, "since": math.floor(since) + TICK}
    table = records.outcomes(spec.name, until=math.floor(until) + TICK, labelled=True, **asked)
    waiting = (
        records.outcomes(spec.name, until=math.floor(end - delay), labelled=False, **asked).num_rows
        if end - delay > since
        else 0
    )
    return Labels(since, until, table.to_pandas(), waiting)


def _record(platform: Platform, window: Window, follows: int) -> Window:
    """The window's record; once for the record that it follows, so that two who look at once leave one."""
    key = f"window:{window.workload}:{follows}:{window.version}"
    return read(platform.ledger.record("window", window.workload, window.version, window.payload(), actor="monitor", key=key))


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
    )
    return _record(platform, window, before.seen)
