"""How often the monitors cry wolf on stable history, and how soon they notice what was planted.

    AIPRIME_DATA=... python -m benchmarks.false_alarms [bikes elec2 co2 table]

(co2: its growth taken out.) Stable by construction: the blocks (a week, a day, a year of rows) of a workload's features are shuffled; half of them are the
history that calibrates, windows are drawn from the other half. Each shuffle is a world of its own; figures are means over them, and the
interval (95 %) of a rate is theirs: 20 windows of one world are not independent. co2 has 32 years, so that 15 shuffles tell its rate to 3 of
100 only; 300 are drawn. (The interval is not that of other years than these.)
"As they come" is not stable: calibrated on the first half in time, windows of the second. `table` is made up: ten numbers, three
categories, a boolean, rows without order. Distances are data/drift/statistics.py's, which a test holds to Evidently's.

Beside them the dummies: always-fire (100 false alarms per 100 windows, notices at once) and never-fire (0, never).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from data import drift, examples
from data.schema import Column
from training import stability

RATE = 0.05
WORLDS, MANY, WINDOWS, LONGEST = 15, 300, 20, 20


@dataclass(frozen=True)
class Table:
    """Rows in order of time, the columns to compare, and in rows: a window, and the block that is shuffled whole."""

    frame: pd.DataFrame
    columns: tuple[Column, ...]
    window: int
    block: int
    ordered: bool
    raw: pd.DataFrame  # as it comes
    losses: np.ndarray  # 0 or 1 per row: what persistence, or a made-up model, gets wrong
    worlds: int = WORLDS  # that false alarms are counted in; delays in the first 15


def made_up(rng: np.random.Generator, n: int = 20_000) -> Table:
    numbers = {f"x{i}": rng.normal(0, 1, n) if i % 2 else rng.gamma(2, 1, n) for i in range(10)}
    classes = {f"c{i}": rng.choice(list("abcdefgh")[: 2 + 3 * i], n, p=_falling(2 + 3 * i)) for i in range(3)}
    frame = pd.DataFrame({**numbers, **classes, "b": rng.random(n) < 0.3})
    columns = (
        *(Column(name=name, kind="number", nullable=True) for name in numbers),
        *(Column(name=name, kind="category") for name in classes),
        Column(name="b", kind="boolean"),
    )
    return Table(frame, columns, window=1000, block=1, ordered=False, raw=frame, losses=(rng.random(n) < 0.15).astype(float))


def _falling(levels: int) -> np.ndarray:
    weights = 1 / np.arange(1, levels + 1)
    return weights / weights.sum()


def shipped(name: str, window: int, block: int) -> Table:
    """The features of a shipped workload; the losses are 1 where persistence errs more than its median (classes: errs)."""
    from benchmarks.accuracy import workload

    of = workload(name, until=None) if name == "co2" else workload(name)
    made = examples.make(of.table, of.task, of.data, of.features)
    frame = made.table.sort_values("__time", ignore_index=True)
    known = frame[[c.name for c in made.schema.inputs]].notna().all(axis=1)
    frame = frame.iloc[int(known.idxmax()) :].reset_index(
        drop=True
    )  # before, lags had no past: shuffled, that would be no stable table
    if name == "co2":  # 18 weeks were lost in 1964: what happened once, in one half or the other, cannot be calibrated
        frame = frame[frame["__time"] >= pd.Timestamp("1967-01-01", tz="UTC")].reset_index(drop=True)
    raw = frame.copy()
    if name == "co2":  # it grows all the time: taken out, what is left has years that are alike
        at = np.arange(len(frame))
        grown = np.polyval(np.polyfit(at, frame["co2_mean52"].ffill(), 2), at)
        for column in made.schema.inputs:
            if column.kind == "number":
                frame[column.name] -= grown
    truth, naive = raw[made.schema.targets[0]], raw[f"__persistence_h{made.schema.horizons[0]}"]
    if of.task == "classification":
        losses = (truth.astype(str) != naive.astype(str)).to_numpy(float)
    else:
        error = (truth - naive).abs()
        losses = (error > 2 * error.median()).to_numpy(float)
    count = MANY if name == "co2" else WORLDS
    return Table(frame, made.schema.inputs, window=window, block=block, ordered=True, raw=raw, losses=losses, worlds=count)


def worlds(of: Table) -> Iterator[tuple[np.ndarray, list[np.ndarray], int]]:
    """Rows of the history, rows of each fresh window, and the seed."""
    starts = np.arange(0, len(of.frame) - of.block + 1, of.block)
    per = -(-of.window // of.block)
    for seed in range(of.worlds):
        rng = np.random.default_rng(seed)
        mixed = rng.permutation(starts)
        old, fresh = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]

        def rows(begins: np.ndarray) -> np.ndarray:
            return (begins[:, None] + np.arange(of.block)).ravel()

        yield (
            rows(old),
            [rows(rng.choice(fresh, per, replace=per > len(fresh)))[: of.window] for _ in range(WINDOWS)],
            seed,
        )


def plants(of: Table) -> dict[str, Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]]:
    """Each changes one column of a window; which one is drawn at random, once per world."""
    numbers = [c.name for c in of.columns if c.kind == "number" and of.frame[c.name].std() > 0]
    classes = [c.name for c in of.columns if c.kind == "category" and of.frame[c.name].nunique() > 1]
    std, mean = of.frame[numbers].std(), of.frame[numbers].mean()

    def shifted(by: float) -> Any:
        def plant(window: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
            name = rng.choice(numbers)
            return window.assign(**{name: window[name] + by * std[name]})

        return plant

    def wider(window: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        name = rng.choice(numbers)
        return window.assign(**{name: mean[name] + (window[name] - mean[name]) * 2**0.5})

    def lost(window: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        name = rng.choice(numbers)
        return window.assign(**{name: window[name].where(np.random.default_rng(1).random(len(window)) >= 0.2)})

    def swapped(window: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        name = rng.choice(classes)
        first, second = of.frame[name].value_counts().index[:2]
        return window.assign(**{name: window[name].replace({first: second, second: first})})

    found = {"mean +0.5 std": shifted(0.5), "mean +1 std": shifted(1.0), "mean +2 std": shifted(2.0)}
    found |= {"variance x2": wider, "20 % missing": lost}
    return found | ({"two classes swapped": swapped} if classes else {})


def measure(name: str, of: Table) -> None:
    """One line per thing measured."""
    alarms: list[float] = []
    seconds = 0.0
    delays: dict[str, list[int]] = {}
    for old, fresh, seed in worlds(of):
        history = of.frame.iloc[old]
        known = drift.reference(history, of.columns, seed=seed)
        began = time.perf_counter()
        limits = drift.calibrate(history, of.columns, window=of.window, false_alarms=RATE, seed=seed, ordered=of.ordered)
        seconds += time.perf_counter() - began
        frames = [of.frame.iloc[rows] for rows in fresh]
        alarms.append(float(np.mean([drift.compare(one, known, limits, seed=seed, evidently=False).alarm for one in frames])))
        for what, plant in plants(of).items() if seed < WORLDS else ():
            found = (
                i
                for i, frame in enumerate(frames, 1)
                if drift.compare(plant(frame, np.random.default_rng(seed)), known, limits, seed=seed, evidently=False).alarm
            )
            delays.setdefault(what, []).append(next(found, LONGEST + 1))
    about = f"{name}: {len(of.columns)} columns, windows of {of.window}"
    row(about, f"drift, stable, {WINDOWS * len(alarms)} windows", rate(alarms), "100 of 100", "0 of 100")
    for what, found in delays.items():
        row(about, what, said(found), "1.0", "never")
    quality(about, of)
    if of.ordered:
        as_they_come(about, of)
    print(f"  calibration {seconds / of.worlds:.2f} s", file=sys.stderr)


def quality(about: str, of: Table) -> None:
    """The limit of the mean loss, on 0/1 losses; flipped labels turn a loss round."""
    alarms: list[float] = []
    delays: dict[float, list[int]] = {0.1: [], 0.3: []}
    for old, fresh, seed in worlds(of):
        limit = stability.calibrate(
            of.losses[old], window=of.window, false_alarms=RATE, seed=seed, block=of.block if of.ordered else 1
        )
        rng = np.random.default_rng(seed)
        alarms.append(float(np.mean([stability.judge(limit, of.losses[rows]).exceeds for rows in fresh])))
        for share, found in delays.items() if seed < WORLDS else ():
            flipped = (np.abs(of.losses[rows] - (rng.random(len(rows)) < share)) for rows in fresh)
            found.append(
                next((i for i, losses in enumerate(flipped, 1) if stability.judge(limit, losses).exceeds), LONGEST + 1)
            )
    row(about, f"mean loss, stable, {WINDOWS * len(alarms)} windows", rate(alarms), "100 of 100", "0 of 100")
    for share, found in delays.items():
        row(about, f"{100 * share:.0f} % of labels flipped", said(found), "1.0", "never")


def as_they_come(about: str, of: Table) -> None:
    """Not stable: what the second half of the real series does against the first."""
    half = len(of.raw) // 2
    history, later = of.raw.iloc[:half], of.raw.iloc[half:]
    known = drift.reference(history, of.columns)
    limits = drift.calibrate(history, of.columns, window=of.window, false_alarms=RATE)
    found = [
        drift.compare(later.iloc[start : start + of.window], known, limits, evidently=False).alarm
        for start in range(0, len(later) - of.window + 1, of.window)
    ]
    trending = sum(limit.trending for limit in limits.limits.values())
    what = f"as they come: {len(found)} later windows ({trending} columns trend)"
    row(about, what, f"{100 * np.mean(found):.0f} of 100", "100 of 100", "0 of 100")


def rate(alarms: list[float]) -> str:
    """The mean share over the worlds, with its 95 % interval."""
    half = 1.96 * float(np.std(alarms, ddof=1)) / len(alarms) ** 0.5
    mean = float(np.mean(alarms))
    return f"{100 * mean:.1f} of 100 ({100 * max(mean - half, 0):.1f} to {100 * (mean + half):.1f})"


def said(delays: list[int]) -> str:
    """The mean delay in windows of what was noticed, and how often it was not."""
    seen = [delay for delay in delays if delay <= LONGEST]
    missed = f", missed in {len(delays) - len(seen)} of {len(delays)}" if len(seen) < len(delays) else ""
    return (f"{np.mean(seen):.1f}" if seen else "never") + missed


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


TABLES = {
    "table": lambda: made_up(np.random.default_rng(0)),
    "bikes": lambda: shipped("bikes", 720, 168),
    "elec2": lambda: shipped("elec2", 2016, 48),
    "co2": lambda: shipped("co2", 52, 52),
}

if __name__ == "__main__":
    print(
        f"| what | stable, or planted | false alarms (stated: {100 * RATE:g}), or windows until noticed | always-fire | never-fire |"
    )
    print("|---|---|---|---|---|")
    for chosen in sys.argv[1:] or TABLES:
        if chosen in {"bikes", "elec2"} and not os.environ.get("AIPRIME_DATA"):
            print(f"{chosen}: not run: no AIPRIME_DATA", file=sys.stderr)
            continue
        measure(chosen, TABLES[chosen]())
