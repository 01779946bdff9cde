"""Each failpoint, struck by each signal, and the same thing again: one effect, however often it was cut off.

Here each point is struck once, with SIGKILL; `make faults` does so with every signal, round after round.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data import failpoints
from orchestration.backup import manifest
from serving.deploy import LocalTarget
from serving.ledger import Ledger
from serving.records import Records
from serving.supervision import Supervisor, free_port
from tests.assets import test_loop as loops
from tests.assets.judged import Here
from tests.conftest import ROOT
from tests.faults.reporting import ROUNDS
from tests.faults.struck import SIGNALS, environment, strike, until
from tests.orchestration.backup import homes
from tests.serving import test_deploy as releases
from tests.serving.gateway.conftest import Running, _live
from tests.serving.gateway.model_server import ModelServer, says

pytestmark = [pytest.mark.xdist_group("failpoints"), pytest.mark.timeout(1800)]
LONG = ROUNDS > 1
FORKED = loops.FORKED
STRUCK = SIGNALS if LONG else ("SIGKILL",)
TIMES = min(ROUNDS, 5)


def test_every_point_is_in_the_code_and_struck_by_a_test():
    """The names are those of the calls in the product, each once, and each is struck by a test of this folder."""
    sources = [
        path for part in ("data", "training", "serving", "assets", "orchestration") for path in (ROOT / part).rglob("*.py")
    ]
    called = [name for path in sources for name in re.findall(r'failpoint\(\s*"([a-z-]+)"', path.read_text())]
    assert sorted(set(called)) == sorted(called), "one place for each"
    assert {*called} == {*failpoints.POINTS}
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in failpoints.POINTS if not re.search(rf'"{name}[@"]', tests)] == [], "never struck"


def test_a_point_that_is_not_set_costs_nothing():
    """Less than a microsecond, and no look at the disk or at the environment."""
    count = 100_000
    began = time.process_time()
    for _ in range(count):
        failpoints.failpoint("after-commit")
    assert (time.process_time() - began) / count < 1e-6


def test_a_point_acts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The retry goes through; another file's is another's; without AIPRIME_HOME in the environment nothing acts."""
    monkeypatch.setattr(failpoints, "_set", "before-rename@a.json=error, after-train=error")
    monkeypatch.delenv("AIPRIME_HOME", raising=False)
    failpoints.failpoint("after-train")
    monkeypatch.setenv("AIPRIME_HOME", str(tmp_path))
    failpoints.failpoint("before-rename", "b.json")
    for name, of in (("before-rename", "a.json"), ("after-train", "")):
        with pytest.raises(failpoints.Injected):
            failpoints.failpoint(name, of)
        failpoints.failpoint(name, of)


@pytest.mark.parametrize("said", ["after-tea=SIGKILL", "after-train", "after-train=SIGHUP", "after-train=sleep:long"])
def test_a_slip_in_the_setting_is_said(said: str):
    """A name or an action that nobody knows is an error, not a test that tests nothing."""
    with pytest.raises(ValueError, match=r"."):
        failpoints.chosen(said)


# -- a release: the stand-in server is up in a moment

RELEASE = """
import sys
from pathlib import Path
from serving.deploy import LocalTarget
from tests.serving import stand_in
stand_in.allow()
number = int(sys.argv[2])
LocalTarget(Path(sys.argv[1])).release("co2", number, expected=number - 1, reason="better")
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "home"
    yield made
    Supervisor(made).shutdown()


@pytest.mark.slow
@pytest.mark.fault(11)
@pytest.mark.parametrize("point", ["after-clearing", "after-decision@promoted", "after-point", "during-drain"])
def test_a_release_that_is_struck_is_carried_to_its_end(home: Path, point: str, track):
    """A pointer never leads nowhere; in the end the new version serves alone, promoted once and deployed once."""
    target, took = LocalTarget(home), []
    releases.register(home, 1)
    target.release("co2", 1, expected=None, reason="the first")
    number = 1
    for action in STRUCK:
        for _ in range(TIMES):
            number += 1
            releases.register(home, number)
            answered = lambda _, number=number: _is(releases.served(home) in {str(number - 1), str(number)})  # noqa: E731
            command = [sys.executable, "-c", RELEASE, str(home), str(number)]
            strike(command, home, point, action, meanwhile=answered)
            answered(0)
            began = time.monotonic()
            if point == "after-clearing":  # nothing was decided: it is for who asked to ask again
                subprocess.run(command, check=True, cwd=ROOT)
            target.reconcile()
            took.append(time.monotonic() - began)
            releases.is_settled(home, str(number))
    ledger = Ledger.at(home)
    for kind in ("promoted", "deployed"):
        assert [one.version for one in ledger.history("co2", kind)] == [str(n + 1) for n in range(number)]
    assert ledger.verify() is None
    track(what=f"{point}, {'/'.join(STRUCK)}", injections=len(took), lost=0, recovery_s=round(max(took), 2))


def _is(right: bool) -> None:
    assert right


# -- the records: the scribe is struck while it writes


def gateway_struck(home: Path, said: str) -> Running:
    """A gateway whose scribe meets a point."""
    port = free_port()
    command = [sys.executable, "-m", "serving.gateway", "--home", str(home), "--port", str(port)]
    running = Running(home, port, subprocess.Popen(command, cwd=ROOT, env=environment(home, said)))
    until(lambda: _live(running), 30, "the gateway")
    return running


@pytest.mark.slow
@pytest.mark.fault(14)
@pytest.mark.parametrize("point", ["before-commit", "after-commit", "before-label-commit", "after-label-commit"])
def test_what_is_acknowledged_around_a_struck_scribe_is_kept(tmp_path: Path, point: str, track):
    """Of predictions and labels each that was acknowledged is there, once; one that was not may be there, once; the next is kept."""
    acknowledged = unknown = strikes = 0
    took = []
    with ModelServer(says('{"predictions":[1]}')) as server:
        for action in STRUCK:
            for number in range(TIMES):
                home = tmp_path / f"{action}-{number}"
                home.mkdir()
                running = gateway_struck(home, f"{point}={action}{':0.3' if action == 'SIGSTOP' else ''}")
                try:
                    running.point(server.url)
                    kept, labelled, refused, back = _asked(running)
                finally:
                    running.end()
                strikes, acknowledged, unknown = strikes + 1, acknowledged + len(kept) + len(labelled), unknown + refused
                took.append(back)
                records = Records.at(home)
                assert records.verify() is None
                assert set(kept) == set(records.sizes(kept))
                assert all([one.value for one in records.labels_of(about)] == [1.0] for about in labelled)
                assert records.newest("co2") <= len(kept) + refused
                assert refused == (0 if action in ("SIGTERM", "SIGSTOP") else 1)  # SIGTERM is not for the scribe
    track(injections=strikes, what=point, acknowledged=acknowledged, lost=0, unknown=unknown, recovery_s=round(max(took), 2))


def _asked(running: Running) -> tuple[list[str], list[str], int, float]:
    """Ids and labels that were acknowledged, how many requests were refused, and how long until one was answered after that."""
    kept: list[str] = []
    labelled: list[str] = []
    refused, since, back = 0, None, 0.0
    end = time.monotonic() + 30
    while len(labelled) < 5:
        assert time.monotonic() < end, "nothing is answered any more"
        reply = running.predict(1)
        if reply.status == 200:
            kept.append(reply.headers["x-aiprime-prediction-id"])
            label = json.dumps({"workload": "co2", "labels": [{"prediction_id": kept[-1], "value": 1}]})
            reply = running.ask("POST", "/v1/labels", label, {"content-type": "application/json"})
            if reply.status == 200:
                labelled.append(kept[-1])
        if reply.status == 200:
            back, since = max(back, time.monotonic() - since if since else 0.0), None
        else:
            assert reply.status == 503
            refused, since = refused + 1, since or time.monotonic()
    return kept, labelled, refused, back


# -- the loop: a monitor is struck before and after its records

TURN = """
import sys
from pathlib import Path
from assets import monitoring
from data.places import Places
from tests.assets import test_loop as loops
from tests.assets.judged import Here
root, day = Path(sys.argv[1]), int(sys.argv[2])
here = Here(Places(root=root, home=root / "home"))
monitoring.look = loops.days(here, lambda: day)
loops.turn(loops.spec(k=1, n=1, cooldown="1h", budget_cpu_s=1000), here)
"""
here = loops.here


LOOK = ("before-window", "after-window", "after-retrain-asked")


@pytest.mark.slow
@pytest.mark.fault(15)
def test_a_monitor_that_is_killed_again_and_again_leaves_one_window_and_one_request(here: Here, track):
    """kill -9 before and after the window's record and after the request's, one after the other: one of each in the end."""
    command = [sys.executable, "-c", TURN, str(here.places.root), "1"]
    for point, windows in zip(LOOK, (0, 1, 1), strict=True):
        strike(command, here.places.home, point, "SIGKILL")
        assert len(here.ledger.history("hand", "window")) == windows
    subprocess.run(command, check=True, cwd=ROOT)
    assert (len(here.ledger.history("hand", "window")), len(loops.asked(here))) == (1, 1)
    assert here.ledger.verify() is None
    track(what="one after the other, SIGKILL", injections=len(LOOK), lost=0)


@pytest.mark.long
@pytest.mark.fault(15)
@pytest.mark.parametrize("point", LOOK)
def test_a_monitor_that_is_struck_leaves_one_window_and_one_request(here: Here, point: str, track):
    """Whenever it is cut off, the next look closes the window once and asks for one retrain."""
    root, day, took = here.places.root, 0, []
    for action in SIGNALS:
        for _ in range(TIMES):
            day += 1
            command = [sys.executable, "-c", TURN, str(root), str(day)]
            strike(command, here.places.home, point, action)
            began = time.monotonic()
            subprocess.run(command, check=True, cwd=ROOT)
            took.append(time.monotonic() - began)
            assert (len(here.ledger.history("hand", "window")), len(loops.asked(here))) == (day, day)
            loops.end(here, loops.asked(here)[-1])
    assert here.ledger.verify() is None
    assert here.ledger.history("hand", "declined") == []
    track(what=f"{point}, {'/'.join(SIGNALS)}", injections=len(took), lost=0, recovery_s=round(max(took), 2))


# -- a backup

BACKUP = """
import sys
from pathlib import Path
from data.places import Places
from orchestration.backup import taking
taking.backup(Places(root=Path(sys.argv[1]), home=Path(sys.argv[2])), Path(sys.argv[3]))
"""


@pytest.mark.slow
@pytest.mark.fault(85)
@pytest.mark.parametrize("point", ["during-backup"])
def test_a_backup_that_is_struck_is_none(tmp_path: Path, point: str, track):
    """What was cut off is no backup; the next one is whole, and its files are what its manifest says."""
    places, finished = homes.filled(tmp_path / "here"), 0
    for action in STRUCK:
        for _ in range(TIMES):
            command = [sys.executable, "-c", BACKUP, str(places.root), str(places.home), str(tmp_path / "kept")]
            strike(command, places.home, point, action)
            finished += action == "SIGSTOP"
            assert len(manifest.finished(tmp_path / "kept")) == finished
            subprocess.run(command, check=True, cwd=ROOT)
            finished += 1
            kept = manifest.finished(tmp_path / "kept")
            assert len(kept) == finished
            manifest.verify(kept[-1])
    track(what=f"{point}, {'/'.join(STRUCK)}", injections=len(STRUCK) * TIMES, lost=0)


# -- training: a fit is struck around its checkpoint

FIT = """
import hashlib, sys
from pathlib import Path
from tests.training.little import prepared
from training.fit import fit
made = prepared()
done = fit(made, folder=Path(sys.argv[1]), seed=0, patience=50, token="t", checkpoint_every=0)
weights = b"".join(one.detach().numpy().tobytes() for one in made.module.state_dict().values())
print(done.resumed_from, hashlib.sha256(weights).hexdigest())
"""


FITS = {"before-rename@last.ckpt": "None", "after-rename@last.ckpt": "1", "during-training@3": "3"}  # and where it is taken up


def fitted(folder: Path) -> tuple[str, str]:
    """An undisturbed fit: the epoch at which it was taken up, and the weights' digest."""
    done = subprocess.run([sys.executable, "-c", FIT, str(folder)], check=True, cwd=ROOT, capture_output=True, text=True)
    resumed, digest = done.stdout.split()
    return resumed, digest


@pytest.mark.slow
@pytest.mark.fault(1, 8)
def test_a_fit_that_is_killed_again_and_again_ends_with_the_same_weights(tmp_path: Path, track):
    """kill -9 before and after a checkpoint's rename and within training, one after the other: bit-equal to an undisturbed fit."""
    for point in FITS:
        strike([sys.executable, "-c", FIT, str(tmp_path / "cut")], tmp_path / "home", point, "SIGKILL")
    assert fitted(tmp_path / "cut") == ("3", fitted(tmp_path / "whole")[1])
    assert list((tmp_path / "cut").iterdir()) == []
    track(what="one after the other, SIGKILL", injections=len(FITS), lost=0)


@pytest.mark.long
@pytest.mark.fault(1, 8)
@pytest.mark.parametrize("point", FITS)
def test_a_fit_that_is_struck_ends_with_the_same_weights(tmp_path: Path, point: str, track):
    """The checkpoint is the one before or the one after, never between; the resumed fit ends bit-equal to an undisturbed one."""
    _, whole = fitted(tmp_path / "whole")
    took = []
    for action in SIGNALS:
        for number in range(TIMES):
            folder = tmp_path / f"{action}-{number}"
            strike([sys.executable, "-c", FIT, str(folder)], tmp_path / "home", point, action)
            began = time.monotonic()
            resumed, digest = fitted(folder)
            took.append(time.monotonic() - began)
            assert digest == whole
            assert action == "SIGSTOP" or resumed == FITS[point]
            assert list(folder.iterdir()) == []
    track(what=f"{point}, {'/'.join(SIGNALS)}", injections=len(took), lost=0, recovery_s=round(max(took), 2))


# -- a checkpoint's write, at any instant


@pytest.mark.slow
@pytest.mark.fault(8)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["TMPDIR beside", "TMPDIR on another file system"])
def test_no_checkpoint_is_corrupt_after_a_kill(tmp_path: Path, elsewhere: bool, track, monkeypatch: pytest.MonkeyPatch):
    """kill -9 at random instants of a write: the file loads, is at least the last that was said to be written, and nothing is left beside it."""
    from training.checkpoint import FILE, usable

    if elsewhere and Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("not run: there is no second file system")
    monkeypatch.setenv("TMPDIR", "/dev/shm" if elsewhere else str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    folder, kills, said, chance = tmp_path / "fit", 100 if LONG else 10, 0, random.Random(8)
    folder.mkdir()
    for _ in range(kills):
        reads, writes = os.pipe()
        writer = FORKED.Process(target=_write_checkpoints, args=(folder, said, writes))
        writer.start()
        os.close(writes)
        with os.fdopen(reads) as told:
            told.readline()
            time.sleep(chance.uniform(0, 0.05))
            writer.kill()
            writer.join()
            lines = [int(line) for line in told if line.endswith("\n")]
        said = lines[-1] if lines else said
        found = usable(folder, "t")
        assert found is not None or said == 0
        if found is not None:
            assert found["number"] in (said, said + 1)
            assert bool((found["x"] == float(found["number"])).all())
            said = found["number"]
        assert {one.name for one in folder.iterdir()} <= {FILE}
    track(what="at random instants" + (", TMPDIR elsewhere" if elsewhere else ""), seeds=8, injections=kills, lost=0)


def _write_checkpoints(folder: Path, number: int, told: int) -> None:
    """Checkpoints of a megabyte without end, each told when it is written."""
    import torch

    from training.checkpoint import FILE, Durable

    torch.set_num_threads(1)
    os.write(told, b"begins\n")
    while True:
        number += 1
        content = {
            "aiprime_token": "t",
            "callbacks": {"Watch": {}},
            "number": number,
            "x": torch.full((250_000,), float(number)),
        }
        Durable().save_checkpoint(content, folder / FILE)
        os.write(told, f"{number}\n".encode())
