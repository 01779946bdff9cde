"""Planted rows are noticed with a known recall, clean tables are left in peace, and the YAML decides what follows."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import poisoning
from data import poison
from data.errors import UserError
from data.examples import sides_of
from data.planted import LeaksExpected, PoisonExpected, results
from data.section import DataSection, FeaturesSection

TABLES = ["co2", "digits", *(["bikes", "elec2"] if "AIPRIME_DATA" in os.environ else [])]


@pytest.fixture(scope="module", params=TABLES)
def shipped(request: pytest.FixtureRequest) -> poisoning.Table:
    return poisoning.workload(request.param)


def looked(table: poisoning.Table, leak: LeaksExpected | None = None, **planted: Any) -> list[dict[str, Any]]:
    df, task, data = table
    sides = sides_of(df, data, FeaturesSection(), None)
    return results(df, task, data, FeaturesSection(), sides, leak or LeaksExpected(severity="off"), PoisonExpected(**planted))[
        0
    ]


def test_the_shipped_tables_pass(shipped: poisoning.Table):
    """With the default limits no shipped table looks planted."""
    assert [row for row in looked(shipped) if not row["passed"]] == []


@pytest.mark.parametrize(("kind", "share", "least"), [("flips", 0.1, 0.7), ("trigger", 0.02, 0.95)])
def test_planted_digits_are_named(kind: str, share: float, least: float, track: Callable[..., None]):
    """Of a tenth of wrong labels most are named, of images with a planted corner nearly all, and few others with them."""
    table = poisoning.workload("digits")
    said, plant, _ = poisoning.KINDS[kind]
    made, rows = plant(table[0], table[2], share, np.random.default_rng(3))
    named, of = poisoning.look((made, *table[1:]), said)
    right, others = len(named & {*rows.tolist()}), len(named - {*rows.tolist()})
    assert right >= least * len(rows)
    assert others <= 0.02 * of
    told = f"{right} named (recall {right / len(rows):.0%}), and {others} of {of - len(rows):,} others"
    track(row=41, what=f"{kind}, {share:.0%} of digits", seeds=3, injections=len(rows), lost=0, said=told)


def test_outliers_of_a_column_and_of_a_series(track: Callable[..., None]):
    """Values far out are named by column; in a series also those that only their neighbours in time give away; a long tail is none."""
    df, task, data = poisoning.prices()
    made, rows = poisoning.outlying(df, data, 0.01, np.random.default_rng(3))
    named, _ = poisoning.look((made, task, data), "outlier")
    clean, _ = poisoning.look((df, task, data), "outlier")
    right = len(named & {*rows.tolist()})
    assert right >= 0.7 * len(rows)
    told = f"{right} named (recall {right / len(rows):.0%}), and {len(named) - right} of {len(df) - len(rows):,} others"
    track(row=41, what="outliers, 1% of prices", seeds=3, injections=len(rows), lost=0, said=told)
    assert len(clean) <= 0.005 * len(df)
    df, task, data = poisoning.workload("co2")
    spiked = df["co2"].to_numpy(copy=True)
    spiked[[300, 700, 1100]] += [9.0, -9.0, 9.0]  # inside the range of the whole series
    found = poison.find(df.assign(co2=spiked), task, data)
    assert {*np.concatenate([one.rows for one in found]).tolist()} == {300, 700, 1100}


def test_what_follows_is_the_yaml_s():
    """More than is accepted warns, stops where it is critical, and shows the rows; off, nothing is looked at."""
    df, task, data = poisoning.workload("digits")
    made, rows = poisoning.flipped(df, data, 0.3, np.random.default_rng(1))
    for severity in ("warning", "critical"):
        (broken,) = [row for row in looked((made, task, data), severity=severity) if not row["passed"]]
        assert (broken["check"], broken["column"], broken["severity"]) == ("poison", "digit", severity)
        assert 0.2 < broken["unexpected_percent"] / 100 < 0.4
    assert looked((made, task, data), severity="off") == []
    assert all(row["passed"] for row in looked((made, task, data), labels=0.5))
    sides = sides_of(made, data, FeaturesSection(), None)
    _, failing = results(made, task, data, FeaturesSection(), sides, LeaksExpected(), PoisonExpected())
    assert failing is not None
    assert {*(failing["__row"] - 1)} & {*rows.tolist()}


def test_a_leak_stops_unless_a_reason_is_given():
    """A copy of the target is critical; a column that is allowed with a reason passes and says so; unknown columns are refused."""
    df, task, data = poisoning.moons()
    copied = df.assign(copy=df["y"])
    data = data.model_copy(update={"columns": {**data.columns, "copy": "category"}})
    (broken,) = [row for row in looked((copied, task, data), LeaksExpected(), severity="off") if not row["passed"]]
    assert (broken["check"], broken["column"], broken["severity"]) == ("leaks", "copy", "critical")
    allowed = LeaksExpected(allow={"copy": "the clerk enters it the evening before"})
    passed = [row for row in looked((copied, task, data), allowed, severity="off") if row["expectation"] == "leaks_copy"]
    assert [(row["passed"], row["observed"]) for row in passed] == [
        (True, "allowed: copy: the clerk enters it the evening before")
    ]
    warned = looked((copied, task, data), LeaksExpected(kinds={"copy": "warning"}), severity="off")
    assert [row["severity"] for row in warned if not row["passed"]] == ["warning"]
    with pytest.raises(UserError, match=r"not in data\.columns: nobody"):
        looked((copied, task, data), LeaksExpected(allow={"nobody": "there is no such column"}))
    with pytest.raises(ValueError, match="at least 10 characters"):
        LeaksExpected(allow={"copy": "because"})


def test_a_table_too_small_or_of_one_class_says_nothing():
    """A handful of rows, a rare class, and a table without inputs are left alone."""
    df, _, data = poisoning.moons()
    assert poison.find(df.head(50), "classification", data) == []
    rare = df.assign(y=np.where(np.arange(len(df)) < 3, "yes", "no").astype(object))
    assert [one for one in poison.find(rare, "classification", data) if one.kind == "label"] == []
    alone = DataSection(source="x", target="y", columns={"y": "category"})
    assert poison.find(df[["y"]], "classification", alone) == []
