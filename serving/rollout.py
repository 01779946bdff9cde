"""When a challenger may take one step more, and when it goes. Pure rules: no records, no servers, no clock.

Each step is judged on errors, on latency and, where truth is known, on quality; what is missing or too little never advances.
Errors send a challenger back as soon as the bound is crossed by enough of them; the rest waits for its minimum of samples.
The same numbers always give the same verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Protocol

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from data.section import Section
from serving.release import Exposure, Release
from training.promote import Comparison

Share = Annotated[float, Field(gt=0, lt=1)]
Moved = Literal["advance", "stay", "roll_back"]
_LABELS = 30  # labelled pairs, below which no interval says much
_PATIENCE = (
    4  # times the labelled pairs that are wanted, and a version that may be as good goes back: others wait for its place
)


class Traffic(Protocol):
    """What `Records.traffic` counts of one version in one role; a failed try of a challenger is an error."""

    @property
    def requests(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def p99_ms(self) -> float: ...


class RolloutSection(Section):
    """How a version that passed the gate comes to serve. Without steps the gate's verdict alone promotes it."""

    steps: tuple[Literal["shadow"] | Share, ...] = ("shadow", 0.1, 0.5)  # then all
    min_requests: PositiveInt = 100  # that the challenger answered, at each step
    max_error_rate: NonNegativeFloat = 0.01  # above the champion's
    min_errors: PositiveInt = 5  # fewer are an accident
    latency_ratio: float = Field(default=2.0, ge=1)  # of the champion's p99
    latency_floor_ms: PositiveFloat = 100  # a p99 below is never too slow
    tolerance: NonNegativeFloat = 0.05  # of the champion's loss on the same labelled requests
    confidence: float = Field(default=0.9, gt=0.5, lt=1)  # of the bootstrap's two-sided interval
    min_labels: PositiveInt | None = None  # labelled pairs since the rollout began; auto: 30, and of a series a whole season
    labels: Literal["auto", "required", "ignored"] = "auto"  # auto: quality counts where the workload's requests get labels
    min_agreement: float | None = Field(
        default=None, ge=0, le=1
    )  # of a shadow with the champion: equal labels, or 1 - difference
    replayed: NonNegativeInt = 64  # logged requests that a candidate answers in a scratch server before it is exposed
    approve: bool = False  # the last step waits for `aiprime release approve`
    without_traffic: Literal["promote", "expose"] = "promote"  # fewer than min_requests in 24 h: nothing to try it on

    @field_validator("steps")
    @classmethod
    def _grow(cls, steps: tuple[str | float, ...]) -> tuple[str | float, ...]:
        shares = [0.0 if step == "shadow" else float(step) for step in steps]
        if any(later <= earlier for earlier, later in pairwise(shares)):
            raise ValueError(f"{list(steps)}: `shadow` first and once, then growing shares; all of the traffic is not named")
        return steps

    def exposure(self, step: int, after: int) -> Exposure | None:
        """The step's exposure, begun at the records' sequence number `after`; None past the last: the challenger takes all."""
        if step >= len(self.steps):
            return None
        at = self.steps[step]
        if at == "shadow":
            return Exposure(step=step, shadow=True, after=after)
        return Exposure(step=step, share=float(at), after=after)


@dataclass(frozen=True)
class Step:
    """The verdict on a challenger's step, said in sentences."""

    verdict: Moved
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


def judge(
    release: Release,
    section: RolloutSection,
    champion: Traffic,
    challenger: Traffic,
    losses: Comparison | None,
    agreement: float | None,
    missing: int = 0,
) -> Step:
    """Whether the challenger advances, stays, or is rolled back.

    Traffic is since the step began. `losses` compares both on the same labelled requests since the rollout began (challenger as the
    candidate); None where the workload's requests get no labels. `agreement` is the share of a shadow's answers that agree, or None.
    `missing` steps of a season are without labels yet: what comes first of a season must not decide on a version.
    """
    if release.challenger is None:
        return Step("stay", ("no rollout is under way",))
    enough = challenger.requests >= section.min_requests
    found = [_errors(section, champion, challenger)]
    if enough:
        found.append(_latency(section, champion, challenger))
        found += [_agreement(section, agreement)] if release.shadow else []
    else:
        found.append(Step("stay", (f"{challenger.requests} of {section.min_requests} requests",)))
    if section.labels != "ignored":
        more = release.shadow or "shadow" not in section.steps or challenger.requests < _PATIENCE * section.min_requests
        found.append(_quality(section, losses, missing, more=more))
    if bad := _all(found, "roll_back"):
        return Step("roll_back", bad)
    waits = [*_all(found, "stay"), *_a_person(release, section)]
    return Step("stay", tuple(waits)) if waits else Step("advance", _all(found, "advance"))


def _errors(section: RolloutSection, champion: Traffic, challenger: Traffic) -> Step:
    bound = _rate(champion) + section.max_error_rate
    said = f"{challenger.errors} errors in {challenger.requests} requests (champion {champion.errors} in {champion.requests})"
    if _rate(challenger) <= bound:
        return Step("advance", (said,))
    return Step("roll_back" if challenger.errors >= section.min_errors else "stay", (said,))


def _rate(traffic: Traffic) -> float:
    return traffic.errors / traffic.requests if traffic.requests else 0.0


def _latency(section: RolloutSection, champion: Traffic, challenger: Traffic) -> Step:
    slow = challenger.p99_ms
    if not math.isfinite(slow) or not math.isfinite(champion.p99_ms) or champion.requests == 0:
        return Step("stay", ("the latency of both was not measured",))
    said = f"p99 {slow:.3g} ms (champion {champion.p99_ms:.3g} ms)"
    bound = max(section.latency_ratio * champion.p99_ms, section.latency_floor_ms)
    return Step("advance" if slow <= bound else "roll_back", (said,))


def _agreement(section: RolloutSection, agreement: float | None) -> Step:
    if agreement is None or not math.isfinite(agreement):
        verdict: Moved = "advance" if section.min_agreement is None else "stay"
        return Step(verdict, ("its agreement with the champion is not known",))
    low = section.min_agreement is not None and agreement < section.min_agreement
    return Step("roll_back" if low else "advance", (f"agrees with the champion in {agreement:.1%}",))


def _quality(section: RolloutSection, losses: Comparison | None, missing: int, *, more: bool) -> Step:
    """`more`: further pairs may be labelled. Long after the shadow none will, and what is undecided then would be waited on for ever."""
    if losses is None:
        return Step("stay" if section.labels == "required" else "advance", ("no labels: quality is not judged",))
    wanted = section.min_labels or _LABELS
    if losses.n < wanted or missing:
        waits = more or section.labels == "required"
        rest = f"; {missing} steps of a season are without labels" if missing else ""
        return Step("stay" if waits else "advance", (f"{losses.n} of {wanted} labelled pairs{rest}",))
    if not losses.sound:
        return Step("stay", ("the loss of both is not a number",))
    allowed = section.tolerance * losses.reference
    if losses.low > allowed:
        worse = f"confidently worse than the champion by more than {section.tolerance:.1%}"
        return Step("roll_back", (f"{worse}: {losses.sentence}",))
    if losses.difference <= allowed or not more:
        return Step("advance", (losses.sentence,))
    if losses.n >= _PATIENCE * wanted:
        return Step("roll_back", (f"not shown to be as good in {losses.n} labelled pairs: {losses.sentence}",))
    return Step("stay", (losses.sentence,))


def _a_person(release: Release, section: RolloutSection) -> list[str]:
    waits = ["paused by a person"] if release.paused else []
    if section.approve and not release.approved and release.step >= len(section.steps) - 1:
        waits.append(f"waits for a person: aiprime release approve {release.workload}")
    return waits


def _all(found: list[Step], verdict: Moved) -> tuple[str, ...]:
    return tuple(reason for one in found if one.verdict == verdict for reason in one.reasons)
