"""The signals of one monitoring window, each judged against what the version showed when it was gated.

`quality` (losses, once truth is known), `estimate` (the loss that the model expects of itself, before it is), `drift` (inputs and
predictions against what the version grew up with), `truth` (does the truth still look measured?). No data is red, never green.
Records nothing and decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assets import evidence, inputs, yardstick
from assets.spec import Spec
from assets.windows import Signal, iso
from data.section import seconds
from serving.records import Records
from training.signature import Signature

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from assets.platform import Platform
    from assets.yardstick import Yardstick

SEED = 0
TICK = 1  # times are whole seconds, and the ends of windows are not in them
_YEAR_S = 365 * 86_400
_TRUTHS = 20_000  # steps that are looked back through for a broken sensor


@dataclass(frozen=True)
class Labels:
    """The outcomes that became known: truth in (since, until] and what was told late of before, of every version; `unknown` were due
    and are not."""

    since: float
    until: float
    rows: pd.DataFrame
    unknown: int
    told: int  # the last label that was read


class Judge:
    """The judgement of one window's parts."""

    def __init__(
        self,
        spec: Spec,
        platform: Platform,
        records: Records,
        signature: Signature,
        measured: Yardstick | None,
        version: tuple[str, Path],
        epoch: int,
    ) -> None:
        """`version`: its number, and its folder, whose signature the caller checked."""
        self._spec, self._platform, self._records, self._signature = spec, platform, records, signature
        self._measured, (self._version, self._model), self._epoch = measured, version, epoch
        self.sampled = 0

    def quality(self, labels: Labels) -> Signal:
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
        worst = max(judged, key=lambda name: _beyond(judged[name]["mean"], judged[name]["upper"]))
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

    def _by_horizon(self, labels: Labels) -> list[tuple[str, Any]]:
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
        limit = stability.calibrate(history[name].to_numpy(), window=max(len(losses), 1), false_alarms=rate, seed=SEED)
        one = stability.judge(limit, losses)
        return {"n": one.n, "mean": one.mean, "upper": one.upper, "exceeds": one.exceeds, "usual": limit.mean, "said": one.said}

    def truth(self, labels: Labels) -> Signal:
        """Whether what arrived as truth since this version was trained still looks measured, series by series."""
        from data import sensor

        measured = self._measured
        if measured is None or measured.truths.empty or labels.rows.empty:
            return Signal(state="unknown", said="no series of truths to compare with")
        trained, step = measured.truths["time"].max().timestamp(), seconds(self._spec.data.step or "1s")
        # A level is only known from a year on: before, what the seasons do to it looks like a broken sensor.
        whole_year = trained - measured.truths["time"].min().timestamp() >= _YEAR_S
        since = max(trained + TICK, labels.until - _TRUTHS * step)
        table = self._records.outcomes(
            self._spec.name,
            since=math.floor(since),
            until=math.floor(labels.until) + TICK,
            roles=("champion",),
            labelled=True,
            after=self._epoch,
        ).to_pandas()
        said: list[str] = []
        for entity, history, recent in inputs.series(measured.truths, table, step):
            found = sensor.suspect(history, recent, season=self._spec.features.season, numeric=whole_year)
            said += [f"{entity + ': ' if entity else ''}{one.kind}: {one.said}" for one in found]
        return Signal(
            state="alarm" if said else "ok", said="; ".join(said) or "the truths look measured", value=float(len(said))
        )

    def inputs(self, after: int, sequence: int, start: float, end: float, *, drifting: bool) -> dict[str, Signal]:
        """Drift and the model's own estimate, on a bounded sample of what was answered; `drifting`: the window before drifted too."""
        rows = inputs.sample(
            self._records,
            self._spec,
            self._signature,
            after=after,
            sequence=sequence,
            start=start,
            end=end,
            most=self._spec.monitor.sample,
            seed=SEED,
        )
        self.sampled = len(rows)
        if rows.empty or self._measured is None:
            unknown = Signal(state="unknown" if self._measured is None else "no data", said="nothing to compare")
            return {"drift": unknown, "estimate": unknown}
        found = self._drift(yardstick.with_predictions(rows, self._model), end, drifting=drifting)
        return {"drift": found, "estimate": self._estimate(rows)}

    def _drift(self, rows: pd.DataFrame, end: float, *, drifting: bool) -> Signal:
        from data import drift

        measured = self._measured
        if measured is None or measured.reference is None or measured.thresholds is None:
            return Signal(state="unknown", said="drift is not watched: there was too little to calibrate on")
        if len(rows) < self._spec.monitor.min_rows:
            return Signal(state="unknown", said=f"{len(rows)} of {self._spec.monitor.min_rows} rows")
        page = self._platform.places.home / "monitor" / self._spec.name / "drift" / f"{iso(end).replace(':', '')}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        asked: dict[str, Any] = {"sample": self._spec.monitor.sample, "seed": SEED}
        found = drift.compare(rows, measured.reference, measured.thresholds, **asked)
        if found.alarm and not drifting:  # the page costs several times the comparison: drawn where an episode begins
            drift.compare(rows, measured.reference, measured.thresholds, html=page, **asked)
        features = {
            one.name: {"scaled": one.scaled, "effect": one.effect, "drifted": one.drifted, "trending": one.trending}
            for one in found.features
        }
        judged = [one.scaled or 0.0 for one in found.features if not one.trending]
        return Signal(
            state="alarm" if found.alarm else "ok" if judged else "unknown",
            said=found.said if judged or found.alarm else "every column moves steadily by itself: drift says nothing here",
            value=max(judged, default=None),
            limit=1.0,
            detail={"features": features, "worst": found.worst, "page": page.name if page.is_file() else None},
        )

    def _estimate(self, rows: pd.DataFrame) -> Signal:
        from training import stability
        from training.estimate import expected_losses

        measured = self._measured
        if measured is None or not len(measured.expected):
            return Signal(state="unknown", said="the model says nothing of its own error")
        answers = inputs.answers(rows, self._model)
        losses = expected_losses(answers, self._spec.task, measured.metric, temperature=measured.temperature)
        limit = stability.calibrate(
            measured.expected, window=max(len(losses), 1), false_alarms=self._spec.monitor.false_alarms, seed=SEED
        )
        one = stability.judge(limit, losses)
        state = "unknown" if one.n < self._spec.monitor.min_rows else "alarm" if one.exceeds else "ok"
        return Signal(state=state, said=f"expected {measured.metric}: {one.said}", value=one.mean, limit=one.upper)


def _beyond(mean: float, upper: float) -> float:
    """The loss in units of its limit, which is 0 for a model that erred nowhere in its gate."""
    return mean / upper if upper else math.inf if mean else 0.0


def inside_interval(rows: pd.DataFrame) -> float | None:
    """The share of truths inside their central 80 % interval; None where there are no intervals."""
    if "low" not in rows.columns:
        return None
    known = rows[rows["low"].notna() & rows["high"].notna()]
    if known.empty:
        return None
    truth = known["truth"].astype(float)
    return round(float(((known["low"] <= truth) & (truth <= known["high"])).mean()), 4)
