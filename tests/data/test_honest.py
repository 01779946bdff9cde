"""Honest files that look leaky: as `aiprime new` drafts them, none raises a critical alarm at the default section."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from data import prepare, sources
from data.examples import sides_of
from data.infer import infer, render_yaml
from data.places import Places
from data.planted import LeaksExpected, PoisonExpected, results
from data.section import DataSection, FeaturesSection

Made = tuple[dict[str, Any], dict[str, Any]]  # what `aiprime new` is told, and the columns
N = 3000


def law(rng: np.random.Generator) -> Made:
    x = rng.normal(size=N)
    return {"target": "y"}, {"x": x, "z": rng.normal(size=N), "y": 3 * x + rng.normal(0, 0.1, N)}


def fuel(rng: np.random.Generator) -> Made:
    km = rng.gamma(3, 60, N).round()
    return {"target": "fuel"}, {"km": km, "fuel": (0.065 * km + rng.normal(0, 0.25, N)).round(1)}


def sensor(rng: np.random.Generator) -> Made:
    t = np.arange(4000) * 10.0
    temperature = (20 + 10 * np.sin(t / 4000) + rng.normal(0, 0.2, len(t))).round(2)
    return {"target": "temp"}, {"t_s": t, "fan": rng.integers(0, 2, len(t)), "temp": temperature}


def meter(rng: np.random.Generator) -> Made:
    return {"target": "kwh"}, {"t_s": np.arange(N) * 10.0, "fan": rng.integers(0, 2, N), "kwh": np.cumsum(rng.gamma(3, 1, N))}


def bookings(rng: np.random.Generator) -> Made:
    at = pd.Timestamp("2023-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 400 * 86400, 2000)), unit="s")
    checkin = (at + pd.to_timedelta(rng.integers(1, 90, 2000), unit="D")).normalize()
    rest = {"guests": rng.integers(1, 5, 2000), "price": rng.gamma(3, 40, 2000).round(2)}
    cancelled = np.where(rng.random(2000) < 0.3, "yes", "no")
    return {"target": "cancelled", "time": "booked_at"}, {"booked_at": at, "checkin": checkin, **rest, "cancelled": cancelled}


def contracts(rng: np.random.Generator) -> Made:
    at = pd.Timestamp("2015-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 3000, 5000)), unit="D")
    end = at + pd.to_timedelta(rng.choice([365, 730], 5000), unit="D")
    rest = {"fee": rng.gamma(3, 20, 5000).round(2), "churned": np.where(rng.random(5000) < 0.2, "yes", "no")}
    return {"target": "churned", "time": "signed"}, {"signed": at, "contract_end": end, **rest}


def forecast(rng: np.random.Generator) -> Made:
    n, hours = 6000, np.arange(6024)
    true = 12 + 8 * np.sin(hours / 8766 * 2 * np.pi) + 5 * np.sin(hours / 24 * 2 * np.pi)
    true += np.convolve(rng.normal(0, 0.3, len(hours) + 199), np.ones(200) / 14, "valid")
    stated = (true[24:] + rng.normal(0, 0.35, n)).round(2)
    columns = {"temp": (true[:n] + rng.normal(0, 0.1, n)).round(2), "temp_forecast_24h": stated}
    return {"target": "temp", "time": "at", "horizons": [24]}, {
        "at": pd.date_range("2022-01-01", periods=n, freq="h"),
        **columns,
    }


def shop(rng: np.random.Generator) -> Made:
    price = rng.lognormal(3, 0.6, N).round(2)
    returned = np.where(rng.random(N) < 0.12, "yes", "no")
    euros = {"price_usd": price, "price_eur": (price * 0.92).round(2)}
    return {"target": "returned"}, {**euros, "qty": rng.integers(1, 5, N), "returned": returned}


HONEST: dict[Callable[..., Made], set[tuple[str, str | None]]] = {  # and the warnings that remain: kind, column
    law: {("leaks_copy", "x")},
    fuel: {("leaks_copy", "km")},
    sensor: {("leaks_copy", "t_s")},
    meter: {("leaks_copy", "t_s")},
    bookings: {("leaks_later", "checkin")},
    contracts: {("leaks_later", "contract_end")},
    forecast: {("leaks_ahead", "temp_forecast_24h")},
    shop: set(),
}


def judged(made: Made, folder: Path, leak: LeaksExpected | None = None) -> list[dict[str, Any]]:
    """The results of the looks, of the file as `aiprime new` drafts its workload."""
    told, columns = made
    pd.DataFrame(columns).to_csv(folder / "x.csv", index=False)
    drafted = yaml.safe_load(render_yaml("mine", infer("x.csv", root=folder, **told)))["attributes"]
    data = DataSection.model_validate(drafted["data"])
    features = FeaturesSection.model_validate(drafted["features"])
    df = prepare.prepare(sources.read(data, Places(root=folder, home=folder)), data)
    sides = sides_of(df, data, features, None)
    return results(df, drafted["task"], data, features, sides, leak or LeaksExpected(), PoisonExpected())[0]


@pytest.mark.parametrize("make", HONEST, ids=lambda make: make.__name__)
@pytest.mark.parametrize("seed", [0, 1])
def test_an_honest_file_is_not_stopped(tmp_path: Path, make: Callable[..., Made], seed: int):
    """A law, a meter, a clock, a planned date, a forecast and two currencies: no critical alarm, and only the warnings named here."""
    broken = [row for row in judged(make(np.random.default_rng(seed)), tmp_path) if not row["passed"]]
    assert [row for row in broken if row["severity"] == "critical"] == []
    assert {(row["expectation"], row["column"]) for row in broken} == HONEST[make]


def test_who_names_the_kind_is_stopped_by_a_suspicion_too(tmp_path: Path):
    """`kinds: {copy: critical}` holds for what is not certain as well."""
    made = law(np.random.default_rng(0))
    broken = [row for row in judged(made, tmp_path, LeaksExpected(kinds={"copy": "critical"})) if not row["passed"]]
    assert [(row["column"], row["severity"]) for row in broken] == [("x", "critical")]


@pytest.mark.parametrize("make", [law, fuel], ids=lambda make: make.__name__)
def test_near_twins_in_such_a_file_are_found(tmp_path: Path, make: Callable[..., Made]):
    """A third of the rows once more, a little off, is seen where numbers are apart; where every column tells the others it cannot be."""
    rng = np.random.default_rng(0)
    told, columns = make(rng)
    again = {name: np.concatenate([v, v[: N // 3] + rng.normal(0, 1e-5, N // 3)]) for name, v in columns.items()}
    broken = {
        row["expectation"] for row in judged((told, again), tmp_path) if not row["passed"] and row["severity"] == "critical"
    }
    assert broken == ({"leaks_repeated"} if make is law else set())


def test_labels_that_nothing_predicts(tmp_path: Path):
    """Random labels are not called contradicted: the report says that nothing predicts them, so wrong ones cannot be seen."""
    for make in (bookings, contracts, shop):
        (label,) = [row for row in judged(make(np.random.default_rng(0)), tmp_path) if row["expectation"] == "poison_label"]
        assert label["observed"] == "nothing predicts the labels, so wrong ones cannot be seen"
        assert label["passed"]
