"""A run whose surroundings fail: the tracking server dies, memory ends, the disk is full, locks were left behind. The next run makes one version.

Each takes whole runs: `make faults`.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from serving.supervision import Supervisor
from tests.conftest import Project, make_project
from tests.faults import disks
from tests.faults.reporting import ROUNDS
from tests.faults.runs import is_whole, registered, reseeded, said, started
from tests.faults.struck import until

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.xdist_group("surroundings"), pytest.mark.timeout(3600)]
TIMES = min(ROUNDS, 5)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = make_project(tmp_path_factory.mktemp("surroundings"))
    try:
        made.aiprime("run", "digits", timeout=900)
        yield made
    finally:
        made.aiprime("down", check=False)


@pytest.fixture
def another(project: Project) -> int:
    """A model to be fitted; its number as a version."""
    number = len(registered(project)) + 1
    reseeded(project, number)
    return number


def again(project: Project) -> float:
    """The same command once more, undisturbed: how long it took."""
    began = time.monotonic()
    project.aiprime("run", "digits", timeout=900)
    return round(time.monotonic() - began, 1)


@pytest.mark.fault(16)
@pytest.mark.parametrize("word", ["epoch", "evaluation:", "gate:"])
def test_a_run_whose_tracking_server_dies_makes_one_version(project: Project, another: int, word: str, track):
    """kill -9 of MLflow within training, before and while the version is registered: the run ends well or is run again, one version."""
    process = started(project, "run", "digits")
    said(process, word)
    server = next(one.pid for one in Supervisor(project.places.home).status() if one.name == "mlflow")
    assert server is not None
    os.kill(server, signal.SIGKILL)
    process.communicate(timeout=600)
    took = again(project)
    is_whole(project, another)
    track(
        what=f"at {word.rstrip(':')}", injections=1, lost=0, said=f"the run itself exited {process.returncode}", recovery_s=took
    )


@pytest.mark.fault(18)
def test_a_run_without_memory_fails_and_leaves_nothing(project: Project, another: int, track):
    """With no more memory to be had within training the run ends with an error; nothing is registered, and the next one goes on."""
    process = started(project, "run", "digits")
    said(process, "epoch")
    running = psutil.Process(process.pid)
    limit = running.memory_info().vms + (8 << 20)
    running.rlimit(psutil.RLIMIT_AS, (limit, limit))
    _, rest = process.communicate(timeout=600)
    assert process.returncode != 0, rest
    assert len(registered(project)) == another - 1
    took = again(project)
    is_whole(project, another)
    track(injections=1, lost=0, recovery_s=took)


@pytest.mark.fault(17)
def test_a_holder_that_stands_still_is_waited_for_or_refused(project: Project, another: int, track):
    """SIGSTOP for 30 s in the middle of a fit: a second run is refused and named the holder, who then ends what it began, once."""
    process = started(project, "run", "digits")
    said(process, "epoch")
    process.send_signal(signal.SIGSTOP)
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, 10, "the stop")
    stopped, refused = time.monotonic(), 0
    while time.monotonic() - stopped < 30:
        second = project.aiprime("run", "digits", check=False)
        assert second.returncode == 1
        assert str(process.pid) in second.stdout
        refused += 1
    process.send_signal(signal.SIGCONT)
    _, rest = process.communicate(timeout=600)
    assert process.returncode == 0, rest
    is_whole(project, another)
    track(what="SIGSTOP 30 s", injections=1, lost=0, said=f"{refused} second runs refused")


@pytest.mark.fault(30)
def test_locks_of_the_dead_are_no_obstacle(project: Project, another: int, track):
    """Lock files of processes that are gone, ours and DVC's, and a pid file of another process: the run takes no notice."""
    home, root = project.places.home, project.places.root
    (home / "locks" / "digits.lock").write_text(json.dumps({"pid": 4_000_000, "run": "dead", "since": "2020-01-01"}))
    temporary = root / ".dvc" / "tmp"
    temporary.mkdir(exist_ok=True)
    path = str(root / "data/store/digits/model")
    writes, reads = {path: {"pid": 4_000_000, "cmd": "dvc repro"}}, {path: [{"pid": 4_000_001, "cmd": "dvc status"}]}
    (temporary / "rwlock").write_text(json.dumps({"write": writes, "read": reads}))
    for name in ("lock", "rwlock.lock"):
        (temporary / name).write_text("4000000\n")
    (home / "servers" / "digits-v9.json.lock").touch()
    took = again(project)
    is_whole(project, another)
    track(injections=5, lost=0, recovery_s=took)


@pytest.mark.fault(19)
def test_a_run_on_a_full_disk_fails_and_the_next_one_goes_on(tmp_path: Path, track):
    """A home without room at each of several moments: the run says so, registers nothing, and goes on once there is room."""
    made, failed = make_project(tmp_path), 0
    try:
        with disks.small(made.places.home, "size=200m") as home:
            made.aiprime("run", "digits", "--until", "dataset", timeout=900)
            for word in ("features:", "epoch", "evaluation:")[: 1 + TIMES]:
                process = started(made, "run", "digits")
                said(process, word)
                filler = _fill(home)
                process.communicate(timeout=600)
                failed += process.returncode != 0
                filler.unlink()
            took = again(made)
            is_whole(made, 1)
            made.aiprime("down")
    finally:
        made.aiprime("down", check=False)
    assert failed
    track(what="during a run", injections=1 + min(TIMES, 2), lost=0, said=f"{failed} runs failed", recovery_s=took)


def _fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                os.write(file.fileno(), bytes(1 << 16))
        except OSError:
            return filler
