"""A retrain as a person asks for it: `aiprime retrain`, real servers, co2's later years as the new data."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from assets.spec import load
from data import cutoff, prepare, sources, versions
from data.files import sha256
from data.schema import SPLIT, TIME
from serving.ledger import Ledger
from serving.records import Label, Records, by_time
from tests.conftest import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("retraining"), pytest.mark.timeout(600)]


def at(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project in which co2, known up to 1990, has a champion, and the truth of the years after came back through the ledger."""
    made = make_project(tmp_path_factory.mktemp("retraining"))
    try:
        made.aiprime("run", "co2", timeout=300)
        data = load(made.places, "co2").data.model_copy(update={"until": None, "since": date(1990, 1, 1)})
        rows = prepare.prepare(sources.read(data, made.places), data).dropna()
        told = zip(rows["week"], rows["co2"], strict=True)
        about = [(by_time(int(week.timestamp()), "mauna-loa"), value) for week, value in told]
        Records.at(made.places.home).label([Label(workload="co2", about=at, value=value) for at, value in about])
        yield made
    finally:
        made.aiprime("down", check=False)


def state(project: Project) -> dict[str, str]:
    """The hash of each stage's result."""
    return versions.locked(project.places.root, "co2")


def retrain(project: Project, until: str, *more: str) -> dict[str, object]:
    done = project.aiprime("retrain", "co2", "--reason", "a test", "--until", until, "--json", *more, timeout=300)
    return json.loads(done.stdout)


def test_a_retrain_learns_up_to_its_window_and_is_judged_on_it(lived: Project):
    """The dataset ends at the cutoff, the holdout's truth is the window, all that was learnt was known before it, and the record
    says so; the same retrain again fits and registers nothing, and without the file everything is as it was."""
    places, plain = lived.places, state(lived)
    ledger = Ledger.at(places.home)
    outcome = retrain(lived, "1998-01-01")
    assert outcome["failed"] is None
    assert outcome["stages"]["model"]["ran"] is True
    assert outcome["stages"]["dataset"]["data up to"] == "1998-01-01 00:00 UTC, set by a retrain"

    set_ = cutoff.read(places, "co2")
    assert set_ is not None
    assert set_.labels
    assert set_.begins is not None
    rows = pd.read_parquet(places.store("co2") / "dataset.parquet")
    assert at(1998) - timedelta(days=7) <= rows["week"].max() < at(1998)
    table = pd.read_parquet(places.store("co2") / "features" / "table.parquet")
    reach = {side: part[TIME] for side, part in table.groupby(SPLIT)}
    weeks = timedelta(weeks=1)
    assert set_.begins <= reach["holdout"].min() + 4 * weeks
    assert reach["holdout"].max() + 52 * weeks < at(1998)
    assert reach["train"].max() + 52 * weeks < set_.begins

    candidate = ledger.history("co2", "registered")[-1]
    assert candidate.version == "2"
    learnt = sha256(cutoff.labels_file(places, "co2"))
    assert candidate.payload["cutoff"] == set_.plain() | {"labels_sha256": learnt}
    assert {"holdout", "newest", "frozen"} <= {one["window"] for one in candidate.payload["comparisons"]}
    began, ended = ledger.history("co2", "retrain")
    assert (began.payload["reason"], began.payload["by_person"]) == ("a test", True)
    assert ended.payload["state"] == ("passed" if candidate.payload["passed"] else "refused")
    assert ended.payload["cpu_s"] > 1

    trained = state(lived)
    again = retrain(lived, "1998-01-01")
    assert [stage for stage, told in again["stages"].items() if told.get("ran")] == []
    assert lived.json("run", "co2", "--json")["stages"]["dataset"]["data up to"].startswith("1998-01-01")
    assert state(lived) == trained
    done = lived.python("-m", "dvc", "repro", "evaluation@co2")  # the other door honours it too
    assert "Running stage 'model@co2'" not in done.stdout
    assert len(ledger.history("co2", "registered")) == 2

    back = lived.json("run", "co2", "--lift-cutoff", "--json")
    assert not cutoff.file(places, "co2").exists()
    assert "data up to" not in back["stages"]["dataset"]
    assert state(lived) == plain
    assert len({one.version for one in ledger.history("co2", "registered")}) == 2


def test_a_retrain_without_a_reason_is_refused(lived: Project):
    """No reason, no retrain: nothing runs and nothing is recorded."""
    before = len(Ledger.at(lived.places.home).history("co2"))
    done = lived.aiprime("retrain", "co2", "--reason", " ", check=False)
    assert done.returncode == 1
    assert "needs a reason" in done.stderr
    assert len(Ledger.at(lived.places.home).history("co2")) == before
