"""When the loop asks for a retrain, and when it does not: a pure rule over the ledger's records. No clock, no file, no model.

A retrain is asked for when, of the last `n` windows of the present champion, `k` raised an alarm and the latest is one of them
(one bad window is weather, not climate), or where the last one is `every` ago (no alarm says that a model could be better than it
was), unless a guard rail holds it back:

- one at a time: an earlier request that has not ended, or whose version is still on its way to serve;
- cooldown: too soon after the last one, in the time that the data itself states;
- budget: the CPU seconds that the retrains of the last 30 days took;
- breaker: after `breaker` candidates in a row that were refused, rolled back or failed, a person is called and nothing is
  retrained until a person does it;
- truth: labels that look like a broken sensor are not learnt from: a person is called.

All times are event times in seconds since 1970 UTC: in a replay a year passes in a minute, and a cooldown of a month with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from data.section import Duration, Section, seconds

MONTH_S = 30 * 86_400
Signal = Literal["quality", "estimate", "drift"]
State = Literal["running", "passed", "refused", "failed", "rolled back"]


class RetrainSection(Section):
    """The guard rails of the loop."""

    enabled: bool = True
    on: tuple[Signal, ...] = ("quality", "estimate")  # drift alone says that inputs moved, not that answers are wrong
    k: PositiveInt = 2  # of the last n windows
    n: PositiveInt = 3
    every: Duration | None = None  # so long after the last one the next is asked for, alarm or not; none: only alarms ask
    cooldown: Duration | None = None  # auto: two windows; of windows that count rows two hours at the least
    budget_cpu_s: NonNegativeFloat = 3600  # in any 30 days
    breaker: PositiveInt = 3  # failed candidates in a row
    holdout: float = Field(
        default=0.15, gt=0, lt=0.9
    )  # the share of the known time, up to the watermark, that the gate judges on
    holdout_most: Duration | None = None  # and no more time than this: what is kept to judge on, the model lacks
    labels: bool = False  # learn from the ledger's labels beside the re-read source

    @model_validator(mode="after")
    def _k_of_n(self) -> RetrainSection:
        if self.k > self.n:
            raise ValueError(f"k: {self.k} of the last {self.n} windows can never raise an alarm; k is at most n")
        return self

    def judged_on(self, known: timedelta) -> timedelta:
        """How much of the newest known time the gate judges on."""
        share = max(known, timedelta(0)) * self.holdout
        return share if self.holdout_most is None else min(share, timedelta(seconds=seconds(self.holdout_most)))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One closed window as the rule sees it."""

    sequence: int  # of its record
    end: float  # event time
    version: str
    alarms: tuple[str, ...]  # the signals that were beyond their limits
    suspect: str = ""  # what looks broken about the labels
    learnable: bool = True  # labels were known: without any there is nothing new to learn


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One retrain that was asked for."""

    at: float  # event time of the window that asked
    state: State
    cpu_s: float = 0.0
    by_person: bool = False
    sequence: int = 0  # of its record


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The decision and its inputs. `call` is what a person must be told; empty where nobody need be called."""

    fire: bool
    reasons: tuple[str, ...]
    window: int = 0  # the record of the window that it answers
    alarm: bool = False
    call: str = ""
    used_cpu_s: float = 0.0
    follows: int = 0  # the record of the last retrain that it knew of


def decide(
    section: RetrainSection,
    windows: Sequence[Seen],
    attempts: Sequence[Attempt],
    *,
    champion: str | None,
    window_s: float,
    challenger: str | None = None,
) -> Answer:
    """The decision on the newest window; `windows` and `attempts` in order, oldest first. Deterministic.

    `challenger`: the version whose rollout is under way, if any.
    """
    if not windows:
        return Answer(fire=False, reasons=("no window has closed yet",))
    latest = windows[-1]
    used = sum(one.cpu_s for one in attempts if one.at > latest.end - MONTH_S)
    recent = [one for one in windows if one.version == champion][-section.n :]
    violating = [one for one in recent if set(one.alarms) & set(section.on)]
    alarm = latest in violating and len(violating) >= section.k
    said = f"{len(violating)} of the last {len(recent)} windows are beyond their limits ({', '.join(sorted({a for one in violating for a in one.alarms})) or 'none'})"
    if latest.suspect:
        what = f"the labels look wrong: {latest.suspect}"
        return Answer(fire=False, reasons=(what, "nothing is learnt from them"), window=latest.sequence, alarm=alarm, call=what)
    aged = _aged(section, windows, attempts, window_s)
    if not alarm and not aged:
        return Answer(fire=False, reasons=(said,), window=latest.sequence, used_cpu_s=used)
    held = _held_back(section, latest, attempts, window_s, used, challenger)
    call = held[-1] if _failures(attempts) >= section.breaker else ""
    follows = attempts[-1].sequence if attempts else 0
    return Answer(
        fire=not held,
        reasons=(said if alarm else aged, *held),
        window=latest.sequence,
        alarm=alarm,
        call=call,
        used_cpu_s=used,
        follows=follows,
    )


def _aged(section: RetrainSection, windows: Sequence[Seen], attempts: Sequence[Attempt], window_s: float) -> str:
    """That `every` has passed since the last retrain, or since the first window began; empty while it has not."""
    if section.every is None:
        return ""
    age_s = windows[-1].end - (attempts[-1].at if attempts else windows[0].end - window_s)
    return (
        f"the last retrain is {_days(age_s)} ago, and one is due every {section.every}"
        if age_s >= seconds(section.every)
        else ""
    )


def _held_back(
    section: RetrainSection,
    latest: Seen,
    attempts: Sequence[Attempt],
    window_s: float,
    used: float,
    challenger: str | None,
) -> list[str]:
    held = [] if section.enabled else ["retrain.enabled is off"]
    if not latest.learnable:
        held.append("no label came since the last retrain: there is nothing new to learn")
    if any(one.state == "running" for one in attempts):
        held.append("a retrain is in progress")
    if challenger is not None:
        held.append(f"version {challenger} is on its way: its rollout comes first")
    cooldown_s = seconds(section.cooldown) if section.cooldown else 2 * window_s
    if attempts and latest.end - attempts[-1].at < cooldown_s:
        held.append(f"the cooldown lasts {_days(cooldown_s - (latest.end - attempts[-1].at))} more")
    if used >= section.budget_cpu_s:
        held.append(f"the budget is used: {used:.0f} of {section.budget_cpu_s:.0f} CPU seconds in 30 days")
    if (failures := _failures(attempts)) >= section.breaker:
        held.append(f"{failures} candidates in a row did not pass: a person must look (aiprime retrain goes on)")
    return held


def _failures(attempts: Sequence[Attempt]) -> int:
    """Failed candidates in a row up to now; a person's retrain begins the count anew."""
    count = 0
    for one in attempts:
        if one.by_person or one.state == "passed":
            count = 0
        if one.state in {"refused", "failed", "rolled back"}:
            count += 1
    return count


def _days(span_s: float) -> str:
    return f"{span_s / 86_400:.0f} days" if span_s >= 2 * 86_400 else f"{span_s / 3600:.1f} h"
