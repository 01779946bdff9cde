"""Files nobody here has seen: `aiprime new`, a run, an answer. No Python written."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own-data"), pytest.mark.timeout(600)]
N = 1200


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = make_project(tmp_path_factory.mktemp("own"))
    try:
        yield made
    finally:
        made.aiprime("down", check=False)


def churn(rng: np.random.Generator) -> pd.DataFrame:
    """Binary, unbalanced, with missing values, booleans, dates, an id, a constant and unicode headers."""
    age = rng.normal(45, 12, N)
    plan = rng.choice(["basic", "plus", "professionnel"], N)
    score = 0.08 * (age - 45) + (plan == "basic") * 1.5 - 2.2 + rng.normal(0, 0.5, N)
    table = pd.DataFrame(
        {
            "kunden_nr": [f"K{i:06d}" for i in range(N)],
            "âge": age.round(1),
            "契約": plan,
            "actif": rng.random(N) < 0.7,
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, N), "D"),
            "pays": "FR",
            "umsatz €": rng.gamma(2, 40, N).round(2),
            "left": np.where(score > 0, "yes", "no"),
        }
    )
    table.loc[rng.random(N) < 0.1, "âge"] = np.nan
    table.loc[rng.random(N) < 0.05, "契約"] = None
    return table


def wine(rng: np.random.Generator) -> pd.DataFrame:
    """Three classes coded as integers."""
    kind = rng.integers(0, 3, N)
    return pd.DataFrame({f"x{i}": rng.normal(kind * (i % 3), 1.0) for i in range(8)} | {"grade": kind})


def houses(rng: np.random.Generator) -> pd.DataFrame:
    """Regression with categories and missing numbers."""
    area, town = rng.uniform(30, 250, N), rng.choice(["A", "B", "C", "D"], N)
    price = 2000 * area + np.select([town == "A", town == "B"], [90_000, 30_000], 0) + rng.normal(0, 15_000, N)
    table = pd.DataFrame({"area": area, "town": town, "floor": rng.integers(0, 9, N), "price": price.round()})
    table.loc[rng.random(N) < 0.2, "floor"] = np.nan
    return table


def shops(rng: np.random.Generator) -> pd.DataFrame:
    """A daily series of three shops: a forecast by entity."""
    days = pd.date_range("2022-01-01", periods=400, freq="D")
    parts = []
    for shop, level in (("north", 100), ("south", 60), ("östlich", 30)):
        weekly = 1 + 0.3 * np.sin(2 * np.pi * days.dayofweek.to_numpy() / 7)
        parts.append(
            pd.DataFrame({"day": days, "shop": shop, "sales": (level * weekly + rng.normal(0, 3, len(days))).round(1)})
        )
    return pd.concat(parts)


def river(rng: np.random.Generator) -> pd.DataFrame:
    """A daily series with no entity."""
    days = pd.date_range("2021-01-01", periods=700, freq="D")
    level = 50 + 10 * np.sin(2 * np.pi * np.arange(700) / 7) + rng.normal(0, 1, 700)
    return pd.DataFrame({"tag": days.strftime("%Y-%m-%d"), "pegel": level.round(2)})


CASES: dict[str, tuple[Callable[[np.random.Generator], pd.DataFrame], list[str], str]] = {
    "churn": (churn, ["--target", "left"], "label"),
    "wine": (wine, ["--target", "grade"], "label"),
    "houses": (houses, ["--target", "price"], "prediction"),
    "shops": (shops, ["--target", "sales", "--time", "day", "--entity", "shop"], "forecast"),
    "river": (river, ["--target", "pegel", "--time", "tag"], "forecast"),
}


IN_ONE_PROCESS = """
import json, sys
from data.places import Places
from orchestration import opening, running

places = Places.find()
opening.prepare(places)
outcomes = [running.run(places, name) for name in sys.argv[1:]]
print(json.dumps({one.workload: one.failed and one.said for one in outcomes}))
"""


@pytest.fixture(scope="module")
def brought(project: Project) -> dict[str, pd.DataFrame]:
    """The cases' tables, each now a workload that is up to date: the first by the command, the others one after the other in one process."""
    tables = {name: make(np.random.default_rng(7)) for name, (make, _, _) in CASES.items()}
    (project.places.root / "mine").mkdir()
    for name, (_, options, _) in CASES.items():
        tables[name].to_csv(project.places.root / "mine" / f"{name}.csv", index=False)
        project.aiprime("new", name, "--csv", f"mine/{name}.csv", *options)
    first, *others = CASES
    outcome = project.json("run", first, "--json")
    assert outcome["failed"] is None, outcome["said"]
    done = project.python("-c", IN_ONE_PROCESS, *others, timeout=500)
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(others), done.stdout
    return tables


@pytest.mark.parametrize("name", CASES)
def test_a_file_becomes_an_endpoint(project: Project, brought: dict[str, pd.DataFrame], name: str):
    """The file is understood, trained on, passes its gate, and the endpoint answers a row of it."""
    _, _, answered = CASES[name]
    rows = project.places.root / "mine" / f"{name}.rows.csv"
    brought[name].tail(3).to_csv(rows, index=False)
    answers = [json.loads(line) for line in project.aiprime("predict", name, "--csv", str(rows)).stdout.splitlines()]
    assert len(answers) == 3
    assert all(answered in answer for answer in answers)


def test_next_months_rows_enter_by_a_file(project: Project):
    """A glob is read again at each run: a file that is added brings its rows."""
    folder = project.places.root / "months"
    folder.mkdir()
    table = houses(np.random.default_rng(1))
    table.iloc[:700].to_csv(folder / "2024-01.csv", index=False)
    project.aiprime("new", "months", "--csv", "months/*.csv", "--target", "price")
    first = project.json("run", "months", "--until", "dataset", "--json")
    assert first["stages"]["dataset"]["dagster/row_count"] == 700
    table.iloc[700:].to_csv(folder / "2024-02.csv", index=False)
    second = project.json("run", "months", "--until", "dataset", "--json")
    assert second["stages"]["dataset"]["dagster/row_count"] == N


def test_bad_data_stops_before_training(project: Project):
    """A renamed column, and values far outside, stop the run with a message that says which; nothing is registered."""
    folder = project.places.root / "bad"
    folder.mkdir()
    table = houses(np.random.default_rng(2))
    file = folder / "houses.csv"
    table.to_csv(file, index=False)
    project.aiprime("new", "bad", "--csv", "bad/houses.csv", "--target", "price")
    project.aiprime("run", "bad", "--until", "dataset")
    table.rename(columns={"area": "surface"}).to_csv(file, index=False)
    renamed = project.aiprime("run", "bad", check=False)
    assert renamed.returncode == 1
    assert "area" in renamed.stdout
    assert "surface" in renamed.stdout
    broken = table.copy()
    broken.loc[:5, "area"] = -1e9
    broken.to_csv(file, index=False)
    out_of_range = project.aiprime("run", "bad", check=False)
    assert out_of_range.returncode == 1
    assert "area" in out_of_range.stdout
    assert (project.places.home / "quality" / "bad" / "failed_rows.csv").is_file()
    assert not (project.places.home / "models" / "bad").exists()


def test_remove_takes_it_out(project: Project, brought: dict[str, pd.DataFrame]):
    """A removed workload serves no more and is not listed; the others are."""
    project.aiprime("remove", "wine", "--yes")
    listed = {row["name"] for row in project.json("workloads", "--json")}
    assert "wine" not in listed
    assert {"churn", "houses"} <= listed
    done = project.aiprime("predict", "wine", "--json", "{}", check=False)
    assert done.returncode == 1
