"""A retrain's request, from its tag to its record."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from assets import back, cost, retraining
from assets.spec import Spec, read
from assets.stages import up_to_date
from data import cutoff, versions
from data.cutoff import Cutoff
from data.errors import UserError
from data.places import Places
from orchestration import report
from orchestration.running import Outcome
from serving.ledger import Ledger
from serving.records import Label, Records, by_time
from tests.assets import judged as handmade
from tests.assets.judged import Workload
from tests.conftest import ROOT

DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)
WITH_TIME = [("entity", pa.string()), ("time", pa.timestamp("us", "UTC")), ("value", pa.float64())]


def at(year: int, month: int = 1) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


@dataclass
class Here:
    """The part of a platform that a request asks."""

    places: Places

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.places.home / "ledger.db")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(Places(root=tmp_path, home=tmp_path / "home"))


def spec(**changed: object) -> Spec:
    """co2 as it ships, but learning from its source alone; with other sections where they are given."""
    found = read(ROOT / "orchestration" / "workloads" / "co2" / "defs.yaml")
    return Spec.model_validate(yaml.safe_load(found.model_dump_json()) | {"retrain": {}} | changed)


def asked(here: Here, **how: object) -> Cutoff:
    given = {"until": at(1991), "window": 104 * WEEK, "reason": "it aged"} | how
    return Cutoff.model_validate_json(retraining.request(spec(), here, **given)[retraining.TAG])  # pyright: ignore[reportArgumentType]


def promoted(here: Here, *versions: str) -> None:
    for version in versions:
        champion = here.ledger.champion("co2")
        here.ledger.promote("co2", version, expected=champion.version if champion else None, reason="better")


def registered(here: Here, version: str, window: tuple[datetime, datetime] | None) -> None:
    gate_window = [one.isoformat() for one in window] if window else None
    payload = {"gate_window": gate_window, "model_digest": version, "passed": True}
    here.ledger.record("registered", "co2", version, payload)


def test_a_request_is_a_tag_that_says_everything(here: Here):
    """Watermark, window, reason and the window's record travel in one tag of the run."""
    wanted = Cutoff(until=at(1991), window_s=104 * 604_800, reason="it aged", sequence=7)
    assert asked(here, window_sequence=7) == wanted
    assert asked(here, window=100).window_rows == 100


@pytest.mark.parametrize(("how", "said"), [({"reason": "  "}, "needs a reason"), ({"window": 48 * WEEK}, "holds no example")])
def test_a_request_that_cannot_work_is_refused(here: Here, how: dict[str, object], said: str):
    """No reason, or a window that is shorter than the horizons are apart, is said before anything runs."""
    with pytest.raises(UserError, match=said):
        asked(here, **how)


def test_the_window_is_the_share_that_the_yaml_states(here: Here):
    """Without a window it is `retrain.holdout` of the time from the first row, and what the horizons are apart beside it."""
    with pytest.raises(UserError, match="never trained"):
        asked(here, window=None)
    import pandas as pd

    store = here.places.store("co2")
    store.mkdir(parents=True)
    week = pd.date_range(at(1971), periods=3, freq="7D")
    pd.DataFrame({"week": week, "co2": 1.0, "station": "a"}).to_parquet(store / "dataset.parquet")
    share = spec().retrain.holdout
    found = retraining.default_window(spec(), here.places, at(1991))
    assert found == (at(1991) - at(1971)) * share + 48 * WEEK
    retrain = spec().retrain
    for most, of in (("26w", 26 * WEEK), ("1000w", (at(1991) - at(1971)) * share)):
        capped = spec().model_copy(update={"retrain": retrain.model_copy(update={"holdout_most": most})})
        assert retraining.default_window(capped, here.places, at(1991)) == of + 48 * WEEK


def test_the_frozen_holdout_follows_the_promotions(here: Here):
    """It is the oldest part of the first promoted gate window, until four more promotions renew it; a return to an older version,
    and a version that was judged before there were windows, are none."""
    assert retraining.frozen(spec(), here.ledger, at(1999)) is None
    for number in range(6):
        registered(here, str(number), (at(1980 + 2 * number), at(1984 + 2 * number)) if number else None)
    promoted(here, "0")
    assert retraining.frozen(spec(), here.ledger, at(1999)) is None
    promoted(here, "1")
    first = retraining.frozen(spec(), here.ledger, at(1999))
    assert first is not None
    assert first[0] == at(1982)
    assert at(1983) < first[1] < at(1984)  # 48 weeks, and a quarter of what is left of four years
    promoted(here, "2", "1", "2", "3", "4")
    assert retraining.frozen(spec(), here.ledger, at(1999)) == first
    assert asked(here).frozen == first
    promoted(here, "5")
    renewed = retraining.frozen(spec(), here.ledger, at(1999))
    assert renewed is not None
    assert renewed[0] == at(1990)
    assert retraining.frozen(spec(), here.ledger, at(1989)) == first  # the others lie in its future
    assert retraining.frozen(spec(promote={"frozen_for": 0}), here.ledger, at(1999)) is None


def test_a_plain_run_says_where_a_retrain_ended_the_data(here: Here, caplog: pytest.LogCaptureFixture):
    """It says so, until when, why, and how to go past it; with `--lift-cutoff` the cutoff and its labels are gone."""
    tags = retraining.request(spec(), here, until=at(1991), window=104 * WEEK, reason="it aged")  # pyright: ignore[reportArgumentType]
    retraining.apply(spec(), here.places, "retrain", tags)
    assert "left out" not in caplog.text
    retraining.apply(spec(), here.places, "plain", {})
    for said in ("data up to 1991-01-01 00:00 UTC", "it aged", "aiprime retrain co2 --reason", "aiprime run co2 --lift-cutoff"):
        assert said in caplog.text
    told = report.outcome_text(here.places, Outcome("co2", "plain", 1.0, {"dataset": {"dagster/row_count": 9}}))
    assert "data        up to 1991-01-01 00:00 UTC" in told
    cutoff.labels_file(here.places, "co2").write_bytes(b"labels")
    lifting = retraining.lifting(here.places, "co2")
    assert retraining.apply(spec(), here.places, "lifted", lifting) is None
    assert list(cutoff.file(here.places, "co2").parent.glob("*")) == []
    assert "1991" not in report.outcome_text(here.places, Outcome("co2", "lifted", 1.0, {"dataset": {"dagster/row_count": 9}}))
    assert retraining.apply(spec(), here.places, "again", lifting) is None
    assert retraining.lifting(here.places, "co2") == {}


def test_a_lift_is_of_the_cutoff_that_was_there_alone(here: Here, caplog: pytest.LogCaptureFixture):
    """Executed again with its tags, the run leaves the cutoff of a later retrain, and says so; what is no cutoff can be lifted too."""
    first, later = ({retraining.TAG: asked(here, until=at(year)).model_dump_json()} for year in (1991, 1995))
    retraining.apply(spec(), here.places, "retrain", first)
    lifting = retraining.lifting(here.places, "co2")
    assert lifting == {retraining.LIFT: "1991-01-01T00:00:00Z"}
    assert retraining.apply(spec(), here.places, "lifted", lifting) is None
    left = retraining.apply(spec(), here.places, "later", later)
    assert retraining.apply(spec(), here.places, "executed again", lifting) == left == cutoff.read(here.places, "co2")
    assert "lifts the cutoff 1991-01-01T00:00:00Z, which is not the one that is there" in caplog.text
    cutoff.file(here.places, "co2").write_text("{}")
    assert retraining.apply(spec(), here.places, "mended", retraining.lifting(here.places, "co2")) is None


def test_a_run_with_the_tag_sets_the_cutoff_and_one_without_leaves_it(here: Here):
    """The tag is made true at the start of the run; a later run without it honours what is there."""
    assert retraining.apply(spec(), here.places, "run", {}) is None
    tags = retraining.request(spec(), here, until=at(1991), window=104 * WEEK, reason="it aged")  # pyright: ignore[reportArgumentType]
    wanted = retraining.apply(spec(), here.places, "run", tags)
    assert wanted == cutoff.read(here.places, "co2")
    written = cutoff.file(here.places, "co2").stat().st_mtime_ns
    assert retraining.apply(spec(), here.places, "again", tags) == wanted
    assert retraining.apply(spec(), here.places, "plain", {}) == wanted
    assert cutoff.file(here.places, "co2").stat().st_mtime_ns == written


def test_the_labels_of_the_ledger_join_where_the_yaml_says_so(here: Here):
    """With `retrain.labels` the run begins by writing what the ledger knows of the time before the watermark, and its hash decides."""
    learning = spec(retrain={"labels": True})
    assert back.known_until(learning, here.places) is None
    told = [(day, 350.0 + day) for day in (1, 8, 15)]
    records = Records.at(here.places.home)
    about = [by_time(int((at(1990) + day * DAY).timestamp()), "mauna-loa") for day, _ in told]
    records.label([Label(workload="co2", about=a, value=v) for a, (_, v) in zip(about, told, strict=True)])
    until = at(1990) + 15 * DAY
    assert back.known_until(learning, here.places) == until + timedelta(seconds=1)
    tags = retraining.request(learning, here, until=until, window=104 * WEEK, reason="it aged")  # pyright: ignore[reportArgumentType]
    retraining.apply(learning, here.places, "run", tags)
    path = cutoff.labels_file(here.places, "co2")
    assert pq.read_table(path).to_pylist() == [
        {"entity": "mauna-loa", "time": at(1990) + day * DAY, "value": value} for day, value in told[:2]
    ]
    first = cutoff.applied(here.places, "co2")
    retraining.apply(learning, here.places, "again", tags)
    assert cutoff.applied(here.places, "co2") == first
    records.label([Label(workload="co2", about=about[1], value=1.0)])
    retraining.apply(learning, here.places, "corrected", tags)
    assert cutoff.applied(here.places, "co2") != first


def test_the_cost_of_a_run_is_counted(here: Here):
    """CPU of this process and of its ended children counts, from the start of the run; another run has none."""
    assert cost.cpu_seconds(here.places, "co2", "run") is None
    cost.count(here.places, "co2", "run")
    assert cost.cpu_seconds(here.places, "co2", "run") is None
    cost.begin(here.places, "co2", "run")
    before = sum(os.times()[:4])
    subprocess.run([sys.executable, "-c", "sum(i * i for i in range(3_000_000))"], check=True)
    spent = sum(os.times()[:4]) - before
    cost.count(here.places, "co2", "run")
    found = cost.cpu_seconds(here.places, "co2", "run")
    assert found is not None
    assert found == pytest.approx(spent, abs=0.1)
    assert found > 0.1


def test_the_cost_of_a_run_that_is_tried_again_is_that_of_all_tries(here: Here):
    """A worker dies and another process goes on: what the first one spent stays counted, also where the second begins anew."""
    child = (
        "import sys; from pathlib import Path; from data.places import Places; from assets import cost\n"
        "places = Places(root=Path(sys.argv[1]), home=Path(sys.argv[2]))\n"
        "getattr(cost, sys.argv[3])(places, 'co2', 'run')\n"
        "sum(i * i for i in range(3_000_000)); cost.count(places, 'co2', 'run')"
    )
    spent = [0.0]
    for begun in ("begin", "go_on", "begin"):
        command = [sys.executable, "-c", child, str(here.places.root), str(here.places.home), begun]
        subprocess.run(command, check=True, cwd=ROOT)
        spent.append(cost.cpu_seconds(here.places, "co2", "run") or 0.0)
    assert all(later > earlier + 0.05 for earlier, later in pairwise(spent))


@pytest.mark.parametrize(
    ("failed", "passed", "state"), [(None, True, "passed"), (None, False, "refused"), ("model", True, "failed")]
)
def test_a_retrain_is_on_record_from_its_request_to_its_end(here: Here, failed: str | None, passed: bool, state: str):
    """The request is recorded with reason and cutoff before it runs, its end once, with state, version and cost."""
    tags = retraining.request(spec(), here, until=at(1991), window=104 * WEEK, reason="it aged")  # pyright: ignore[reportArgumentType]
    begun = retraining.record(here.ledger, spec(), tags, by_person=True, actor="ann")
    assert (begun.kind, begun.actor, begun.payload["reason"]) == ("retrain", "ann", "it aged")
    assert begun.payload["cutoff"] == json.loads(tags[retraining.TAG])
    here.ledger.record("registered", "co2", "3", {"model_digest": "f00", "passed": passed})
    here.ledger.record("registered", "co2", "4", {"model_digest": "ba4", "passed": not passed})  # of another run, since
    cost.begin(here.places, "co2", "run")
    if not failed:
        cost.make(here.places, "co2", "run", "3")
    ends = [retraining.ended(here.ledger, begun, here.places, "run", failed=failed) for _ in range(2)]
    assert ends[0] == ends[1]
    told = ends[0].payload
    assert (told["of"], told["state"], ends[0].version) == (begun.sequence, state, "" if failed else "3")
    assert told["cpu_s"] == 0.0


@pytest.mark.slow
def test_dvc_sees_cutoff_and_labels(tmp_path: Path):
    """A cutoff, and other labels, make the rows anew; the same ones, and another reason, run nothing; without them all is restored."""
    hand = Workload.at(tmp_path)
    places = hand.here.places
    data_stages = ("source", "dataset", "quality", "features")

    def up() -> list[str]:
        runs = {stage: up_to_date(stage, "hand", places) for stage in data_stages}
        return [stage for stage, run in runs.items() if run.ran and stage != "source"]

    def label(value: float) -> None:
        table = pa.table({"entity": pa.array([None], pa.string()), "time": [handmade.at(5)], "value": [value]})
        back.write(cutoff.labels_file(places, "hand"), table.cast(pa.schema(WITH_TIME)))

    assert up() == ["dataset", "quality", "features"]
    plain = versions.locked(places.root, "hand")
    label(7.0)
    asked = Cutoff(until=handmade.at(100), window_s=20 * 86_400, labels=True)
    cutoff.write(places, "hand", asked)
    assert up() == ["dataset", "quality", "features"]
    rows = pq.read_table(places.store("hand") / "dataset.parquet")
    assert (rows.num_rows, rows["y"][5].as_py()) == (100, 7.0)
    cutoff.write(places, "hand", asked.model_copy(update={"reason": "another one"}))
    label(7.0)
    assert up() == []
    label(8.0)
    assert up()[0] == "dataset"
    narrower = asked.model_copy(update={"window_s": 10 * 86_400})
    cutoff.write(places, "hand", narrower)
    assert up() == ["dataset", "quality", "features"]  # the same rows, split otherwise
    cutoff.file(places, "hand").unlink()
    assert up() == []
    assert versions.locked(places.root, "hand") == plain
