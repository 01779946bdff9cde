"""Dagster turns the loop: a monitor run where something is new, one retrain run for each request, one end for each that ran."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from assets import loop, retraining
from assets.retraining import ASKED
from data.places import Places
from orchestration.loop_sensor import loop_sensor
from serving import routes
from serving.ledger import Decision, Ledger
from serving.records import Records
from tests.serving.records.samples import prediction

CUTOFF = {"until": "2020-01-01T00:00:00+00:00", "window_s": 86_400, "reason": "a test", "sequence": 1}


@dg.op
def work(context: dg.OpExecutionContext) -> None:
    if "die" in context.run.tags:
        raise RuntimeError("as asked")


@dg.job
def co2_retrain() -> None:
    work()


@dg.job
def co2_monitor() -> None:
    work()


class Loop:
    """The sensor over a workload `co2` that serves; runs are those of a real instance that tries a failed one again, once."""

    def __init__(self, places: Places, instance: dg.DagsterInstance) -> None:
        self.places, self.instance, self.ledger = places, instance, Ledger.at(places.home)
        self.ledger.promote("co2", "1", expected=None, reason="test")
        self.cursor: str | None = None

    def evaluate(self, cursor: str | None = None) -> list[dg.RunRequest]:
        """A tick of a sensor that has the cursor."""
        context = dg.build_sensor_context(instance=self.instance, cursor=cursor)
        result = loop_sensor(self.places, [co2_monitor, co2_retrain])(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return list(result.run_requests or ())

    def asked(self, actor: str = "loop", **more: int) -> Decision:
        """A request, as the loop records it."""
        key = None if actor != "loop" else f"retrain:co2:after:{self.ledger.newest()}"
        payload = {"state": "running", "cutoff": CUTOFF | more, "by_person": actor != "loop"}
        return self.ledger.record("retrain", "co2", "", payload, actor=actor, key=key)

    def retrains(self, cursor: str | None = None) -> list[dg.RunRequest]:
        return [one for one in self.evaluate(cursor) if one.job_name == "co2_retrain"]

    def run(self, tags: Mapping[str, str], **more: str) -> dg.ExecuteInProcessResult:
        return co2_retrain.execute_in_process(instance=self.instance, tags={**tags, **more}, raise_on_error=False)

    def ends(self) -> list[Decision]:
        return [one for one in self.ledger.history("co2", "retrain") if "of" in one.payload]


@pytest.fixture
def turned(tmp_path: Path) -> Iterator[Loop]:
    places = Places(root=tmp_path, home=tmp_path / "home")
    for name in ("co2", "idle"):  # only one of them serves
        places.defs(name).parent.mkdir(parents=True)
        places.defs(name).write_text("type: assets.Workload\n")
    (places.store("co2") / "model").mkdir(parents=True)
    (places.store("co2") / "model" / "model.onnx").write_bytes(b"x")
    with dg.instance_for_test(overrides={"run_retries": {"enabled": True, "max_retries": 1}}) as instance:
        yield Loop(places, instance)


def test_new_predictions_ask_for_one_monitor_run(turned: Loop) -> None:
    """The first tick looks; then nothing is asked for until a prediction comes, and then one run; what does not serve is not watched."""
    first = turned.evaluate()
    assert [one.job_name for one in first] == ["co2_monitor"]
    assert turned.evaluate(turned.cursor) == []
    Records.at(turned.places.home).append([prediction(), prediction()])
    second = turned.evaluate(turned.cursor)
    assert [one.job_name for one in second] == ["co2_monitor"]
    assert second[0].run_key != first[0].run_key
    assert turned.evaluate(turned.cursor) == []


def test_silence_is_looked_at_too(turned: Loop) -> None:
    """Where nothing new comes a turn is still taken, ten minutes after the last."""
    turned.evaluate()
    seen = json.loads(turned.cursor or "")
    assert turned.evaluate(turned.cursor) == []
    seen["co2"]["at"] -= 601
    assert [one.job_name for one in turned.evaluate(json.dumps(seen))] == ["co2_monitor"]


def test_a_decision_that_nothing_followed_is_looked_at_within_a_minute(turned: Loop) -> None:
    """Where the pointer is older than what was decided a turn is taken after a minute; where it follows, not before the ten."""
    turned.evaluate()
    seen = json.loads(turned.cursor or "")
    seen["co2"]["at"] -= 61
    assert [one.job_name for one in turned.evaluate(json.dumps(seen))] == ["co2_monitor"]
    fence = turned.ledger.release("co2").fence
    routes.point(turned.places.home, routes.Route(workload="co2", fence=fence, version="1"), fence)
    assert turned.evaluate(json.dumps(seen)) == []


def test_a_rollout_under_way_is_looked_at_at_each_tick(turned: Loop) -> None:
    """A challenger is judged at each tick, whether or not predictions came."""
    turned.evaluate()
    fence = turned.ledger.release("co2").fence
    turned.ledger.change("exposed", "co2", 2, {"step": 0, "share": 0.1, "after": 0}, expected=fence)
    assert [one.job_name for one in turned.evaluate(turned.cursor)] == ["co2_monitor"]


def test_a_request_is_run_once_whoever_looks(turned: Loop) -> None:
    """Two sensors and two ticks ask for the same run, by its key; once it is there nobody asks for it again."""
    asked = turned.asked()
    requests = [*turned.retrains(), *turned.retrains(turned.cursor), *turned.retrains()]
    assert {one.run_key for one in requests} == {f"retrain:co2:{asked.sequence}"}
    assert {one.tags[ASKED] for one in requests} == {str(asked.sequence)}
    assert json.loads(requests[0].tags[retraining.TAG])["reason"] == "a test"
    turned.run(requests[0].tags)
    assert turned.retrains() == []


def test_an_end_is_recorded_once(turned: Loop) -> None:
    """A run that went well has one end on record, however often and by whomever it is looked at; the next request is run anew."""
    asked = turned.asked()
    run = turned.run(turned.retrains()[0].tags)
    for _ in range(3):
        assert turned.retrains() == []
    assert [one.payload["of"] for one in turned.ends()] == [asked.sequence]
    assert turned.ends()[0].payload["run_id"] == run.run_id
    again = turned.asked()
    assert [one.run_key for one in turned.retrains()] == [f"retrain:co2:{again.sequence}"]


def test_a_run_that_is_tried_again_has_not_ended(turned: Loop) -> None:
    """A worker that dies is started anew by Dagster: the end on record is that of the last try, and a last failure is a failure."""
    asked = turned.asked()
    tags = turned.retrains()[0].tags
    turned.run(tags, die="yes")
    assert turned.retrains() == []
    assert turned.ends() == []
    run = turned.run(tags)
    turned.retrains()
    assert [(one.payload["of"], one.payload["failed"]) for one in turned.ends()] == [(asked.sequence, None)]
    assert turned.ends()[0].payload["run_id"] == run.run_id

    second = turned.asked()
    turned.run({**tags, ASKED: str(second.sequence)}, die="yes", **{"dagster/max_retries": "0"})
    assert turned.retrains() == []
    assert [one.payload["failed"] for one in turned.ends()][1:] == ["the run ended as FAILURE"]
    assert turned.ends()[1].payload["state"] == "failed"


@pytest.mark.parametrize("actor", ["person", "replay"])
def test_another_ones_request_is_left_to_them(turned: Loop, actor: str) -> None:
    """Who else asks for a retrain runs it and records its end: no run is asked for."""
    turned.asked(actor)
    assert turned.retrains() == []
    assert turned.ends() == []


def test_a_workload_whose_loop_a_replay_turns_is_left_alone(turned: Loop) -> None:
    """While a replay holds the loop's lock nothing is asked for; what it left undone when it ended stays the replay's."""
    turned.evaluate()
    turned.asked()
    before = turned.cursor
    with another_turns_it(turned.places.home):
        Records.at(turned.places.home).append([prediction()])
        assert turned.evaluate(before) == []
    assert len(turned.evaluate(before)) == 2
    turned.ledger.record("replay", "co2", "", {"state": "ended", "after": 1})
    assert turned.retrains() == []


@contextmanager
def another_turns_it(home: Path) -> Iterator[None]:
    """The loop's lock, held by another process: a process that holds it does not see itself as another."""
    code = (
        "import sys; from pathlib import Path; from assets import lease; lease.hold(Path(sys.argv[1]), sys.argv[2], 'replay')"
    )
    command = [sys.executable, "-c", f"{code}; print(flush=True); sys.stdin.read()", str(home), loop.lock_name("co2")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate("")


def test_one_workloads_trouble_keeps_no_other_from_being_watched(turned: Loop) -> None:
    """A request that cannot be read is told in the sensor's log and ends no tick."""
    turned.ledger.record("retrain", "co2", "", {"state": "running"}, actor="loop", key="broken")
    assert turned.evaluate() == []
    assert json.loads(turned.cursor or "")["co2"] == {"newest": 0, "at": 0.0}
