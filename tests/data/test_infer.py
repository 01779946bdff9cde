"""`aiprime new`: what an unknown file is taken for, and that the draft it writes holds for that very file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from data import infer as door
from data import sources
from data.draft import render
from data.errors import UserError
from data.expectations import QualitySection
from data.guess import duration, rhythm, season
from data.infer import Inferred, infer, render_yaml
from data.places import Places
from data.prepare import prepare
from data.quality import check
from data.section import DataSection, FeaturesSection, check_task, seconds

N = 400
RNG = np.random.default_rng(0)


def frame(**columns: Any) -> pd.DataFrame:
    rows = len(next(iter(columns.values()))) if columns else N
    return pd.DataFrame({"a": RNG.normal(size=rows), "y": RNG.normal(size=rows)} | columns)


@pytest.fixture
def draft(tmp_path: Path):
    """Infer a table written as a file, and hold the YAML to it: it parses, and the table passes its own expectations."""

    def made(df: pd.DataFrame, target: str = "y", name: str = "x.csv", **options: Any) -> Inferred:
        file = tmp_path / name
        df.to_parquet(file) if name.endswith("parquet") else df.to_csv(file, index=False)
        inferred = infer(name, target, root=tmp_path, **options)
        attributes = yaml.safe_load(render_yaml("mine", inferred))["attributes"]
        assert list(attributes) == [
            *("name", "description", "family", "task", "data", "quality", "features", "train", "promote", "serve", "schedule")
        ]
        assert (attributes["data"], attributes["quality"]) == (inferred.data, inferred.quality)
        data = DataSection.model_validate(attributes["data"])
        check_task(attributes["task"], data, FeaturesSection.model_validate(attributes["features"]))
        table = prepare(sources.read(data, Places(root=tmp_path, home=tmp_path)), data)
        report = check(table, data, QualitySection.model_validate(attributes["quality"]))
        assert report.passed, report.broken
        return inferred

    return made


KINDS = {
    "number": [f"{v:.3f}" for v in RNG.normal(size=N)],
    "number?": ["" if i % 7 == 0 else f"{i / 8}" for i in range(N)],
    "integer": [str(i % 50) for i in range(N)],
    "integer?": ["" if i % 9 == 0 else f"{i % 50}.0" for i in range(N)],
    "boolean": ["True" if i % 3 else "False" for i in range(N)],
    "boolean?": ["" if i % 11 == 0 else "true" if i % 3 else "false" for i in range(N)],
    "category": ["rød" if i % 2 else "blå" for i in range(N)],
    "category?": ["" if i % 5 == 0 else "yes" if i % 3 else "no" for i in range(N)],
    "time": [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(N)],
    "time?": ["" if i % 5 == 0 else f"{1 + i % 28}.{1 + i % 12}.2024" for i in range(N)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(draft: Any, kind: str):
    """Every kind is recognised from text, with and without missing values, under a unicode header."""
    inferred = draft(frame(**{"ζ 列": KINDS[kind]}))
    assert inferred.data["columns"]["ζ 列"] == kind
    assert "ignore" not in inferred.data


def test_codes_with_leading_zeros_are_text(draft: Any):
    """Postal codes are names: 01067 is not 1067."""
    assert draft(frame(plz=[f"{1000 + i % 30:05d}" for i in range(N)])).data["columns"]["plz"] == "category"


def test_typed_files_keep_their_types(draft: Any):
    """A Parquet file's own types decide: booleans, times with a zone, integers, categories, decimals."""
    from decimal import Decimal

    df = frame(
        b=RNG.random(N) < 0.5, t=pd.date_range("2024-01-01", periods=N, tz="Europe/Berlin"), n=RNG.integers(0, 9, N),
        c=pd.Categorical(RNG.choice(["u", "v"], N)), d=[Decimal(i) / 4 for i in range(N)],
    )  # fmt: skip
    kinds = draft(df, name="x.parquet").data["columns"]
    assert {k: kinds[k] for k in "btncd"} == {"b": "boolean", "t": "time", "n": "integer", "c": "category", "d": "number"}
    assert draft(df.set_index("a"), name="x.parquet").data["columns"].keys() >= {"a", "y"}


IGNORED = {
    "an id": ([f"K{i:05d}" for i in range(N)], "id"),
    "a shuffled id": (RNG.permutation(N) + 100, "id"),
    "an id by name": (RNG.permutation(N) * 977, "id"),
    "constant": (["FR"] * N, "constant"),
    "no values": ([None] * N, "no values"),
    "free text": ([f"the order {i} came late again and {i * 7 % 13} were missing" for i in range(N)], "free text"),
    "mixed": (["unknown" if i % 9 == 0 else f"{i * 1.5}" for i in range(N)], "mixes numbers with text such as 'unknown'"),
}


@pytest.mark.parametrize("what", IGNORED)
def test_what_a_model_should_not_see(draft: Any, what: str):
    """Ids, constants, empty columns, free text and mixtures are ignored, each with a note that says why."""
    values, why = IGNORED[what]
    inferred = draft(frame(order_id=values))
    assert inferred.data["ignore"] == ["order_id"]
    assert inferred.data["columns"]["order_id"] == "category?"
    assert any("'order_id' is ignored" in note and why in note for note in inferred.notes)


def test_leaks_are_ignored(draft: Any):
    """A column that equals the target, is a straight line of it, or names its classes one to one is taken for a leak."""
    y = RNG.normal(size=N)
    assert draft(frame(y=y, same=y, fahrenheit=y * 1.8 + 32)).data["ignore"] == ["same", "fahrenheit"]
    classes = RNG.choice(["p", "q", "r"], N)
    assert draft(frame(y=classes, code=pd.Series(classes).map({"p": 7, "q": 8, "r": 9}))).data["ignore"] == ["code"]
    assert "ignore" not in draft(frame(y=y, near=y + RNG.normal(size=N))).data


TARGETS = {
    "text": (RNG.choice(["no", "yes"], N, p=[0.95, 0.05]), "classification", "category", ["no", "yes"]),
    "integers as classes": (RNG.integers(0, 3, N), "classification", "category", ["0", "1", "2"]),
    "booleans": (RNG.random(N) < 0.3, "classification", "category", ["False", "True"]),
    "floats as classes": (RNG.integers(0, 2, N).astype(float), "classification", "category", ["0.0", "1.0"]),
    "a quantity": (RNG.integers(0, 5000, N), "regression", "number", None),
    "numbers": (RNG.normal(size=N), "regression", "number", None),
    "missing numbers": (np.where(RNG.random(N) < 0.1, np.nan, RNG.normal(size=N)), "regression", "number?", None),
    "missing classes": (RNG.choice(["a", "b", None], N), "classification", "category?", ["a", "b"]),
}


@pytest.mark.parametrize("what", TARGETS)
def test_the_task_follows_from_the_target(draft: Any, what: str):
    """Classes or a quantity; class names as the table has them; rows without a target are announced."""
    values, task, kind, classes = TARGETS[what]
    inferred = draft(frame(y=values))
    assert (inferred.task, inferred.data["columns"]["y"]) == (task, kind)
    assert inferred.quality["columns"]["y"].get("values") == classes
    assert kind.endswith("?") == any("without a value of 'y' are left out" in note for note in inferred.notes)


def test_infinite_values_count_as_missing(draft: Any):
    """A column with infinities may be missing there, and a note says so."""
    inferred = draft(frame(z=np.where(np.arange(N) % 9 == 0, np.inf, 1.5 * np.arange(N))))
    assert inferred.data["columns"]["z"] == "number?"
    assert any("infinite values of 'z'" in note for note in inferred.notes)


SERIES = {
    "30min": (1500, "30min", 48), "1h": (1500, "h", 168), "4h": (500, "4h", 42), "1d": (400, "D", 7), "7d": (300, "7D", 52),
    "2629746s": (120, "MS", 12), "7889238s": (60, "QS", 4),
}  # fmt: skip


@pytest.mark.parametrize("step", SERIES)
def test_a_series_is_a_forecast(draft: Any, step: str):
    """A number on a regular step is forecast, one step and one season ahead; months and quarters count as regular."""
    rows, freq, length = SERIES[step]
    inferred = draft(frame(y=RNG.normal(size=rows), t=pd.date_range("2020-01-01", periods=rows, freq=freq)), time="t")
    assert (inferred.task, inferred.data["step"]) == ("forecasting", step)
    assert inferred.features == {"horizons": [1, length], "season": length, "history": ["a"]}


def test_series_with_gaps_and_entities(draft: Any):
    """Gaps do not hide the step; a short history gets one step ahead; an entity's ids are text and several series share a step."""
    days = pd.date_range("2024-01-01", periods=60)
    kept = days[np.sort(RNG.choice(60, 45, replace=False))]
    assert draft(frame(y=RNG.normal(size=45), t=kept), time="t").data["step"] == "1d"
    short = draft(frame(y=RNG.normal(size=12), t=days[:12]), time="t")
    assert short.features["horizons"] == [1]
    shops = pd.concat([frame(y=RNG.normal(size=60), t=days, shop=[i] * 60) for i in (1, 2, 3)])
    inferred = draft(shops, time="t", entity="shop")
    assert inferred.data["columns"]["shop"] == "category"
    assert inferred.features["horizons"] == [1, 7]
    assert draft(shops, time="t", entity="shop", horizons=[3]).features["horizons"] == [3]


def test_times_without_a_step(draft: Any):
    """An irregular time is an input of a regression; classes with a time are not forecast unless horizons are asked for."""
    moments = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(RNG.integers(0, 10**8, N)), "s")
    irregular = draft(frame(t=moments), time="t")
    assert (irregular.task, "step" in irregular.data, irregular.features) == ("regression", False, {})
    regular = frame(y=RNG.choice(["up", "down"], N), t=pd.date_range("2024-01-01", periods=N, freq="30min"))
    assert (draft(regular, time="t").features, draft(regular, time="t").task) == ({}, "classification")
    asked = draft(regular, time="t", horizons=[1])
    assert (asked.task, asked.features["horizons"], asked.data["step"]) == ("classification", [1], "30min")


REFUSED: dict[str, tuple[pd.DataFrame, dict[str, Any], str]] = {
    "no such target": (frame(), {"target": "yy"}, "no column 'yy' for the target(.|\n)*did you mean y"),
    "no such time": (frame(), {"time": "day"}, "no column 'day' for the time"),
    "one role twice": (frame(), {"time": "y"}, "must be different columns"),
    "underscores": (frame(__x=[1] * N), {}, "two underscores: __x"),
    "constant target": (frame(y=[1] * N), {}, "has one value only"),
    "empty target": (frame(y=[None] * N), {}, "has no values"),
    "id as target": (frame(y=[f"u{i}" for i in range(N)]), {}, "400 of 400 values are different"),
    "no time in it": (frame(), {"time": "a"}, "'a': holds values that are no time"),
    "several series": (
        frame(t=list(pd.date_range("2024-01-01", periods=N // 2)) * 2, shop=["n"] * (N // 2) + ["s"] * (N // 2)),
        {"time": "t"},
        "200 rows repeat a time of 't'(.|\n)*--entity shop",
    ),
    "repeats within an entity": (
        frame(t=list(pd.date_range("2024-01-01", periods=N // 2)) * 2, shop=["n"] * N),
        {"time": "t", "entity": "shop"},
        "200 rows repeat a time of 't' within one 'shop'",
    ),
    "day or month": (frame(a=[1] * 6, y=range(6), t=["05/06/2024", "07/06/2024", "01/02/2024"] * 2), {"time": "t"}, "may mean"),
    "zones mixed": (frame(t=["2024-01-01T00:00Z", "2024-01-02 00:00"] * (N // 2)), {"time": "t"}, "with and without a time zone"),
    "missing times": (frame(t=["2024-01-01", ""] * (N // 2)), {"time": "t"}, "200 rows have no value in the time"),
    "entity without time that repeats": (
        frame(k=[f"k{i % 7}" for i in range(N)]),
        {"entity": "k"},
        "no time column says which",
    ),
    "horizons without a step": (
        frame(t=pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 10**8, N), "s")), {"time": "t", "horizons": [1]},
        "no regular step",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_meant_is_said(draft: Any, what: str):
    """Wrong names and impossible roles are refused with the next step."""
    df, options, message = REFUSED[what]
    with pytest.raises(UserError, match=message) as caught:
        draft(df, **({"target": "y"} | options))
    assert caught.value.next_step


def test_the_source_is_named_from_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A path seen from the working directory, a glob, and a file outside the project are each found again at every run."""
    root, inside = tmp_path / "project", tmp_path / "project" / "mine"
    inside.mkdir(parents=True)
    frame().to_csv(inside / "a.csv", index=False)
    frame().to_csv(tmp_path / "b.csv", index=False)
    monkeypatch.chdir(inside)
    assert infer("a.csv", "y", root=root).data["source"] == "mine/a.csv"
    assert infer("mine/a.csv", "y", root=root).data["source"] == "mine/a.csv"
    assert infer("../mine/*.csv", "y", root=root).data["source"] == "mine/*.csv"
    assert infer("../../b.csv", "y", root=root).data["source"] == str(tmp_path / "b.csv")


def test_expectations_have_slack(draft: Any):
    """Next month may reach half a span further, and lack somewhat more; half the rows suffice."""
    quality = draft(frame(z=[None if i % 10 == 0 else float(i - 200) for i in range(N)])).quality
    assert quality["rows"] == {"min": N // 2}
    z = quality["columns"]["z"]
    assert -420 <= z["min"] <= -398
    assert 398 <= z["max"] <= 420
    assert z["missing"] == 0.2


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cn")), min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(TEXT, min_size=1, max_size=4, unique=True),
    st.lists(TEXT, max_size=30),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_name_survives_the_yaml(names: list[str], values: list[str], bound: float):
    """Whatever a column or a value is called, the YAML says the same, to YAML 1.1 and to YAML 1.2 readers."""
    from ruamel.yaml import YAML

    data = {"source": names[0], "target": names[0], "columns": dict.fromkeys(names, "category?"), "ignore": names}
    quality = {"rows": {"min": 2}, "columns": {name: {"values": values, "min": bound} for name in names}}
    text = render("x", "classification", "tabular", data, quality, {}, [])
    for loaded in (yaml.safe_load(text), YAML(typ="safe").load(text)):
        assert (loaded["attributes"]["data"], loaded["attributes"]["quality"]) == (data, quality)


@pytest.mark.parametrize("name", ["", "X", "1a", "a-b", "a b", "a" * 42, "ä", "../a", "a\n"])
def test_bad_names_are_refused(name: str):
    """A workload's name is a Python-like name, so that it can be a folder, a stage and an asset's group."""
    with pytest.raises(UserError, match="cannot be a workload's name"):
        render_yaml(name, Inferred(task="regression", family="tabular", data={"columns": {}}, quality={}, features={}))
    with pytest.raises(UserError, match="cannot be a workload's name"):
        door.register(Path(), name, "tabular")


def test_the_index_keeps_its_comments(tmp_path: Path):
    """Adding and removing a workload leaves everything else as a person wrote it; removing what is not there does nothing."""
    index = tmp_path / "orchestration" / "workloads" / "index.yaml"
    index.parent.mkdir(parents=True)
    text = "# the workloads\nworkloads:\n  co2: {family: tabular} # the default\n  digits: {family: vision}\n"
    index.write_text(text)
    door.register(tmp_path, "mine", "tabular")
    assert index.read_text() == text + "  mine: {family: tabular}\n"
    assert door.registered(tmp_path) == {"co2": "tabular", "digits": "vision", "mine": "tabular"}
    door.unregister(tmp_path, "mine")
    door.unregister(tmp_path, "mine")
    assert index.read_text() == text


@given(st.integers(1, 10**8))
def test_a_duration_says_its_seconds(step: int):
    """A step is written so that the section reads the same seconds."""
    assert seconds(duration(step)) == step


@given(st.integers(1, 100_000), st.integers(3, 60), st.integers(1, 5))
def test_rhythm_finds_the_step_in_any_order(step: int, rows: int, series: int):
    """The step of several equal series is found whatever the rows' order."""
    time = np.tile(np.arange(rows) * step * 1_000_000, series)
    entity = np.repeat(np.arange(series), rows)
    order = np.random.default_rng(step).permutation(len(time))
    found = rhythm(time[order], entity[order])
    assert (found.step_seconds, found.length) == (step, rows)


def test_seasons():
    """Half-hours repeat by the day, hours and days by the week, weeks, months and quarters by the year; years do not."""
    steps = {1800: 48, 3600: 168, 86_400: 7, 604_800: 52, 2_629_746: 12, 3 * 2_629_746: 4, 12 * 2_629_746: None, 7: None}
    assert {step: season(step) for step in steps} == steps


@pytest.mark.slow
def test_a_large_file_takes_seconds(tmp_path: Path):
    """100,000 rows x 53 columns of mixed kinds are understood in under 10 s."""
    import time

    n = 100_000
    df = pd.DataFrame(
        {f"n{i}": RNG.normal(size=n) for i in range(30)}
        | {f"c{i}": RNG.choice(["a", "b", "c", ""], n) for i in range(10)}
        | {f"i{i}": RNG.integers(0, 100, n) for i in range(8)}
        | {
            "id": np.arange(n),
            "text": [f"word {i} and some other words" for i in range(n)],
            "hash": [f"{x:x}" for x in RNG.integers(0, 2**60, n)],
        }
        | {
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.integers(0, 10**8, n), "s"),
            "y": RNG.choice(["no", "yes"], n, p=[0.98, 0.02]),
        }
    )
    df.to_csv(tmp_path / "big.csv", index=False)
    began = time.monotonic()
    inferred = infer("big.csv", "y", root=tmp_path)
    assert time.monotonic() - began < 10
    assert inferred.data["ignore"] == ["id", "text", "hash"]


def test_a_table_of_customers_needs_no_time(draft: Any) -> None:
    """One row per entity and no time column: the entity names the row, and each keeps its own."""
    found = draft(frame(customer=[f"K{i:04d}" for i in range(N)]), entity="customer")
    assert found.data["entity"] == "customer"
    assert found.task == "regression"
