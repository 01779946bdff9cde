"""One look at a deployed model: closes the window that is due and judges it. What follows from it is the trigger's.

Signals of a window: `quality` (losses against the gate's own, once truth is known), `estimate` (the loss that the model expects of
itself, before it is), `drift` (inputs and predictions against what the version grew up with), `truth` (does the truth still look
measured?) and `volume`. No data is red, never green. Knows no Dagster.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assets import evidence, inputs, yardstick
from assets.spec import Spec
from assets.windows import Signal, Window, due, iso, length_rows, length_s, read
from data.section import seconds
from serving.records import Records
from training.signature import Signature

if TYPE_CHECKING:
    import pandas as pd

    from assets.platform import Platform
    from assets.yardstick import Yardstick
    from serving.ledger import Ledger

log = logging.getLogger("aiprime.monitoring")
_ANSWERED = ("champion", "challenger")  # roles whose answers somebody got
_SEED = 0
_TICK = 1  # times are whole seconds, and the ends of windows are not in them


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
    looked = _Look(spec, platform, records, signature, measured, champion.version, epoch.after)
    signals = {
        "quality": looked.quality(labels),
        "truth": looked.truth(labels),
        **looked.inputs(after, sequence, start, end),
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
        sampled=looked.sampled,
        seed=_SEED,
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


@dataclass(frozen=True)
class _Labels:
    """The outcomes that became known: truth in (since, until], of every version; `unknown` were due and are not."""

    since: float
    until: float
    rows: pd.DataFrame
    unknown: int


def _last(ledger: Ledger, workload: str, epoch: Epoch) -> Window | None:
    windows = [one for one in ledger.history(workload, "window") if one.sequence > epoch.decision]
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


def _labels(records: Records, spec: Spec, before: Window | None, end: float, after: int, clock: float | None) -> _Labels:
    delay = seconds(spec.data.label_delay)
    since = before.labels_to if before else 0.0
    known = records.watermark(spec.name).time
    until = since if known is None else max(since, min(float(known), math.inf if clock is None else clock - delay))
    asked = {"roles": ("champion",), "after": after, "since": math.floor(since) + _TICK}
    table = records.outcomes(spec.name, until=math.floor(until) + _TICK, labelled=True, **asked)
    waiting = (
        records.outcomes(spec.name, until=math.floor(end - delay), labelled=False, **asked).num_rows
        if end - delay > since
        else 0
    )
    return _Labels(since, until, table.to_pandas(), waiting)


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


class _Look:
    """The judgement of one window's parts."""

    def __init__(
        self,
        spec: Spec,
        platform: Platform,
        records: Records,
        signature: Signature,
        measured: Yardstick | None,
        version: str,
        epoch: int,
    ) -> None:
        self._spec, self._platform, self._records, self._signature = spec, platform, records, signature
        self._measured, self._version, self._epoch = measured, version, epoch
        self.sampled = 0

    def quality(self, labels: _Labels) -> Signal:
        """The champion's losses of what became known, horizon by horizon, against those of its own gate."""
        rows = labels.rows[labels.rows["version"] == self._version] if len(labels.rows) else labels.rows
        if rows.empty:
            late = labels.unknown > 0
            return Signal(
                state="no data" if late else "unknown",
                said=f"{labels.unknown} truths are overdue" if late else "no truth is due yet",
            )
        if self._measured is None:
            return Signal(state="unknown", said="this version was registered before there were monitors: retrain it")
        losses = evidence.losses(labels.rows, self._spec, self._measured.metric)
        found = {name: self._judged(losses[index], name) for name, index in self._by_horizon(labels)}
        judged = {name: one for name, one in found.items() if one["n"] >= self._spec.monitor.min_rows}
        if not judged:
            most = max((one["n"] for one in found.values()), default=0)
            return Signal(state="unknown", said=f"{most} of {self._spec.monitor.min_rows} labelled rows", detail=found)
        worst = max(judged, key=lambda name: judged[name]["mean"] / judged[name]["upper"])
        of = f" {worst[1:]} steps ahead" if worst.startswith("h") and len(found) > 1 else ""
        said = f"{self._measured.metric}{of} {judged[worst]['said']}"
        alarm = any(one["exceeds"] for one in judged.values())
        share = inside_interval(rows)
        detail = found | ({"covered": share} if share is not None else {})
        return Signal(
            state="alarm" if alarm else "ok",
            said=said,
            value=judged[worst]["mean"],
            limit=judged[worst]["upper"],
            detail=detail,
        )

    def _by_horizon(self, labels: _Labels) -> list[tuple[str, Any]]:
        own = (labels.rows["version"] == self._version).to_numpy()
        horizons = labels.rows["horizon"]
        if "all" in self._measured.losses.columns:  # pyright: ignore[reportOptionalMemberAccess]
            return [("all", own)]
        return [(f"h{int(h)}", own & (horizons == h).to_numpy()) for h in sorted(horizons.dropna().unique())]

    def _judged(self, losses: Any, name: str) -> dict[str, Any]:
        from training import stability

        history = self._measured.losses  # pyright: ignore[reportOptionalMemberAccess]
        if name not in history.columns:
            return {"n": 0, "said": "another horizon"}
        rate = self._spec.monitor.false_alarms / len(history.columns)
        limit = stability.calibrate(history[name].to_numpy(), window=max(len(losses), 1), false_alarms=rate, seed=_SEED)
        one = stability.judge(limit, losses)
        return {"n": one.n, "mean": one.mean, "upper": one.upper, "exceeds": one.exceeds, "usual": limit.mean, "said": one.said}

    def truth(self, labels: _Labels) -> Signal:
        """Whether what arrived as truth since this version was trained still looks measured, series by series."""
        from data import sensor

        measured = self._measured
        if measured is None or measured.truths.empty or labels.rows.empty:
            return Signal(state="unknown", said="no series of truths to compare with")
        trained = measured.truths["time"].max().timestamp()
        table = self._records.outcomes(
            self._spec.name,
            since=math.floor(trained) + _TICK,
            until=math.floor(labels.until) + _TICK,
            roles=("champion",),
            labelled=True,
            after=self._epoch,
        ).to_pandas()
        said: list[str] = []
        for entity, history, recent in inputs.series(measured.truths, table, seconds(self._spec.data.step or "1s")):
            found = sensor.suspect(history, recent, season=self._spec.features.season)
            said += [f"{entity + ': ' if entity else ''}{one.kind}: {one.said}" for one in found]
        return Signal(
            state="alarm" if said else "ok", said="; ".join(said) or "the truths look measured", value=float(len(said))
        )

    def inputs(self, after: int, sequence: int, start: float, end: float) -> dict[str, Signal]:
        """Drift and the model's own estimate, on a bounded sample of what was answered."""
        rows = inputs.sample(
            self._records,
            self._spec,
            self._signature,
            after=after,
            sequence=sequence,
            start=start,
            end=end,
            most=self._spec.monitor.sample,
            seed=_SEED,
        )
        self.sampled = len(rows)
        if rows.empty or self._measured is None:
            unknown = Signal(state="unknown" if self._measured is None else "no data", said="nothing to compare")
            return {"drift": unknown, "estimate": unknown}
        model = self._platform.places.models(self._spec.name, self._version)
        return {"drift": self._drift(yardstick.with_predictions(rows, model), end), "estimate": self._estimate(rows, model)}

    def _drift(self, rows: pd.DataFrame, end: float) -> Signal:
        from data import drift

        measured = self._measured
        if measured is None or measured.reference is None or measured.thresholds is None:
            return Signal(state="unknown", said="drift is not watched: there was too little to calibrate on")
        page = self._platform.places.home / "monitor" / self._spec.name / "drift" / f"{iso(end).replace(':', '')}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        found = drift.compare(rows, measured.reference, measured.thresholds, sample=self._spec.monitor.sample, seed=_SEED)
        if found.alarm:  # the page costs as much as the comparison
            drift.compare(
                rows, measured.reference, measured.thresholds, sample=self._spec.monitor.sample, seed=_SEED, html=page
            )
        features = {
            one.name: {"scaled": one.scaled, "effect": one.effect, "drifted": one.drifted, "trending": one.trending}
            for one in found.features
        }
        top = max((one.scaled or 0.0 for one in found.features if not one.trending), default=0.0)
        return Signal(
            state="alarm" if found.alarm else "ok",
            said=found.said,
            value=top,
            limit=1.0,
            detail={"features": features, "worst": found.worst, "page": page.name if page.is_file() else None},
        )

    def _estimate(self, rows: pd.DataFrame, model: Any) -> Signal:
        from training import stability
        from training.estimate import expected_losses

        measured = self._measured
        if measured is None or not len(measured.expected):
            return Signal(state="unknown", said="the model says nothing of its own error")
        answers = inputs.answers(rows, model)
        losses = expected_losses(answers, self._spec.task, measured.metric, temperature=measured.temperature)
        limit = stability.calibrate(
            measured.expected, window=max(len(losses), 1), false_alarms=self._spec.monitor.false_alarms, seed=_SEED
        )
        one = stability.judge(limit, losses)
        state = "unknown" if one.n < self._spec.monitor.min_rows else "alarm" if one.exceeds else "ok"
        return Signal(state=state, said=f"expected {measured.metric}: {one.said}", value=one.mean, limit=one.upper)


def inside_interval(rows: pd.DataFrame) -> float | None:
    """The share of truths inside their central 80 % interval; None where there are no intervals."""
    if "low" not in rows.columns:
        return None
    known = rows[rows["low"].notna() & rows["high"].notna()]
    if known.empty:
        return None
    truth = known["truth"].astype(float)
    return round(float(((known["low"] <= truth) & (truth <= known["high"])).mean()), 4)
