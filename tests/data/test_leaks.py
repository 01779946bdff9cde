"""Planted leaks are found, each by its kind and column; the shipped tables and honest series are left in peace."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from assets.spec import Spec, load
from data import leaks, poison, prepare, sources, split
from data.cells import PIXELS, pixels
from data.examples import sides_of
from data.places import Places
from data.section import DataSection, FeaturesSection

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(5)
needs_data = pytest.mark.skipif("AIPRIME_DATA" not in os.environ, reason="not run: no AIPRIME_DATA")
TABLES = ["co2", "co2_raw", "digits", pytest.param("bikes", marks=needs_data), pytest.param("elec2", marks=needs_data)]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A shipped workload's section and canonical table, read once."""
    read: dict[str, tuple[Spec, pd.DataFrame]] = {}
    places = Places(root=ROOT, home=tmp_path_factory.mktemp("home"))

    def of(name: str) -> tuple[Spec, pd.DataFrame]:
        if name not in read:
            spec = load(places, name)
            read[name] = spec, prepare.prepare(sources.read(spec.data, places), spec.data)
        return read[name]

    return of


def found(df: pd.DataFrame, task: Any, data: DataSection, features: FeaturesSection, **asked: Any) -> set[tuple[str, str]]:
    """(kind, columns) of what is suspected."""
    sides = sides_of(df, data, features, None)
    return {(one.kind, "+".join(one.columns)) for one in leaks.find(df, task, data, features, sides, **asked)}


def certain(df: pd.DataFrame, task: Any, data: DataSection, features: FeaturesSection) -> set[tuple[str, str]]:
    """(kind, columns) of what no honest column could show: critical by default, where the others are warnings."""
    sides = sides_of(df, data, features, None)
    return {(one.kind, "+".join(one.columns)) for one in leaks.find(df, task, data, features, sides) if one.certain}


def planted(spec: Spec, df: pd.DataFrame, values: Any, kind: str = "number", look: Any = found) -> set[tuple[str, str]]:
    """What is found where `values` are shown to the model as the column `leak`."""
    data = spec.data.model_copy(update={"columns": {**spec.data.columns, "leak": kind}})
    series = bool(spec.features.horizons)
    features = spec.features.model_copy(update={"known": (*spec.features.known, "leak")}) if series else spec.features
    return look(df.assign(leak=values), spec.task, data, features)


@pytest.mark.parametrize("name", TABLES)
def test_the_shipped_tables_have_none(tables: Any, name: str):
    """No false alarm on co2, co2_raw, bikes, elec2 and digits."""
    spec, df = tables(name)
    assert found(df, spec.task, spec.data, spec.features) == set()


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("how", ["equal", "affine", "monotone", "curved", "nearly", "coded"])
def test_a_copy_of_the_target_is_found(tables: Any, name: str, how: str):
    """The target itself, scaled, bent, with a percent of noise, or coded as classes, in every shipped table; all but the noisy is certain."""
    spec, df = tables(name)
    y = df[spec.data.target]
    number = pd.Series(pd.factorize(y, sort=True)[0] if spec.task == "classification" else y, dtype=float)
    noise = RNG.normal(0, 0.01 * number.std(), len(df))
    values: dict[str, Any] = {
        "equal": number,
        "affine": -2.5 * number + 7,
        "monotone": np.exp((number - number.mean()) / number.std()),
        "curved": np.sin((number - number.min()) / (number.max() - number.min()) * 4),  # up and down again
        "nearly": number + noise,
        "coded": number.map(lambda v: None if v != v else f"c{v * 7919 % 1.9:.9f}{v}").astype(object),
    }
    if how == "curved" and spec.task != "classification":
        values[how] = values["monotone"] ** 2  # a curve that turns back tells a number only half
    kind = "category" if how == "coded" else "number"
    assert ("copy", "leak") in planted(spec, df, values[how], kind)
    assert (("copy", "leak") in planted(spec, df, values[how], kind, certain)) == (
        how != "nearly"
    )  # a warning: a law could be so strong


@needs_data
def test_casual_and_registered_riders_are_all_riders(tables: Any):
    """Columns that add up to the target are found together; ignored, they are none of the model's inputs."""
    spec, df = tables("bikes")
    keep = ("cnt", "casual", "registered", "temp", "hum")
    data = DataSection(source="x", target="cnt", columns={name: spec.data.columns[name] for name in keep})
    kinds = dict(found(df[list(keep)], "regression", data, FeaturesSection()))
    assert kinds["sum"] == "casual+registered"
    assert ("sum", "casual+registered") in certain(df[list(keep)], "regression", data, FeaturesSection())
    ignoring = data.model_copy(update={"ignore": ("casual", "registered")})
    assert found(df[list(keep)], "regression", ignoring, FeaturesSection()) == set()


@pytest.mark.parametrize("name", ["co2", pytest.param("bikes", marks=needs_data), pytest.param("elec2", marks=needs_data)])
def test_the_past_is_no_leak_and_the_future_is(tables: Any, name: str):
    """Lags and means of a persistent series may be shown; the same columns moved ahead may not."""
    spec, df = tables(name)
    number = pd.Series(
        pd.factorize(df[spec.data.target], sort=True)[0] if spec.task == "classification" else df[spec.data.target]
    )
    for steps in (1, 2, 4):
        assert planted(spec, df, number.astype(float).shift(steps)) == set()
        data = spec.data.model_copy(update={"columns": {**spec.data.columns, "leak": "number"}})
        features = spec.features.model_copy(update={"history": (*spec.features.history, "leak")})
        ahead = df.assign(leak=number.astype(float).shift(-steps))
        assert found(ahead, spec.task, data, features) == {("ahead", "leak")}
        assert certain(ahead, spec.task, data, features) == {("ahead", "leak")}
    assert planted(spec, df, number.astype(float).shift(1).rolling(5, min_periods=1).mean()) == set()


def rows(n: int = 2000, **columns: Any) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table of numbers and a class, and its columns' kinds."""
    x = RNG.normal(size=(n, 3))
    label = np.where(x[:, 0] + 0.5 * x[:, 1] + RNG.normal(0, 0.7, n) > 0, "yes", "no")
    df = pd.DataFrame({f"x{i}": x[:, i] for i in range(3)} | {"y": label.astype(object)} | columns)
    return df, {f"x{i}": "number" for i in range(3)} | {"y": "category"}


def test_where_a_value_is_missing_can_be_the_leak():
    """A column that is empty just where the class is one is found, whatever its values are."""
    df, kinds = rows()
    df["filled"] = np.where(df["y"] == "yes", RNG.normal(size=len(df)), np.nan)
    data = DataSection(source="x", target="y", columns={**kinds, "filled": "number?"})
    assert found(df, "classification", data, FeaturesSection()) == {("missing", "filled")}
    assert certain(df, "classification", data, FeaturesSection()) == {("missing", "filled")}
    df["filled"] = np.where(RNG.random(len(df)) < 0.5, RNG.normal(size=len(df)), np.nan)
    assert found(df, "classification", data, FeaturesSection()) == set()


def test_a_time_that_is_later_than_its_row():
    """A time among the inputs that lies after the row's own is found; certain where others lie before, for then it is no plan."""
    df, kinds = rows(at=pd.date_range("2024-01-01", periods=2000, freq="h", tz="UTC"))
    data = DataSection(source="x", target="y", time="at", columns={**kinds, "at": "time", "closed": "time?"})
    for after, said in (("2h", {("later", "closed")}), ("-2h", set())):
        closed = (df["at"] + pd.Timedelta(after)).where(df.index % 3 > 0)
        assert found(df.assign(closed=closed), "classification", data, FeaturesSection()) == said
        assert certain(df.assign(closed=closed), "classification", data, FeaturesSection()) == set()
    mixed = df["at"] + pd.to_timedelta(np.where(RNG.random(len(df)) < 0.3, 5, -5), unit="h")
    assert certain(df.assign(closed=mixed), "classification", data, FeaturesSection()) == {("later", "closed")}
    days = df["at"].dt.normalize() + pd.to_timedelta(
        RNG.integers(0, 4, len(df)), unit="D"
    )  # a booking for the same day is a plan
    assert certain(df.assign(closed=days), "classification", data, FeaturesSection()) == set()


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_test_rows_among_the_training_rows(noise: float):
    """A twentieth of the holdout's rows, copied into earlier times exactly or nearly, are found; without a time, near copies too."""
    df, kinds = rows(at=pd.date_range("2024-01-01", periods=2000, freq="h", tz="UTC"))
    numbers = ["x0", "x1", "x2"]
    data = DataSection(source="x", target="y", time="at", columns={**kinds, "at": "time"})
    assert found(df, "classification", data, FeaturesSection()) == set()
    made = df.copy()
    made.loc[:14, [*numbers, "y"]] = df.iloc[-15:][[*numbers, "y"]].to_numpy()
    made[numbers] = made[numbers].astype(float) + noise * RNG.normal(size=(len(df), 3))
    assert found(made, "classification", data, FeaturesSection()) == {("repeated", "")}
    if noise:
        plain = DataSection(source="x", target="y", columns=kinds)
        once = pd.concat([df, df.tail(400).assign(x0=lambda d: d["x0"] + noise)], ignore_index=True).drop(columns="at")
        assert ("repeated", "") in found(once, "classification", plain, FeaturesSection())


@pytest.mark.parametrize("name", ["co2", pytest.param("bikes", marks=needs_data), pytest.param("elec2", marks=needs_data)])
def test_a_stretch_of_a_series_that_is_there_twice(tables: Any, name: str):
    """Sixty newest rows that were written over an earlier stretch too are found in every shipped series."""
    spec, df = tables(name)
    made, columns = df.copy(), [c for c in df.columns if c not in {spec.data.time, spec.data.entity}]
    for column in columns:
        values = made[column].to_numpy(copy=True)
        values[200:260] = values[-60:]
        made[column] = values
    assert ("repeated", "") in found(made, spec.task, spec.data, spec.features)


def test_images_twice_and_labels_in_pixels(tables: Any):
    """Digits that are on both sides, nearly alike, and a pixel that states the label, are found."""
    spec, df = tables("digits")
    again = df.sample(200, random_state=1).assign(image=lambda d: d["image"].map(lambda one: one + np.float32(1e-5)))
    both = pd.concat([df, again], ignore_index=True)
    assert ("repeated", "") in found(both, spec.task, spec.data, spec.features)
    marked = [one.copy() for one in df["image"]]
    for one, label in zip(marked, df["digit"], strict=True):
        one[0] = int(label) / 10
    assert ("copy", "image") in found(df.assign(image=pd.Series(marked, dtype=object)), spec.task, spec.data, spec.features)


def test_a_group_on_both_sides():
    """A column whose values are declared to be on one side is looked at; patients apart are no leak."""
    df, kinds = rows(at=pd.date_range("2024-01-01", periods=2000, freq="h", tz="UTC"))
    data = DataSection(
        source="x", target="y", time="at", ignore=("patient",), columns={**kinds, "at": "time", "patient": "category"}
    )
    mixed = df.assign(patient=[f"p{i % 50}" for i in range(len(df))])
    apart = df.assign(patient=[f"p{i // 20}" for i in range(len(df))])
    asked = {"groups": ("patient",)}
    assert found(mixed, "classification", data, FeaturesSection(), **asked) == {("group", "patient")}
    assert found(apart, "classification", data, FeaturesSection(), **asked) == set()


@pytest.mark.parametrize("seed", range(8))
def test_honest_tables_raise_no_alarm(seed: int):
    """Strong but honest columns, unbalanced classes, repeated categories and a trend are no leaks."""
    rng = np.random.default_rng(seed)
    n = 1500
    x = rng.normal(size=(n, 4))
    strong = x[:, 0] * 3 + rng.normal(0, 0.6, n)  # tells 96 % of x0
    df = pd.DataFrame(
        {"strong": strong, "size": rng.integers(1, 6, n).astype(float), "kind": rng.choice(["a", "b"], n).astype(object)}
    )
    df["row"] = np.arange(n, dtype=float)
    kinds = {"strong": "number", "size": "number", "kind": "category", "row": "number"}
    data = DataSection(source="x", target="y", columns={**kinds, "y": "number"})
    assert found(df.assign(y=x[:, 0]), "regression", data, FeaturesSection()) == set()
    rare = data.model_copy(update={"columns": {**kinds, "y": "category"}})
    label = np.where(rng.random(n) < 0.02, "yes", "no").astype(object)
    assert found(df.assign(y=label), "classification", rare, FeaturesSection()) == set()
    timed = DataSection(source="x", target="y", time="at", columns={**kinds, "at": "time", "y": "number"})
    walk = np.cumsum(rng.normal(size=n)) + np.arange(n)  # a random walk with a trend, and the row's number beside it
    at = pd.date_range("2024-01-01", periods=n, freq="D", tz="UTC")
    lagged = df.assign(y=walk, at=at, strong=pd.Series(walk).shift(1).bfill())
    assert found(lagged, "regression", timed, FeaturesSection()) == set()


def test_large_images_are_looked_at_within_a_bound(monkeypatch: pytest.MonkeyPatch):
    """Of images of 192 x 192 x 3 at most 4,096 pixels become numbers in either look, and twins are found."""
    images = [RNG.random(192 * 192 * 3).astype("float32") for _ in range(90)]
    df = pd.DataFrame(
        {"image": pd.Series(images + images[:30], dtype=object), "y": pd.Series(["a", "b", "c"] * 40, dtype=object)}
    )
    data = DataSection(source="x", target="y", columns={"image": "image[192,192,3]", "y": "category"})
    sides = np.where(np.arange(len(df)) < 90, split.TRAIN, split.HOLDOUT)
    seen: list[int] = []

    def guess(x: np.ndarray, labels: np.ndarray, *, linear: bool) -> np.ndarray:
        seen.append(x.shape[1])
        return np.full((len(labels), 3), 1 / 3)

    monkeypatch.setattr(poison, "_out_of_fold", guess)
    assert {one.kind for one in leaks.find(df, "classification", data, FeaturesSection(), sides)} == {"repeated"}
    (labels,) = poison.find(df, "classification", data)
    assert "nothing predicts" in labels.said
    assert 2000 < seen[0] <= PIXELS
    assert pixels(df["image"].to_numpy()).shape == (120, seen[0])


@pytest.mark.slow
def test_a_large_table_takes_seconds():
    """300,000 rows of twenty columns are looked through in under 30 s of CPU (a million: docs/log.md), on a sample that does not grow."""
    n = 300_000
    df = pd.DataFrame({f"x{i}": RNG.normal(size=n) for i in range(19)} | {"y": RNG.normal(size=n)})
    df["at"] = pd.date_range("2020-01-01", periods=n, freq="min", tz="UTC")
    data = DataSection(
        source="x", target="y", time="at", columns={**{f"x{i}": "number" for i in range(19)}, "y": "number", "at": "time"}
    )
    began = time.process_time()
    assert found(df, "regression", data, FeaturesSection()) == set()
    assert time.process_time() - began < 30
