"""A run that is killed, stopped, doubled or short of a port: nothing half-registered, and the next run goes on."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from serving.ledger import Ledger
from tests.conftest import Project, make_project
from tests.faults.reporting import ROUNDS
from tests.faults.runs import is_whole, registered, reseeded, said, started, struck
from tests.faults.struck import SIGNALS, reached

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = make_project(tmp_path_factory.mktemp("faults"))
    try:
        yield made
    finally:
        made.aiprime("down", check=False)


POINTS = (
    "before-train",
    "during-training@0",
    "after-train",
    "after-mlflow",
    "before-sign",
    "after-register",
    "after-decision@promoted",
)
ROWS = {"before-train": 7, "during-training@0": 1, "before-sign": 10, "after-register": 10, "after-decision@promoted": 11}
# Files that a run writes on its way; VERSION is the next one's number.
FILES = (
    "before-rename@dvc.lock",
    "after-rename@dvc.lock",
    "before-rename@VERSION.yaml",
    "after-rename@VERSION.yaml",
    "before-rename@ledger.head",
)


@pytest.mark.timeout(1200)
@pytest.mark.fault(7, 9, 10)
def test_a_run_that_is_killed_anywhere_leaves_nothing_half_done(project: Project, track):
    """kill -9 after each stage and at each point; every next run goes on, and in the end there is one version, registered and promoted once."""
    process = started(project, "run", "digits")
    said(process, "dataset:")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    quick = [point for point in POINTS if point not in ("after-train", "before-sign")]
    for point in quick:
        struck(project, point)
    began = time.monotonic()
    project.aiprime("run", "digits")
    is_whole(project, 1)
    track(what="one after the other, SIGKILL", injections=1 + len(quick), lost=0, recovery_s=round(time.monotonic() - began, 1))


@pytest.fixture(scope="module")
def fitted(project: Project) -> Project:
    """The project with a version that serves, and its services started by nobody whom a point strikes."""
    project.aiprime("run", "digits", timeout=900)
    return project


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.fault(1, 7, 9, 10, 11, 17)
@pytest.mark.parametrize("action", SIGNALS)
@pytest.mark.parametrize("point", [*POINTS, *FILES])
def test_a_struck_run_makes_one_version(fitted: Project, point: str, action: str, track):
    """Each point and signal, round after round: the same command again makes one version; while it stands still a second run is refused."""
    project = fitted
    versions, took = len(registered(fitted)), []
    for _ in range(min(ROUNDS, 5)):
        versions += 1
        promotions = len(Ledger.at(project.places.home).history("digits", "promoted"))
        reseeded(project, versions)

        def refused(pid: int) -> None:
            second = project.aiprime("run", "digits", check=False)
            assert second.returncode == 1
            assert str(pid) in second.stdout

        try:
            struck(project, point, action, refused)
        except AssertionError:
            # A version that the gate refuses comes by no promotion: nothing was struck, and it is registered all the same.
            if "promoted" not in point or reached(project.places.home):
                raise
            assert len(Ledger.at(project.places.home).history("digits", "promoted")) == promotions
            is_whole(project, versions)
            continue
        began = time.monotonic()
        project.aiprime("run", "digits", timeout=900)
        took.append(time.monotonic() - began)
        is_whole(project, versions)
    if took:
        figures = {"what": f"{point}, {action}", "injections": len(took), "lost": 0, "recovery_s": round(max(took), 1)}
        for row in {ROWS.get(point, 9), 17} if action == "SIGSTOP" else {ROWS.get(point, 9)}:
            track(row=row, **figures)


@pytest.mark.fault(31)
def test_the_second_of_two_runs_is_refused(fitted: Project):
    """Two runs of one workload at once: one does the work, the other ends with the holder's pid and the next step."""
    project = fitted
    before = len(Ledger.at(project.places.home).history("digits", "registered"))
    reseeded(project, 4711)
    first = started(project, "run", "digits")
    said(first, "epoch")
    second = project.aiprime("run", "digits", check=False)
    assert second.returncode == 1
    assert str(first.pid) in second.stdout
    assert "next:" in second.stdout
    _, rest = first.communicate(timeout=200)
    assert first.returncode == 0, rest
    assert len(Ledger.at(project.places.home).history("digits", "registered")) == before + 1


def test_ports_in_use_are_left_alone(project: Project):
    """`up` with its preferred ports taken picks others, and running it twice starts nothing twice."""
    project.aiprime("down")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = project.env["AIPRIME_GATEWAY_PORT"]
        taken.bind(("127.0.0.1", int(port)))
        taken.listen()
        project.aiprime("up")
        before = project.json("status", "--json")
        assert f":{port}" not in before["urls"]["gateway"]
        project.aiprime("up")
        after = project.json("status", "--json")
    assert [(p["name"], p["pid"]) for p in before["processes"]] == [(p["name"], p["pid"]) for p in after["processes"]]
    assert {p["state"] for p in after["processes"]} == {"RUNNING"}


@pytest.mark.fault(6)
def test_a_killed_supervisor_is_survived(fitted: Project):
    """After kill -9 of the supervisor its children end with it, and `up` brings everything back, the champion too."""
    import psutil

    project = fitted
    project.aiprime("up")
    supervisor = psutil.Process(project.json("status", "--json")["processes"][0]["pid"]).parent()
    assert supervisor is not None
    supervisor_children = supervisor.children()
    grandchildren = [one for child in supervisor_children for one in child.children()]
    supervisor.kill()
    _, alive = psutil.wait_procs(supervisor_children, timeout=15)
    assert alive == []
    _, alive = psutil.wait_procs(grandchildren, timeout=90)  # Dagster's own code server notices by its heartbeat
    assert alive == []
    project.aiprime("up")
    assert project.json("status", "--json")["workloads"]
    assert json.loads(project.aiprime("predict", "digits", "--json", json.dumps({"image": [[0.0] * 8] * 8})).stdout)["label"]
