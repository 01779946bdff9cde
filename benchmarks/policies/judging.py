"""The product's judgements without its servers: a window by the version's own holdout, a candidate by the gate.

As assets/monitoring.py, assets/yardstick.py and assets/gate.py do them. Drift is left out, for it asks for no retrain by default, and
so are the gate's checks of a booted server.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from assets import yardstick
from benchmarks.policies.past import Past, Version
from data import sensor
from data.schema import SPLIT, TIME
from data.split import FROZEN, HOLDOUT
from training import evaluate, promote, stability
from training.estimate import expected_losses, temperature_of
from training.holdout import has_frozen, holdout_rows
from training.metrics import Classes
from training.scoring import Scored

_TRUTHS = 20_000  # assets/yardstick.py's


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One window's signals and how its figures stand to their limits."""

    alarms: tuple[str, ...]
    suspect: str
    said: str


class Judge:
    """`losses` and `expected` of a version are worked out once, for every row of the past."""

    def __init__(self, past: Past) -> None:
        self._past, self._metric = past, yardstick.metric(past.spec)
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._holdouts: dict[str, np.ndarray] = {}
        self._usual: dict[str, sensor.Usual] = {}

    def losses(self, version: Version) -> np.ndarray:
        """The watched loss of each row and horizon [N, H]."""
        return self._of(version)[0]

    def window(self, version: Version, start: float, end: float, own: np.ndarray) -> Seen:
        """The window [start, end) of event time, for the version that serves; `own` says which rows it answered."""
        quality = self._quality(version, start, end, own)
        estimate = self._estimate(version, start, end)
        suspect = self._suspect(version, end)
        alarms = [name for name, (alarm, _) in {"quality": quality, "estimate": estimate}.items() if alarm]
        return Seen(alarms=tuple(alarms), suspect=suspect, said=f"{quality[1]}; expected {estimate[1]}")

    def gate(self, candidate: Version, champion: Version) -> promote.Verdict:
        """The candidate against the baseline and the champion, on the candidate's holdout and its frozen rows."""
        past, section = self._past, self._past.spec.promote
        assert candidate.cutoff is not None
        table = past.rows(candidate.cutoff)
        holdout = table[table[SPLIT] == HOLDOUT]
        with tempfile.TemporaryDirectory() as out:
            evaluate.evaluate(candidate.folder, table, past.schema, section, Path(out), pictures=False)
            ours = evaluate.read_losses(Path(out))
        found = evaluate.compare_with_champion(
            ours, evaluate.losses_of(champion.folder, table, past.schema), table, past.schema, section
        )
        if has_frozen(table):
            kept = [evaluate.losses_of(one.folder, table, past.schema, FROZEN) for one in (candidate, champion)]
            found.append(evaluate.compare_on_frozen(kept[0], kept[1], table, past.schema, section))
        return promote.decide(
            section,
            baseline=evaluate.compare_with_baseline(ours, holdout, past.schema, section),
            champion=found,
            latency_ms=0.0,
            size_mb=sum(file.stat().st_size for file in candidate.folder.iterdir()) / 1e6,
            quality_passed=True,
        )

    def _of(self, version: Version) -> tuple[np.ndarray, np.ndarray]:
        if version.name not in self._known:
            scored = Scored.ask(version.folder, self._past.table, self._past.schema)
            losses = scored.row_losses(scored.answers)[self._metric]
            temperature = self._temperature(version)
            expected = expected_losses(scored.answers, self._past.schema.task, self._metric, temperature=temperature)
            self._known[version.name] = losses.reshape(len(losses), -1), np.asarray(expected, dtype=float)
        return self._known[version.name]

    def _temperature(self, version: Version) -> float:
        if version.cutoff is None:
            return 1.0
        rows = holdout_rows(self._past.rows(version.cutoff), self._past.schema)
        scored = Scored.ask(version.folder, rows, self._past.schema)
        return temperature_of(scored.answers.probabilities, scored.truth) if isinstance(scored.answers, Classes) else 1.0

    def _held(self, version: Version) -> np.ndarray:
        """Which rows of the past are the version's holdout."""
        assert version.cutoff is not None
        key = f"{version.name} {version.until}"  # two cutoffs may leave the same rows to learn from
        if key not in self._holdouts:
            rows = self._past.rows(version.cutoff)
            self._holdouts[key] = self._past.table[TIME].isin(rows.loc[rows[SPLIT] == HOLDOUT, TIME]).to_numpy()
        return self._holdouts[key]

    def _quality(self, version: Version, start: float, end: float, own: np.ndarray) -> tuple[bool, str]:
        losses, held, monitor = self.losses(version), self._held(version), self._past.spec.monitor
        said, alarm = [], False
        for place in range(losses.shape[1]):
            known = self._past.truth_times[:, place]
            inside = losses[own & (known >= start) & (known < end), place]
            if len(inside) < monitor.min_rows:
                continue
            rate = monitor.false_alarms / losses.shape[1]
            limit = stability.calibrate(losses[held, place], window=len(inside), false_alarms=rate)
            one = stability.judge(limit, inside)
            alarm |= one.exceeds
            said.append(f"{one.mean:.3g} of {one.upper:.3g} (usual {limit.mean:.3g}, {limit.n / len(inside):.1f} fit)")
        return alarm, ", ".join(said) or "too few rows"

    def _estimate(self, version: Version, start: float, end: float) -> tuple[bool, str]:
        expected, monitor = self._of(version)[1], self._past.spec.monitor
        times = self._past.table[TIME].dt.as_unit("s").astype("int64").to_numpy()
        inside = expected[(times >= start) & (times < end)]
        if len(inside) < monitor.min_rows:
            return False, "too few rows"
        limit = stability.calibrate(expected[self._held(version)], window=len(inside), false_alarms=monitor.false_alarms)
        one = stability.judge(limit, inside)
        return one.exceeds, f"{one.mean:.3g} of {one.upper:.3g}"

    def _suspect(self, version: Version, end: float) -> str:
        spec = self._past.spec
        if spec.task == "classification":
            return ""
        source = self._past.source[self._past.source[spec.data.target].notna()]
        at = source[spec.data.time or ""].dt.as_unit("s").astype("int64").to_numpy()
        values = source[spec.data.target].to_numpy(float)
        trained = np.flatnonzero(at < version.until.timestamp())[-_TRUTHS:]
        later = np.flatnonzero((at >= version.until.timestamp()) & (at + self._past.delay < end))
        if not len(later):
            return ""
        both = np.concatenate([trained, later])
        grid = sensor.on_grid(at[both], values[both], self._past.step_s)
        first = round((at[trained[-1]] - at[trained[0]]) / self._past.step_s) + 1
        key = str(version.until)
        if key not in self._usual:
            self._usual[key] = sensor.learn(grid[:first], season=spec.features.season)
        found = sensor.suspect(grid[:first], grid[first:], season=spec.features.season, usual=self._usual[key])
        return "; ".join(f"{one.kind}: {one.said}" for one in found)


def own_rows(past: Past, begins: list[tuple[pd.Timestamp, Version]]) -> list[tuple[np.ndarray, Version]]:
    """Which rows each version in service answered; `begins` in order of time."""
    times, found = past.table[TIME], []
    for i, (begin, version) in enumerate(begins):
        last = begins[i + 1][0] if i + 1 < len(begins) else None
        inside = times >= begin if last is None else (times >= begin) & (times < last)
        found.append((inside.to_numpy(), version))
    return found
