"""The gate's rules, and nothing else: no files, no models, no clock. The same numbers always give the same verdict.

A candidate passes when all of this holds (TFX's blessing, made explicit):

1. it beats the declared naive baseline on the whole holdout, in the point estimate (the interval is shown beside it); where the
   champion does not beat it on these rows either, it is enough to be *confidently* better than the champion (the interval's upper
   end is below zero): to refuse would keep the worse of the two in service;
2. where a champion serves: on the whole holdout its loss is not worse than the champion's by more than `tolerance` of the
   champion's loss; on the newest part, on each horizon and on each declared slice, which hold fewer or noisier rows, it is
   not *confidently* worse than that: the lower end of the paired bootstrap's interval stays within the tolerance;
3. where frozen rows were kept (the newest promoted gate window but for renewals, see `next_frozen`): its loss on them is not worse
   than the champion's by more than `frozen_tolerance`, in the point estimate. They bound how much of the old may be forgotten;
   the tolerance is wider, for the world may have changed, and they are renewed, so that old data cannot veto for ever;
4. it answers within `latency_ms`, weighs at most `size_mb`, and serves what was evaluated;
5. every quality check upstream passed.

What is missing, empty or not a number never passes. A loss is always "lower is better".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from data.errors import UserError
from data.schema import Task
from data.section import Section

Baseline = Literal["auto", "persistence", "seasonal-naive", "seasonal-drift", "majority", "mean", "median"]
Metric = Literal["auto", "mae", "pinball", "accuracy", "log_loss", "brier"]

HOLDOUT = "holdout"
NEWEST = "newest"
FROZEN = "frozen"
FROZEN_SHARE = 0.25  # of a gate window

Window = tuple[datetime, datetime]  # of truth: from, and up to but not with

METRICS: Mapping[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "log_loss", "brier"),
    "regression": ("mae", "pinball"),
    "forecasting": ("mae", "pinball"),
}
SERIES_BASELINES = ("persistence", "seasonal-naive", "seasonal-drift")
ROW_BASELINES: Mapping[Task, tuple[str, ...]] = {
    "classification": ("majority",),
    "regression": ("mean", "median"),
    "forecasting": (),
}


class Between(Section):
    """A slice's rule for a number: `min <= value < max`; either end may be left open."""

    min: float | None = None
    max: float | None = None


Rule = Between | bool | int | float | str | tuple[bool | int | float | str, ...]


class PromoteSection(Section):
    """When a new model may take the champion's place."""

    baseline: Baseline = "auto"  # auto: the strongest that the task knows, on the very rows of the holdout
    metric: Metric = "auto"  # auto: mae for numbers; accuracy for series of classes, log_loss for other classes
    tolerance: NonNegativeFloat = 0.02  # of the champion's loss
    frozen_tolerance: NonNegativeFloat = 0.1  # of the champion's loss, on the frozen rows
    frozen_for: NonNegativeInt = 4  # promotions after which the frozen rows are renewed; 0: none are kept
    confidence: float = Field(default=0.9, gt=0.5, lt=1)  # of the bootstrap's two-sided interval
    newest: float = Field(default=0.25, gt=0, lt=1)  # the share of the holdout that is its newest window
    slices: Mapping[str, Mapping[str, Rule]] = Field(default_factory=dict)  # {winter: {season: [1, 4]}, hot: {temp: {min: 30}}}
    latency_ms: PositiveFloat = 50  # of one row, median on the scratch model server
    size_mb: PositiveFloat = 200


def metric_of(section: PromoteSection, task: Task, *, series: bool) -> str:
    """The declared metric, or the task's; UserError where the task cannot have it."""
    if section.metric == "auto":
        return "mae" if task != "classification" else "accuracy" if series else "log_loss"
    if section.metric not in METRICS[task]:
        known = ", ".join(METRICS[task])
        raise UserError(f"promote.metric: {section.metric} does not fit {task}", next_step=f"write one of: auto, {known}")
    return section.metric


def baselines_of(section: PromoteSection, task: Task, *, series: bool) -> tuple[str, ...]:
    """The naive baselines to score; UserError where the declared one cannot be had."""
    known = SERIES_BASELINES if series else ROW_BASELINES[task]
    if section.baseline == "auto":
        return known
    if section.baseline not in known:
        raise UserError(
            f"promote.baseline: {section.baseline} does not fit a {task} workload {'with' if series else 'without'} horizons",
            next_step=f"write one of: auto, {', '.join(known)}",
        )
    return (section.baseline,)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models' mean losses on the same `n` rows, and the difference (candidate - reference) with its interval."""

    n: int
    candidate: float
    reference: float
    difference: float
    low: float
    high: float
    confidence: float
    window: str = HOLDOUT
    against: str = "champion"  # or the baseline's name
    metric: str = "loss"

    @property
    def sound(self) -> bool:
        """Whether there are rows, and only numbers."""
        return self.n > 0 and all(map(math.isfinite, (self.candidate, self.reference, self.difference, self.low, self.high)))

    @property
    def sentence(self) -> str:
        """The comparison for a person: `mae on the holdout 0.31, seasonal-naive 0.40 (-0.09, 90 % interval -0.12 to -0.06, 340 rows)`."""
        return (
            f"{_named(self.metric)} on {self.window} {self.candidate:.4g}, {self.against} {self.reference:.4g} ({self.difference:+.3g},"
            f" {self.confidence:.0%} interval {self.low:+.3g} to {self.high:+.3g}, {self.n:,} rows)"
        )

    def row(self) -> dict[str, Any]:
        """For a table and for JSON: what is not a number becomes None."""
        figures = {key: getattr(self, key) for key in ("candidate", "reference", "difference", "low", "high")}
        return {
            "window": self.window,
            "against": self.against,
            "metric": _named(self.metric),
            "rows": self.n,
            **{key: float(f"{value:.6g}") if math.isfinite(value) else None for key, value in figures.items()},
            "confidence": self.confidence,
        }


def _named(metric: str) -> str:
    return "error rate" if metric == "accuracy" else metric


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate decided, said in sentences, and the comparisons that it rests on."""

    passed: bool
    reasons: tuple[str, ...]  # refused: every refusal; passed: what was compared
    comparisons: tuple[Comparison, ...]
    override: str | None = None  # the person's reason, where a refusal was overruled


def decide(
    section: PromoteSection,
    *,
    baseline: Comparison,
    champion: Sequence[Comparison],
    latency_ms: float,
    size_mb: float,
    quality_passed: bool,
    served_agrees: bool = True,
) -> Verdict:
    """The verdict. `champion`: one comparison per window, the whole holdout among them; empty where there is no champion yet.

    The window FROZEN has a tolerance of its own; it is absent where no frozen rows were kept.
    """
    refusals = [] if quality_passed else ["a quality check upstream did not pass"]
    refusals += _against_baseline(baseline, champion)
    if champion and all(comparison.window != HOLDOUT for comparison in champion):
        refusals.append("it was not compared with the champion on the whole holdout")
    for comparison in champion:
        tolerance = section.frozen_tolerance if comparison.window == FROZEN else section.tolerance
        refusals += _against_champion(comparison, tolerance)
    refusals += _within("the latency of one row", latency_ms, section.latency_ms, "ms")
    refusals += _within("the model's size", size_mb, section.size_mb, "MB")
    if not served_agrees:
        refusals.append("the booted model server does not answer what was evaluated")
    compared = (baseline, *champion)
    reasons = refusals or [comparison.sentence for comparison in compared if comparison.window == HOLDOUT]
    return Verdict(passed=not refusals, reasons=tuple(reasons), comparisons=compared)


def next_frozen(gates: Sequence[Window | None], *, frozen_for: int, span: timedelta = timedelta(0)) -> Window | None:
    """The window of truth that the next retrain keeps out of training, and on which the gate bounds regression.

    `gates`: the gate window of each promotion, oldest first (None: it had none, and does not count); `span`: from an example's
    first truth to its last. The rule: the first promotion sets it; after each `frozen_for` further promotions the newest one
    sets it anew. It is the oldest quarter of that promotion's gate window, wide enough to hold whole examples: the newest
    three quarters of what was held out are given back for learning, else a retrain that follows soon would learn nothing new.
    """
    known = [gate for gate in gates if gate is not None]
    if not known or not frozen_for:
        return None
    start, end = known[(len(known) - 1) // frozen_for * frozen_for]
    kept = span + max(end - start - span, timedelta(0)) * FROZEN_SHARE
    return (start, min(start + kept, end)) if kept else None


def overrule(verdict: Verdict, reason: str) -> Verdict:
    """The same verdict, passed by a person's decision; the refusals stay on record. UserError without a reason."""
    if not reason.strip():
        raise UserError(
            "an override of the gate needs a reason", next_step="say why, in a sentence that a later reader can judge"
        )
    return replace(verdict, passed=True, override=reason.strip())


def _against_baseline(comparison: Comparison, champion: Sequence[Comparison]) -> list[str]:
    if not comparison.sound:
        return ["it could not be compared with the naive baseline: no rows, or a loss that is not a number"]
    if comparison.candidate < comparison.reference or any(_better_of_two(comparison, one) for one in champion):
        return []
    return [f"it does not beat the naive baseline: {comparison.sentence}"]


def _better_of_two(baseline: Comparison, champion: Comparison) -> bool:
    """Whether the champion does not beat the baseline either, and the candidate surely beats the champion."""
    whole = champion.window == HOLDOUT and champion.sound
    return whole and champion.reference >= baseline.reference and champion.high < 0


def _against_champion(comparison: Comparison, tolerance: float) -> list[str]:
    if not comparison.sound:
        return [f"{comparison.window}: it could not be compared with the champion: no rows, or a loss that is not a number"]
    whole = comparison.window in {HOLDOUT, FROZEN}
    if (comparison.difference if whole else comparison.low) <= tolerance * comparison.reference:
        return []
    return [
        f"it is {'' if whole else 'confidently '}worse than the champion by more than {tolerance:.1%}: {comparison.sentence}"
    ]


def _within(what: str, value: float, budget: float, unit: str) -> list[str]:
    if not math.isfinite(value):
        return [f"{what} was not measured"]
    return [] if value <= budget else [f"{what} is {value:.3g} {unit}, over the budget of {budget:.3g} {unit}"]
