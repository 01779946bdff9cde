"""The policies, played step by step. A version that was asked for serves from the first step on that begins after it was asked for.

So a retrain at the end of a step waits a whole step, which is for its shadow and its shares of the traffic; the blind one waits as long,
and only the oracle does not wait. Watching goes by the windows of the YAML, which follow each other from the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd

from assets.retraining import span
from assets.trigger import Attempt, Seen, decide
from assets.windows import length_s
from benchmarks.policies.judging import Judge, own_rows
from benchmarks.policies.past import Past, Version
from data.cutoff import Window
from data.schema import TIME
from training.promote import next_frozen

FROZEN, BLIND, LOOP, ALWAYS, ORACLE = POLICIES = ("frozen", "blind", "loop", "always", "oracle")


@dataclass(frozen=True)
class Span:
    """One step of the report: rows asked in [begin, end)."""

    begin: pd.Timestamp
    end: pd.Timestamp


@dataclass
class Played:
    """What a policy came to. `errors`: the mean loss of each step and horizon [S, H]."""

    workload: str
    policy: str
    errors: np.ndarray = field(default_factory=lambda: np.empty(0))
    begins: list[pd.Timestamp] = field(default_factory=list)
    retrains: int = 0
    passed: int = 0
    cpu_s: float = 0.0
    notes: list[str] = field(default_factory=list)


def steps(past: Past) -> list[Span]:
    """bikes: months from March 2011 on. elec2: 2,016 rows from row 10,080 on. co2_raw: 91 days from 1991 on."""
    times, name = past.source[past.spec.data.time or ""], past.spec.name
    if name == "bikes":
        edges = list(pd.date_range("2011-03-01", "2013-01-01", freq="MS", tz="UTC"))
    elif name == "elec2":
        edges = list(times.iloc[10_080::2_016])
    else:
        edges = list(pd.date_range("1991-01-01", times.iloc[-1].tz_localize(None), freq="91D").tz_localize("UTC"))
    last = past.table[TIME].iloc[-1] + pd.Timedelta(seconds=past.step_s)  # what is asked later has no truth here
    edges = [*(edge for edge in edges if edge < last), last]
    return [Span(begin, end) for begin, end in pairwise(edges)]


class Player:
    """One workload's past, and the judge of its versions."""

    def __init__(self, past: Past, *, waits: bool = True) -> None:
        self._past, self._judge, self._steps, self._waits = past, Judge(past), steps(past), waits

    def play(self, policy: str) -> Played:
        """One policy over all steps."""
        done = Played(self._past.spec.name, policy, begins=[one.begin for one in self._steps])
        service = {FROZEN: self._frozen, BLIND: self._blind, ORACLE: self._oracle}.get(policy)
        begins = service(done) if service else self._watched(done, always=policy == ALWAYS)
        rows = own_rows(self._past, begins)
        times, found = self._past.table[TIME], []
        for one in self._steps:
            inside = ((times >= one.begin) & (times < one.end)).to_numpy()
            found.append(np.concatenate([self._judge.losses(version)[own & inside] for own, version in rows]).mean(axis=0))
        done.errors = np.array(found)
        return done

    def _first(self) -> Version:
        return self._past.retrained(self._steps[0].begin)

    def _frozen(self, done: Played) -> list[tuple[pd.Timestamp, Version]]:
        return [(self._steps[0].begin, self._first())]

    def _blind(self, done: Played) -> list[tuple[pd.Timestamp, Version]]:
        begins = self._frozen(done)
        for one in self._steps[1:]:
            version = self._past.on_everything(one.begin)
            _count(done, version, passed=True)
            self._release(begins, one.begin, version)
        return begins

    def _oracle(self, done: Played) -> list[tuple[pd.Timestamp, Version]]:
        begins = []
        for one in self._steps:
            version = self._past.on_everything(one.begin)
            _count(done, version, passed=True)
            begins.append((one.begin, version))
        return begins

    def _release(self, begins: list[tuple[pd.Timestamp, Version]], at: pd.Timestamp, version: Version) -> None:
        """Put it in service, in the place of one that waits for the same moment."""
        later = [one.begin for one in self._steps if one.begin > at]
        when = at if not self._waits else later[0] if later else None
        if when is not None:
            begins[:] = [one for one in begins if one[0] != when] + [(when, version)]

    def _watched(self, done: Played, *, always: bool) -> list[tuple[pd.Timestamp, Version]]:
        """The loop's windows, its trigger and its gate; `always` asks for a retrain whatever a window shows, one at a time."""
        begins, attempts, seen = self._frozen(done), [], []
        length = self._length()
        for number, (start, end) in enumerate(self._windows(length)):
            version = [one for at, one in begins if at < end][-1]
            waiting = [one for at, one in begins if at >= end]
            own = next(rows for rows, one in own_rows(self._past, begins) if one is version)
            found = self._judge.window(version, start.timestamp(), end.timestamp(), own)
            seen.append(
                Seen(
                    sequence=number,
                    end=end.timestamp(),
                    version=version.name,
                    alarms=found.alarms,
                    suspect=found.suspect,
                )
            )
            answer = decide(
                self._past.spec.retrain,
                seen,
                attempts,
                champion=version.name,
                window_s=length,
                challenger=waiting[-1].name if waiting else None,
            )
            done.notes.append(f"{end:%Y-%m-%d} {version.until:%Y-%m-%d} {list(found.alarms)} {found.said}: {answer.reasons}")
            if (always and not waiting) or answer.fire:
                attempts.append(self._retrain(done, begins, version, end))
        return begins

    def _retrain(
        self, done: Played, begins: list[tuple[pd.Timestamp, Version]], champion: Version, at: pd.Timestamp
    ) -> Attempt:
        candidate = self._past.retrained(at, self._kept([one for since, one in begins if since < at]))
        verdict = self._judge.gate(candidate, champion)
        _count(done, candidate, passed=verdict.passed)
        done.notes.append(f"    retrained, {'passed' if verdict.passed else 'refused'}: {'; '.join(verdict.reasons)}")
        if verdict.passed:
            self._release(begins, at, candidate)
        return Attempt(at=at.timestamp(), state="passed" if verdict.passed else "refused", cpu_s=candidate.cpu_s)

    def _kept(self, promoted: list[Version]) -> Window | None:
        """The frozen rows that follow from the promotions so far."""
        spec = self._past.spec
        gates = [(one.cutoff.begins, one.cutoff.until) for one in promoted if one.cutoff and one.cutoff.begins]
        return next_frozen(gates, frozen_for=spec.promote.frozen_for, span=span(spec))

    def _length(self) -> float:
        spec = self._past.spec
        length = length_s(spec.monitor, spec.data, spec.features)
        assert length is not None
        return length

    def _windows(self, length: float) -> Iterator[tuple[pd.Timestamp, pd.Timestamp]]:
        begin, last = self._steps[0].begin, self._steps[-1].end
        while (end := begin + pd.Timedelta(seconds=length)) <= last:
            yield begin, end
            begin = end


def _count(done: Played, version: Version, *, passed: bool) -> None:
    done.retrains += 1
    done.passed += passed
    done.cpu_s += version.cpu_s
