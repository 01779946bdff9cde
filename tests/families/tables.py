"""One maker of tiny tables per family and task: what the contract suite trains each family on. A new family adds its own here."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data.schema import ROW_ID, SPLIT, TARGET, TIME, Column, TableSchema
from tests.training.vision.digits import bars


@dataclass(frozen=True)
class Case:
    """A family, a task, and `make(rows)` that gives a table of train rows with its schema."""

    family: str
    task: str
    make: Callable[[int], tuple[pd.DataFrame, TableSchema]]

    def __str__(self) -> str:
        return f"{self.family}-{self.task}"


INPUTS = (
    Column(name="a number", kind="number", nullable=True),
    Column(name="whole", kind="integer"),
    Column(name="flag", kind="boolean"),
    Column(name="colour 色", kind="category", nullable=True),
)


def mixed(rows: int) -> pd.DataFrame:
    """Columns of every kind, some values missing, and a signal `y` in them."""
    rng = np.random.default_rng(0)
    number, whole, flag = rng.normal(size=rows), rng.integers(0, 5, rows), rng.random(rows) < 0.5
    colour = rng.choice(["rot", "grün", "синий"], rows).astype(object)
    y = number + 0.5 * whole + np.where(flag, 1.0, -1.0) + np.where(colour == "rot", 1.0, 0.0)
    number[rng.random(rows) < 0.05] = np.nan
    colour[rng.random(rows) < 0.05] = None
    table = pd.DataFrame(
        {ROW_ID: np.arange(rows), SPLIT: "train", "a number": number, "whole": whole, "flag": flag, "colour 色": colour}
    )
    return table.assign(y=y)


def regression(rows: int) -> tuple[pd.DataFrame, TableSchema]:
    table = mixed(rows).rename(columns={"y": TARGET})
    return table, TableSchema(task="regression", target="y", inputs=INPUTS)


def classification(rows: int) -> tuple[pd.DataFrame, TableSchema]:
    table = mixed(rows)
    table[TARGET] = np.where(table.pop("y") > 1, "high", "low")
    return table, TableSchema(task="classification", target="y", inputs=INPUTS, classes=("high", "low"))


def forecasting(rows: int) -> tuple[pd.DataFrame, TableSchema]:
    """An hourly series with a day's season; the inputs are what the features stage makes of it, in small."""
    hours = np.arange(rows + 48)
    y = 20 + 5 * np.sin(hours * 2 * np.pi / 24) + 0.3 * np.random.default_rng(0).normal(size=len(hours))
    now = hours[24 : 24 + rows]
    time = pd.Series(pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(now, unit="h")).astype("datetime64[us, UTC]")
    table = pd.DataFrame({ROW_ID: np.arange(rows), SPLIT: "train", TIME: time, "t": time})
    for lag in (0, 1, 23):
        table[f"y_lag{lag}"] = y[now - lag]
    for horizon in (1, 24):
        table[f"{TARGET}_h{horizon}"] = y[now + horizon]
        table[f"__persistence_h{horizon}"] = y[now]
    inputs = (Column(name="t", kind="time"), *(Column(name=f"y_lag{lag}", kind="number", nullable=True) for lag in (0, 1, 23)))
    targets = (f"{TARGET}_h1", f"{TARGET}_h24")
    schema = TableSchema(
        task="forecasting", target="y", inputs=inputs, targets=targets, horizons=(1, 24), time="t", step_seconds=3600, season=24
    )
    return table, schema


CASES = (
    Case("tabular", "regression", regression),
    Case("tabular", "classification", classification),
    Case("tabular", "forecasting", forecasting),
    Case("vision", "classification", bars),
)
