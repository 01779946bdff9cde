"""From versioned data to an answering endpoint, as a person does it: the `aiprime` command, real servers, real data."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from serving.cards import Card, completeness
from serving.ledger import Ledger
from tests.conftest import ROOT, Project
from tests.end_to_end.browser import browser

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("lifecycle"), pytest.mark.timeout(600)]


def ask(project: Project, workload: str, instance: object) -> dict[str, object]:
    gateway = json.loads((project.places.home / "services.json").read_text())["gateway"]
    body = json.dumps({"instances": [instance]}).encode()
    request = urllib.request.Request(f"{gateway}/v1/models/{workload}:predict", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())["predictions"][0]


def test_the_endpoint_forecasts_by_entity(lived: Project):
    """One request that names the station is answered with a forecast for every horizon, each later than the last known week."""
    forecast = ask(lived, "co2", {"station": "mauna-loa"})["forecast"]
    assert [one["horizon"] for one in forecast] == [4, 52]
    assert all(340 < one["prediction"] < 370 for one in forecast)
    assert forecast[0]["time"] < forecast[1]["time"]


def test_unchanged_work_is_skipped(lived: Project):
    """A second run fits nothing, registers nothing and leaves the version serving."""
    before = lived.json("status", "--json")["workloads"]
    outcome = lived.json("run", "co2", "--json")
    assert outcome["failed"] is None
    assert [stage for stage, told in outcome["stages"].items() if told.get("ran")] == []
    assert lived.json("status", "--json")["workloads"] == before


def test_the_terminal_finds_done_what_dagster_did(lived: Project):
    """`dvc repro` after `aiprime run` runs nothing but the fingerprint; `dvc metrics show` and `dvc plots show` answer."""
    done = lived.python("-m", "dvc", "repro", "model@co2", "evaluation@co2")
    assert "Running stage 'model@co2'" not in done.stdout
    assert "Running stage 'evaluation@co2'" not in done.stdout
    assert "mae" in lived.python("-m", "dvc", "metrics", "show").stdout
    lived.python("-m", "dvc", "plots", "show")


def test_the_version_has_a_whole_card(lived: Project):
    """The gateway gives the champion's bill of materials; all that it lacks is the commit, for this copy is in no repository."""
    (one,) = [one for one in lived.json("release", "list", "co2", "--json") if one["state"] == "champion"]
    with urllib.request.urlopen(one["card"], timeout=10) as answer:
        card = Card(json.loads(answer.read()))
    assert (card.name, card.version) == ("co2", one["version"])
    assert completeness(card).missing in {(), ("commit",)}
    assert card.digest == Ledger.at(lived.places.home).history("co2", "registered")[0].payload["card"]


def test_predict_answers_json_and_csv(lived: Project, tmp_path: Path):
    """`aiprime predict` takes a row as JSON and rows as CSV."""
    single = json.loads(lived.aiprime("predict", "co2", "--json", '{"station": "mauna-loa"}').stdout)
    rows = tmp_path / "rows.csv"
    rows.write_text("station\nmauna-loa\nmauna-loa\n")
    many = [json.loads(line) for line in lived.aiprime("predict", "co2", "--csv", str(rows)).stdout.splitlines()]
    assert len(many) == 2
    for answer in many:  # a batch may round the last digits differently
        found, expected = ([one["prediction"] for one in a["forecast"]] for a in (answer, single))
        assert found == pytest.approx(expected, rel=1e-6)


def test_an_answer_is_walked_back_and_explained(lived: Project, tmp_path: Path):
    """From an answer's id to its signed version, run, commit, data, checks and verdict; the weights add up to the answer; the exports are written."""
    gateway = json.loads((lived.places.home / "services.json").read_text())["gateway"]
    body = json.dumps({"instances": [{"station": "mauna-loa"}]}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{gateway}/v1/models/co2:predict", body), timeout=10) as answer:
        prediction_id = answer.headers["x-aiprime-prediction-id"]
    exports = ("--prov", str(tmp_path / "a.provn"), "--openlineage", str(tmp_path / "a.json"))
    told = lived.json("why", prediction_id, "--json", *exports)
    assert [step["name"] for step in told["steps"] if step["gone"] and step["name"] != "code"] == []
    steps = {step["name"]: step["facts"] for step in told["steps"]}
    assert steps["signature"]["signed"] is True
    assert steps["model"]["digest"] == steps["model"]["digest_now"]
    assert len(steps["request"]["filled_in"]) == len(steps["request"]["inputs"]) > 5
    assert steps["checks"]["held"] == steps["checks"]["checks"] > 0
    for one, predicted in zip(told["explanation"]["answers"], told["predicted"], strict=True):
        assert one["answer"] == pytest.approx(predicted["prediction"], rel=1e-6)
        assert sum(weight["shap"] for weight in one["inputs"]) == pytest.approx(one["answer"] - one["base"], abs=1e-6)
    assert (tmp_path / "a.provn").read_text().startswith("document")
    assert len(json.loads((tmp_path / "a.json").read_text())) == 6
    page = urllib.request.Request(f"{gateway}/why/{prediction_id}", headers={"Accept": "text/html"})
    with urllib.request.urlopen(page, timeout=30) as answer:
        assert b"Why co2 answered this" in answer.read()


def test_the_commands_of_the_readme_work(lived: Project):
    """The README's own `aiprime predict` line, as written there, is answered with a forecast; so is the curl that `up` prints."""
    lines = re.findall(r"^aiprime (predict .*)$", (ROOT / "README.md").read_text(), re.M)
    assert lines
    for line in lines:
        assert "forecast" in json.loads(lived.aiprime(*shlex.split(line)).stdout)
    curl = next(line for line in lived.aiprime("up").stdout.splitlines() if "curl" in line)
    answer = subprocess.run(shlex.split(curl), capture_output=True, text=True, check=True)
    assert "forecast" in json.loads(answer.stdout)["predictions"][0]


def test_an_unknown_station_is_named(lived: Project):
    """A station that the store does not know is an error that names it, not a guess."""
    done = lived.aiprime("predict", "co2", "--json", '{"station": "atlantis"}', check=False)
    assert done.returncode == 1
    assert "atlantis" in done.stderr


def test_a_killed_model_server_comes_back(lived: Project):
    """After kill -9 the endpoint answers again within 20 seconds."""
    processes = lived.json("status", "--json")["processes"]
    server = next(one for one in processes if one["name"].startswith("co2"))
    os.kill(server["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        try:
            assert ask(lived, "co2", {"station": "mauna-loa"})
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_refused_candidate_leaves_the_champion(lived: Project):
    """A model that is worse than the champion is registered as refused, and the champion keeps serving."""
    before = lived.json("workloads", "--json")
    defs = lived.places.defs("co2")
    good = defs.read_text()
    try:
        defs.write_text(
            good.replace("train: {", "train: {max_steps: 2, ").replace("train: {max_steps: 2, }", "train: {max_steps: 2}")
        )
        assert defs.read_text() != good
        outcome = lived.json("run", "co2", "--json")
        assert outcome["stages"]["evaluation"]["passed"] is False
    finally:
        defs.write_text(good)
    assert lived.json("workloads", "--json") == before
    assert ask(lived, "co2", {"station": "mauna-loa"})
    lived.aiprime("run", "co2")


def test_the_ui_shows_the_graph_and_green_checks(lived: Project, tmp_path: Path):
    """In a browser the Dagster UI shows the workload's graph, and the dataset's checks passed."""
    printed = lived.aiprime("up").stdout
    url = lived.json("status", "--json")["urls"]["dagster"]
    assert url in printed
    assert "curl" in printed
    with browser(tmp_path) as page:
        page.get(f"{url}/locations/__repository__@aiprime/asset-groups/co2/lineage")
        _wait_for(page, "dataset", "features", "model", "evaluation", "registered_model", "endpoint")
        page.get(f"{url}/assets/co2/dataset?view=checks")
        _wait_for(page, "schema", "expectations", "Succeeded")
        assert "Failed" not in page.find_element("tag name", "body").text


def _wait_for(page: Any, *words: str) -> None:
    deadline = time.monotonic() + 40
    while missing := [word for word in words if word not in page.find_element("tag name", "body").text]:
        assert time.monotonic() < deadline, f"not on {page.current_url}: {missing}"
        time.sleep(0.2)


def test_doctor_finds_nothing_bad(lived: Project):
    """On a healthy project the doctor is content."""
    assert [one for one in lived.json("doctor", "--json") if one["state"] == "bad"] == []


def test_down_leaves_no_process(lived: Project):
    """After `aiprime down` no process of this home is left; `up` brings back what served."""
    lived.aiprime("up")
    mine = [p for p in psutil.process_iter(["pid"]) if _of(p, lived)]
    assert len(mine) > 5
    lived.aiprime("down")
    gone, alive = psutil.wait_procs(mine, timeout=15)
    assert alive == []
    assert len(gone) == len(mine)
    lived.aiprime("up")
    assert "forecast" in lived.json("predict", "co2", "--json", '{"station": "mauna-loa"}')


def _of(process: psutil.Process, project: Project) -> bool:
    try:
        return process.environ().get("AIPRIME_HOME") == str(project.places.home)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
