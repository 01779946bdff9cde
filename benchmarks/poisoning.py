"""What the look for planted rows finds (data/poison.py): recall and false alarms by kind and share, beside always and never saying yes.

    python -m benchmarks.poisoning [TABLE ...]      tables: elec2, digits, moons, prices (made up)

`found` is the share of planted rows that are named, `false` the share of the other rows that are; `clean` is the same look at the table
as it is. Planted with fixed seeds; elec2 is read from AIPRIME_DATA or downloaded.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assets.spec import load
from data import poison, prepare, sources
from data.places import Places
from data.schema import Task
from data.section import DataSection

SEEDS = (0, 1, 2)
ROOT = Path(__file__).parents[1]
Table = tuple[pd.DataFrame, Task, DataSection]
Planted = tuple[pd.DataFrame, np.ndarray]  # and which rows


def workload(name: str) -> Table:
    """A shipped workload's canonical table."""
    places = Places.find(ROOT)
    spec = load(places, name)
    return prepare.prepare(sources.read(spec.data, places), spec.data), spec.task, spec.data


def moons() -> Table:
    """Two classes by a curve through ten numbers, 4 % of the labels wrong by nature."""
    rng = np.random.default_rng(9)
    x = rng.normal(size=(6000, 10))
    score = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * x[:, 3]
    label = np.where(rng.random(6000) < 0.04, score <= 0, score > 0)
    df = pd.DataFrame({f"x{i}": x[:, i] for i in range(10)} | {"y": np.where(label, "yes", "no").astype(object)})
    columns = {f"x{i}": "number" for i in range(10)} | {"y": "category"}
    return df, "classification", DataSection(source="x", target="y", columns=columns)


def prices() -> Table:
    """Numbers with long tails, and one that follows a season."""
    rng = np.random.default_rng(8)
    n = 8000
    columns = {"price": rng.lognormal(3, 1, n), "size": rng.gamma(2, 30, n), "noise": rng.normal(size=n)}
    df = pd.DataFrame(columns | {"y": 10 * np.sin(np.arange(n) / 24) + rng.standard_t(4, n)})
    return df, "regression", DataSection(source="x", target="y", columns=dict.fromkeys(df, "number"))


def flipped(df: pd.DataFrame, data: DataSection, share: float, rng: np.random.Generator) -> Planted:
    """`share` of the labels are another class."""
    labels = df[data.target].to_numpy(dtype=object, copy=True)
    classes = np.array(sorted(set(labels)), dtype=object)
    rows = np.sort(rng.choice(len(df), round(share * len(df)), replace=False))
    places = np.searchsorted(classes.astype(str), labels[rows].astype(str))
    labels[rows] = classes[(places + rng.integers(1, len(classes), len(rows))) % len(classes)]
    return df.assign(**{data.target: labels}), rows


def outlying(df: pd.DataFrame, data: DataSection, share: float, rng: np.random.Generator) -> Planted:
    """`share` of the rows have one number 10 to 30 standard deviations off."""
    names = [c.name for c in data.schema_columns if c.kind == "number" and c.name not in data.ignore]
    rows, made = np.sort(rng.choice(len(df), round(share * len(df)), replace=False)), df.copy()
    chosen = rng.integers(0, len(names), len(rows))
    for i, name in enumerate(names):
        values, of = made[name].to_numpy("float64", copy=True), rows[chosen == i]
        values[of] += rng.choice([-1, 1], len(of)) * rng.uniform(10, 30, len(of)) * np.nanstd(values)
        made[name] = values
    return made, rows


def triggered(df: pd.DataFrame, data: DataSection, share: float, rng: np.random.Generator) -> Planted:
    """`share` of the rows carry a pattern (a corner of an image, one odd value of a number) and the first class as their label."""
    labels = df[data.target].to_numpy(dtype=object, copy=True)
    rows, made = np.sort(rng.choice(len(df), round(share * len(df)), replace=False)), df.copy()
    labels[rows] = sorted(set(labels))[0]
    image = next((c for c in data.schema_columns if c.kind == "image"), None)
    if image is not None:
        pictures = [one.copy() for one in made[image.name]]
        for row in rows:
            pictures[row].reshape(image.shape)[:2, :2] = 0.7
        made[image.name] = pd.Series(pictures, index=made.index, dtype=object)
    else:
        name = next(c.name for c in data.schema_columns if c.kind == "number" and c.name not in data.ignore)
        values = made[name].to_numpy("float64", copy=True)
        values[rows] = float(np.nanmean(values)) + 0.123456
        made[name] = values
    return made.assign(**{data.target: labels}), rows


KINDS: dict[str, tuple[str, Callable[..., Planted], tuple[float, ...]]] = {
    "flips": ("label", flipped, (0.05, 0.1, 0.3)),
    "outliers": ("outlier", outlying, (0.001, 0.01, 0.05)),
    "trigger": ("trigger", triggered, (0.01, 0.03, 0.05)),
}
TABLES: dict[str, tuple[Callable[[], Table], tuple[str, ...]]] = {
    "elec2": (lambda: workload("elec2"), ("flips", "outliers", "trigger")),
    "digits": (lambda: workload("digits"), ("flips", "trigger")),
    "moons": (moons, ("flips", "outliers", "trigger")),
    "prices": (prices, ("outliers",)),
}


def look(table: Table, kind: str) -> tuple[set[int], int]:
    """The rows that the look names, and how many rows it looked at."""
    named: set[int] = set()
    of = len(table[0])
    for one in poison.find(*table):
        if one.kind == kind:
            named |= set(one.rows.tolist())
    return named, of


def main(names: list[str]) -> None:
    """Print the table."""
    print(f"{'table':8} {'kind':9} {'planted':>8} {'found':>7} {'false':>7} {'clean':>7} {'always':>12} {'never':>10} {'s':>6}")
    for name in names or list(TABLES):
        make, kinds = TABLES[name]
        df, task, data = make()
        if len(df) > poison.SAMPLE:  # so that what was planted is looked at
            df = df.iloc[:: len(df) // poison.SAMPLE].head(poison.SAMPLE).reset_index(drop=True)
        for kind in kinds:
            said, plant, shares = KINDS[kind]
            clean, of = look((df, task, data), said)
            for share in shares:
                found: list[float] = []
                false: list[float] = []
                began = time.perf_counter()
                for seed in SEEDS:
                    made, rows = plant(df, data, share, np.random.default_rng(seed))
                    named, _ = look((made, task, data), said)
                    found.append(len(named & set(rows.tolist())) / len(rows))
                    false.append(len(named - set(rows.tolist())) / (of - len(rows)))
                each = (time.perf_counter() - began) / len(SEEDS)
                line: tuple[Any, ...] = (np.mean(found), np.mean(false), len(clean) / of)
                print(
                    f"{name:8} {kind:9} {share:8.1%} {line[0]:7.1%} {line[1]:7.1%} {line[2]:7.1%} {'100% / 100%':>12} {'0% / 0%':>10} {each:6.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:])
