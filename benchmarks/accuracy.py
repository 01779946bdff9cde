"""How right the shipped workloads are, beside gradient boosting on the same inputs and rows, and beside the naive forecasts.

    AIPRIME_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.accuracy bikes co2 elec2

The rows, inputs and settings are those of orchestration/workloads/NAME/defs.yaml; only where the holdout begins is set here.
- bikes: trained on what was known when June 2012 began; every forecast made in June. Median of three seeds.
- co2: trained to 1985 of the years up to 1990 (as shipped), and to 1990 with all later years to be forecast.
- elec2: windows of 2,016 half-hours from row 10,080 on, trained again before each on all that was known.
Boosting (HistGradientBoosting, absolute error, else its own defaults) gets the clock as plain numbers, and, where the model
takes the level out of a series, the same ratios or differences.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from data import examples, prepare, sources
from data.places import Places
from data.schema import SPLIT, TIME, TableSchema, baseline_column
from data.section import DataSection, FeaturesSection, seconds
from training.family import Prepared, TrainSection, family, settings
from training.fit import fit
from training.predictor import OnnxPredictor

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Workload:
    """A workload's sections and its canonical table."""

    task: Any
    data: DataSection
    features: FeaturesSection
    train: TrainSection
    table: pd.DataFrame


def workload(name: str, **changed: Any) -> Workload:
    """As shipped; `changed` replaces keys of its data section."""
    attributes = yaml.safe_load((ROOT / "orchestration" / "workloads" / name / "defs.yaml").read_text())["attributes"]
    data = DataSection(**(attributes["data"] | changed))
    places = Places(root=ROOT, home=Path(os.environ.get("AIPRIME_HOME", tempfile.gettempdir())))
    table = prepare.prepare(sources.read(data, places, sources.fingerprint(data, places)), data)
    return Workload(
        attributes["task"], data, FeaturesSection(**attributes["features"]), TrainSection(**attributes["train"]), table
    )


def cut(of: Workload, begins: pd.Timestamp, ends: pd.Timestamp | None) -> tuple[pd.DataFrame, TableSchema]:
    """The feature table with the holdout from `begins` to before `ends`; training rows have all their truth before `begins`."""
    reach = pd.Timedelta(seconds=max(of.features.horizons) * seconds(of.data.step or ""))
    times = of.table[of.data.time or ""]
    rows = of.table if ends is None else of.table[times < ends + reach]
    held = (rows[of.data.time or ""] >= begins).sum()
    made = examples.make(rows, of.task, of.data.model_copy(update={"holdout": (held + 0.5) / len(rows)}), of.features)
    table = made.table if ends is None else made.table[made.table[TIME] < ends]
    if (table.loc[table[SPLIT] == "holdout", TIME] < begins).any():
        raise AssertionError("the holdout does not begin where it should")
    return table.reset_index(drop=True), made.schema


def ours(of: Workload, table: pd.DataFrame, schema: TableSchema, seed: int) -> tuple[dict[str, np.ndarray], Prepared]:
    """The exported model's answers on the holdout."""
    chosen = family("tabular")
    prepared = chosen.prepare(table, schema, settings(chosen, of.train), seed)
    with tempfile.TemporaryDirectory() as folder:
        fit(prepared, folder=Path(folder) / "checkpoints", seed=seed, patience=of.train.patience)
        chosen.export(prepared, schema, "benchmark", Path(folder) / "model")
        return OnnxPredictor(Path(folder) / "model").predict(table[table[SPLIT] == "holdout"]), prepared


def plain(table: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """The model's inputs as boosting takes them: categories as such, the clock as numbers."""
    columns = {}
    for column in schema.inputs:
        values = table[column.name]
        if column.kind == "category":
            columns[column.name] = values.astype("category")
        elif column.kind == "time":
            ahead = values + pd.Timedelta(seconds=schema.horizons[0] * schema.step_seconds)
            columns |= {"hour": ahead.dt.hour + ahead.dt.minute / 60, "weekday": ahead.dt.dayofweek}
        else:
            columns[column.name] = values.astype(float)
    return pd.DataFrame(columns)


def boosted_numbers(table: pd.DataFrame, schema: TableSchema, horizon: int, prepared: Prepared | None) -> np.ndarray:
    """HistGradientBoosting's forecasts on the holdout; with `prepared` on the level-free columns and target."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    inputs, truth = plain(table, schema), table[f"__target_h{horizon}"].to_numpy(float)
    location, scale = np.zeros(len(table)), np.ones(len(table))
    if prepared is not None:
        recipe: Any = prepared.module.recipe
        values, location, scale = recipe.values(table)
        inputs[list(recipe.numbers)] = values[:, : len(recipe.numbers)]
    learn = (table[SPLIT] == "train").to_numpy()
    model = HistGradientBoostingRegressor(loss="absolute_error", random_state=0)
    model.fit(inputs[learn], ((truth - location) / scale)[learn], sample_weight=scale[learn])
    return (model.predict(inputs) * scale + location)[~learn]


def row(what: str, model: str, *figures: str) -> None:
    print("| " + " | ".join((what, model, *figures)) + " |", flush=True)


def bikes() -> None:
    """Mean absolute error in bikes, and what the 80 % interval covers."""
    of = workload("bikes")
    begins, ends = pd.Timestamp("2012-06-01", tz="UTC"), pd.Timestamp("2012-07-01", tz="UTC")
    table, schema = cut(of, begins, ends)
    series("bikes, June 2012", of, table, schema, seeds=(0, 1, 2))


def series(what: str, of: Workload, table: pd.DataFrame, schema: TableSchema, seeds: tuple[int, ...]) -> None:
    """One line per model and horizon."""
    holdout = table[table[SPLIT] == "holdout"]
    runs = [ours(of, table, schema, seed) for seed in seeds]
    for place, horizon in enumerate(schema.horizons):
        truth = holdout[f"__target_h{horizon}"].to_numpy(float)
        name = f"{what}, {horizon} ahead, {len(holdout)} rows"

        def error(answers: np.ndarray, truth: np.ndarray = truth) -> float:
            return float(np.nanmean(np.abs(answers - truth)))

        errors = [error(answers["prediction"][:, place]) for answers, _ in runs]
        quantiles = [answers["quantiles"][:, place] for answers, _ in runs]
        covered = [float(((truth >= q[:, 1]) & (truth <= q[:, 5])).mean()) for q in quantiles]
        seen = ", ".join(f"{e:.3g}" for e in errors)
        row(name, f"AI Prime, {of.train.size}", f"{np.median(errors):.3g} ({seen})", f"{np.median(covered):.3f}")
        row(name, "boosting, raw", f"{error(boosted_numbers(table, schema, horizon, None)):.3g}", "")
        if runs[0][1].module.recipe.level is not None:
            row(name, "boosting, level-free", f"{error(boosted_numbers(table, schema, horizon, runs[0][1])):.3g}", "")
        for kind in ("persistence", "seasonal-naive", "seasonal-drift"):
            row(name, kind, f"{error(holdout[baseline_column(kind, horizon)].to_numpy(float)):.3g}", "")


def co2() -> None:
    """Mean absolute error in ppm."""
    of = workload("co2")
    made = examples.make(of.table, of.task, of.data, of.features)
    series("co2, as shipped", of, made.table, made.schema, seeds=(0, 1, 2))
    later = workload("co2", until=None)
    table, schema = cut(later, pd.Timestamp("1990-01-01", tz="UTC"), None)
    series("co2, 1990 to 2001, trained once", later, table, schema, seeds=(0,))


def elec2(every: int = 1) -> None:
    """Accuracy in each window, its mean and the lowest."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    of = workload("elec2")
    times = of.table[of.data.time or ""]
    found: dict[str, list[float]] = {"AI Prime, " + of.train.size: [], "boosting": [], "persistence": []}
    for first in range(10_080, len(times) - 1, 2_016 * every):
        begins = times.iloc[first - 1]  # the forecast for row `first` is made one half-hour before it
        ends = times.iloc[min(first + 2_016, len(times)) - 1]
        table, schema = cut(of, begins, ends)
        learn = (table[SPLIT] == "train").to_numpy()
        truth = table[schema.targets[0]].to_numpy(object)
        answers, _ = ours(of, table, schema, seed=0)
        labels = np.asarray(schema.classes, dtype=object)[answers["probabilities"].argmax(axis=1)]
        inputs = plain(table, schema)
        boosted = HistGradientBoostingClassifier(random_state=0, categorical_features="from_dtype").fit(
            inputs[learn], truth[learn]
        )
        naive = table[baseline_column("persistence", 1)].to_numpy(object)[~learn]
        for kind, said in zip(found, (labels, boosted.predict(inputs[~learn]), naive), strict=True):
            found[kind].append(float((said == truth[~learn]).mean()))
    for kind, shares in found.items():
        row(f"elec2, {len(shares)} windows", kind, f"{np.mean(shares):.4f}", f"lowest {min(shares):.3f}")


if __name__ == "__main__":
    print("| what | model | error (co2: ppm) or accuracy | 80 % interval covers |\n|---|---|---|---|")
    for name in sys.argv[1:] or ("bikes", "co2", "elec2"):
        {"bikes": bikes, "co2": co2, "elec2": elec2}[name]()
