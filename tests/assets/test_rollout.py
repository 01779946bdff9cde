"""A rollout, live: real model servers behind the gateway, judged by the records of what they were asked."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assets import lease, rollout, signing
from assets.spec import Spec
from data import failpoints
from data.files import tree_digest, write_atomically
from data.places import Places
from serving import manifests, routes
from serving.ledger import Decision, Ledger
from serving.records import Label, Records, by_id
from serving.servers import answer
from serving.supervision import Program, Supervisor, free_port
from tests.assets.judged import Here
from tests.serving import model_folders

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
LINE = tuple(float(n) for n in range(10))  # y = index (+ the root of x, which is 0)


def until(condition: Callable[[], object], deadline_s: float = 20) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the deadline passed"
        time.sleep(0.02)


@dataclass
class Live:
    """A workload `hand` whose versions are tables: version n answers table[index], and fails past the table's end."""

    here: Here
    url: str

    @property
    def home(self) -> Path:
        return self.here.places.home

    @property
    def records(self) -> Records:
        return Records.at(self.home)

    @property
    def ledger(self) -> Ledger:
        return self.here.ledger

    def spec(self, **rules: Any) -> Spec:
        columns = {"x": "number", "index": "integer", "work": "integer", "y": "number"}
        rules = {"min_requests": 20, "min_labels": 20, "steps": ["shadow", 0.5], "latency_floor_ms": 2000, **rules}
        attributes = {"name": "hand", "family": "tabular", "task": "regression", "rollout": rules}
        return Spec.model_validate({**attributes, "data": {"source": "x.csv", "target": "y", "columns": columns}})

    def register(self, version: int, table: Sequence[float]) -> Decision:
        """A version that the gate passed."""
        folder = model_folders.treacherous(self.home / "models" / "hand" / str(version), table=tuple(table))
        digest = tree_digest(folder)
        manifest = manifests.render("hand", version, folder, digest, self.spec().serve)
        write_atomically(manifests.file(self.home, "hand", version), manifests.text(manifest))
        signing.version(self.here.places, "hand", str(version), digest)
        payload = {"model_digest": digest, "passed": True, "verdict": "passed: test"}
        return self.ledger.record("registered", "hand", version, payload)

    def ask(self, indices: Sequence[int]) -> list[tuple[str, float]]:
        """One request for each; every one must be answered well. The id and the answer of each."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=20)
        found = []
        for index in indices:
            body = json.dumps({"instances": [{"x": 0.0, "index": index, "work": 0}]})
            connection.request("POST", "/v1/models/hand:predict", body, {"content-type": "application/json"})
            given = connection.getresponse()
            content = given.read()
            assert given.status == 200, content
            found.append((given.headers["x-aiprime-prediction-id"], json.loads(content)["predictions"][0]["prediction"]))
        connection.close()
        return found

    def shadowed(self, count: int) -> bool:
        """Whether the challenger's shadow has answered so many of its step."""
        release = self.ledger.release("hand")
        seen = self.records.traffic("hand", after=release.after).get((release.challenger or "", "shadow"))
        return seen is not None and seen.requests >= count

    def offer(self, spec: Spec, registered: Decision) -> str:
        return rollout.offer(spec, self.here, registered, "passed: test")  # pyright: ignore[reportArgumentType]

    def tick(self, spec: Spec) -> str:
        return rollout.tick(spec, self.here)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    home = tmp_path / "home"
    here = Here(Places(root=tmp_path, home=home))
    port = free_port()
    supervisor = Supervisor(home)
    supervisor.apply(Program(name="gateway", command=(sys.executable, "-m", "serving.gateway", "--port", str(port)), cwd=ROOT))
    url = f"http://127.0.0.1:{port}"
    supervisor.wait("gateway", lambda: answer("GET", f"{url}/v2/health/live", 1)[0] == 200)
    made = Live(here, url)
    made.offer(made.spec(), made.register(1, LINE))
    yield made
    supervisor.shutdown()


def test_a_release_that_was_cut_off_is_carried_on_by_a_tick(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who promoted died before the pointer moved: the next look makes serving what the ledger says, and finds nothing to do after that."""
    live.register(2, LINE)
    with monkeypatch.context() as cut:
        cut.setattr(failpoints, "_set", "after-decision@promoted=error")
        cut.setenv("AIPRIME_HOME", str(live.home))
        with pytest.raises(failpoints.Injected):
            live.here.deployment().release("hand", "2", expected="1", reason="test")
    assert routes.read(live.home)["hand"].version == "1"
    assert live.tick(live.spec()).startswith("serving was behind: hand: now served by hand-v2")
    assert routes.read(live.home)["hand"].version == "2"
    assert live.tick(live.spec()) == "no rollout is under way"


def test_good_offline_and_bad_live_is_rolled_back(live: Live) -> None:
    """A challenger that fails on rows that came only after its exposure goes back by itself, is held, and no client saw a failure."""
    spec = live.spec()
    live.ask([0, 1, 2] * 10)
    bad = live.register(2, LINE[:3])  # it fails where the index is above 2
    assert live.offer(spec, bad).startswith("exposed at step 0 (shadow); 30 logged requests")
    assert routes.read(live.home)["hand"].challenger is not None
    assert "of 20 requests" in live.tick(spec)
    live.ask([0, 1, 2] * 10)
    until(lambda: live.shadowed(20))
    assert live.tick(spec).startswith("version 2 goes on at step 1 (50%)")

    answered = live.ask([5, 6] * 20)  # half of them are the challenger's, which fails; the champion answers all the same
    assert [given for _, given in answered] == [5.0, 6.0] * 20
    said = live.tick(spec)
    assert said.startswith("version 2 was rolled back and is held: ")
    assert "errors in" in said
    release = live.ledger.release("hand")
    assert (release.champion, release.challenger, release.held) == ("1", None, {"2"})
    record = live.ledger.history("hand", "rolled_back")[0]
    assert record.payload["judged"]["challenger"]["errors"] >= 5
    assert routes.read(live.home)["hand"].challenger is None

    before = live.ledger.newest()
    assert live.offer(spec, bad).startswith("held")  # it does not flap
    assert live.tick(spec) == "no rollout is under way"
    assert live.ledger.newest() == before
    live.ask([9])


def test_errors_as_a_shadow_are_enough(live: Live) -> None:
    """A shadow that fails goes back before anybody was answered by it, and before the minimum of requests."""
    spec = live.spec(min_requests=1000, without_traffic="expose")
    live.offer(spec, live.register(2, LINE[:3]))
    live.ask([7] * 8)
    until(lambda: live.shadowed(8))
    assert live.tick(spec).startswith("version 2 was rolled back")
    assert {one.role for one in live.records.predictions("hand") if one.version == "2"} == {"shadow"}


def test_labels_let_the_better_one_through(live: Live) -> None:
    """With truth known the challenger advances on quality, to champion; the record holds the figures that it was judged on."""
    spec = live.spec(without_traffic="expose")
    better = tuple(one + 0.5 for one in LINE)  # truth is index + 0.5
    live.offer(spec, live.register(2, better))
    asked = live.ask([1, 2, 3] * 10)
    until(lambda: live.shadowed(30))
    live.records.label([Label(workload="hand", about=by_id(one), value=index + 0.5) for (one, index) in asked[:10]])
    assert "10 of 20 labelled pairs" in live.tick(spec)
    live.records.label([Label(workload="hand", about=by_id(one), value=index + 0.5) for (one, index) in asked])
    assert live.tick(spec).startswith("version 2 goes on at step 1 (50%)")
    live.ask([1, 2, 3] * 30)
    assert live.tick(spec).startswith("version 2 is the champion: ")
    promotion = live.ledger.champion("hand")
    assert promotion is not None
    losses = promotion.payload["judged"]["losses"]
    assert (losses["candidate"], losses["reference"], losses["rows"]) == (0.0, 0.5, 30)
    assert live.ledger.release("hand").previous == "1"


def test_labels_send_the_worse_one_back(live: Live) -> None:
    """A challenger that answers every request, and worse, goes back as soon as enough truth is known."""
    spec = live.spec(without_traffic="expose")
    live.offer(spec, live.register(2, tuple(one + 3 for one in LINE)))
    asked = live.ask([1, 2, 3] * 10)
    until(lambda: live.shadowed(30))
    live.records.label([Label(workload="hand", about=by_id(one), value=given + 0.1) for one, given in asked])
    said = live.tick(spec)
    assert "confidently worse than the champion" in said
    assert live.ledger.release("hand").held == {"2"}


def test_without_a_shadow_the_arms_are_compared(live: Live) -> None:
    """A rollout that never shadows has no two answers to one request: then each arm's own labelled requests are compared."""
    spec = live.spec(without_traffic="expose", steps=[0.5])
    live.offer(spec, live.register(2, tuple(one + 3 for one in LINE)))
    asked = live.ask([1, 2, 3] * 40)
    live.records.label([Label(workload="hand", about=by_id(one), value=2.0) for one, _ in asked])
    assert "confidently worse than the champion" in live.tick(spec)


def test_an_advance_waits_for_a_run_and_a_roll_back_does_not(live: Live) -> None:
    """While another process runs the workload a good challenger stays where it is; a bad one goes back all the same."""
    spec = live.spec(without_traffic="expose")
    live.offer(spec, live.register(2, LINE))
    live.ask([0, 1, 2] * 10)
    until(lambda: live.shadowed(30))
    code = (
        "import sys; from pathlib import Path; from assets import lease\n"
        "lease.hold(Path(sys.argv[1]), 'hand', 'run'); print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(live.home)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert lease.busy(live.home, "hand")
        assert live.tick(spec).endswith("a run of hand is in progress")
        live.offer(spec, live.register(3, LINE[:3]))
        live.ask([7] * 8)
        until(lambda: live.shadowed(8))
        assert live.tick(spec).startswith("version 3 was rolled back")
    finally:
        other.kill()
        other.wait()
    live.offer(spec, live.register(4, LINE))
    live.ask([1] * 30)
    until(lambda: live.shadowed(30))
    assert live.tick(spec).startswith("version 4 goes on")


def test_two_ticks_at_once_are_one_step(live: Live) -> None:
    """Of four ticks at the same moment one advances the challenger, and the others change nothing."""
    spec = live.spec(without_traffic="expose")
    live.offer(spec, live.register(2, LINE))
    live.ask([1] * 30)
    until(lambda: live.shadowed(30))
    with ThreadPoolExecutor(4) as threads:
        said = [one.result() for one in [threads.submit(live.tick, spec) for _ in range(4)]]
    assert sum(one.startswith("version 2 goes on") for one in said) == 1, said
    assert [one.payload["step"] for one in live.ledger.history("hand", "exposed")] == [0, 1]


def test_a_challenger_whose_server_is_gone_goes_back(live: Live) -> None:
    """A challenger whose files were damaged after its exposure goes back with its server's own words; the champion answers."""
    spec = live.spec(without_traffic="expose")
    live.offer(spec, live.register(2, LINE))
    live.here.deployment().stop("hand-v2")
    (live.home / "models" / "hand" / "2" / "model.onnx").write_bytes(b"damaged")
    assert "its server does not become ready" in live.tick(spec)
    live.ask([9])
