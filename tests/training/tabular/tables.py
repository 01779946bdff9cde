"""Small tables for the tabular family, and one way to fit them."""

from pathlib import Path

import numpy as np
import pandas as pd

from data import examples
from data.schema import ROW_ID, SPLIT, TARGET, Column, TableSchema
from data.section import DataSection, FeaturesSection
from training.family import Prepared, TrainSection, family, settings
from training.fit import fit
from training.predictor import OnnxPredictor

TABULAR = family("tabular")
KINDS = (
    Column(name="cat", kind="category", nullable=True),
    Column(name="価格", kind="number", nullable=True),
    Column(name="x0", kind="integer"),
    Column(name="count?", kind="integer", nullable=True),
    Column(name="flag", kind="boolean"),
    Column(name="maybe", kind="boolean", nullable=True),
    Column(name="born", kind="time", nullable=True),
    Column(name="always", kind="number"),
    Column(name="never", kind="number", nullable=True),
)


def every_kind(rows: int, seed: int = 0) -> pd.DataFrame:
    """A column of each kind, missing values where they may be, one constant and one empty column, and a signal `y`."""
    rng = np.random.default_rng(seed)
    price, cat, flag = rng.lognormal(3, 1, rows), rng.choice(list("abcdef"), rows).astype(object), rng.random(rows) < 0.4
    count = rng.integers(0, 9, rows).astype(float)
    born = pd.Series(pd.Timestamp("1990-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 8000 * 24, rows), unit="h"))
    y = np.log(price) + np.where(np.isin(cat, ["a", "b"]), 2.0, 0.0) + flag + 0.2 * count + rng.normal(size=rows) * 0.3
    maybe = rng.choice(np.array([True, False, None], dtype=object), rows)
    for values in (price, count):
        values[rng.random(rows) < 0.1] = np.nan
    cat[rng.random(rows) < 0.1] = None
    born[rng.random(rows) < 0.1] = pd.NaT
    columns = {"cat": cat, "価格": price, "x0": rng.integers(-5, 5, rows), "count?": count, "flag": flag, "maybe": maybe}
    columns |= {"born": born.astype("datetime64[us, UTC]"), "always": 1.0, "never": np.nan}
    return pd.DataFrame({ROW_ID: np.arange(rows), SPLIT: "train"} | columns | {"y": y})


def numbers(rows: int, seed: int = 0) -> tuple[pd.DataFrame, TableSchema]:
    return every_kind(rows, seed).rename(columns={"y": TARGET}), TableSchema(task="regression", target="y", inputs=KINDS)


def classes(rows: int, seed: int = 0) -> tuple[pd.DataFrame, TableSchema]:
    table = every_kind(rows, seed)
    table[TARGET] = np.array(["niedrig", "mittel", "hoch"], dtype=object)[np.digitize(table.pop("y"), [3.5, 5])]
    return table, TableSchema(task="classification", target="y", inputs=KINDS, classes=("hoch", "mittel", "niedrig"))


def hourly(days: int, *, grows: float = 0.0, proportional: bool = False, seed: int = 0) -> pd.DataFrame:
    """Demand of two shops with a day's wave, whose swing grows with its level or does not."""
    rng = np.random.default_rng(seed)
    hours = np.arange(days * 24)
    parts = []
    for shop, start in (("nord", 100.0), ("süd", 60.0)):
        level = start + grows * hours
        wave = np.sin(2 * np.pi * hours / 24) + rng.normal(size=len(hours)) * 0.1
        demand = level * (1 + 0.5 * wave) if proportional else level + 10 * wave
        time = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(hours, unit="h")
        parts.append(pd.DataFrame({"hour": time.as_unit("us"), "shop": shop, "demand": demand}))
    return pd.concat(parts, ignore_index=True)


def series_of(frame: pd.DataFrame, *, holdout: float = 0.2) -> tuple[pd.DataFrame, TableSchema]:
    kinds = {"hour": "time", "shop": "category", "demand": "number?"}
    data = DataSection(source="x", target="demand", time="hour", entity="shop", step="1h", columns=kinds, holdout=holdout)
    made = examples.make(frame, "forecasting", data, FeaturesSection(horizons=(1, 24), season=24))
    return made.table, made.schema


def fitted(table: pd.DataFrame, schema: TableSchema, folder: Path, **section) -> tuple[Prepared, OnnxPredictor]:
    """Fit at tiny and export; the module's side and the folder's."""
    chosen = TrainSection(**section)
    prepared = TABULAR.prepare(table, schema, settings(TABULAR, chosen), chosen.seed)
    fit(prepared, folder=folder / "checkpoints", seed=chosen.seed, patience=chosen.patience)
    TABULAR.export(prepared, schema, "w", folder / "model")
    return prepared, OnnxPredictor(folder / "model")
