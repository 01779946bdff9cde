"""A run that is killed, doubled or short of a port: nothing half-registered, and the next run goes on."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from serving.ledger import Ledger
from tests.conftest import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = make_project(tmp_path_factory.mktemp("faults"))
    try:
        yield made
    finally:
        made.aiprime("down", check=False)


def started(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """`aiprime ARGUMENTS` in a process of its own, its progress readable."""
    command = [sys.executable, "-m", "orchestration.cli", *arguments]
    return subprocess.Popen(
        command, cwd=project.places.root, env=project.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str], word: str, deadline_s: float = 120) -> None:
    """Wait until the process's progress says `word`."""
    assert process.stderr is not None
    end, seen = time.monotonic() + deadline_s, ""
    while word not in seen:
        ready, _, _ = select.select([process.stderr], [], [], max(0, end - time.monotonic()))
        assert ready, f"{word!r} was not said:\n{seen}"
        line = process.stderr.readline()
        assert line, f"ended before {word!r}:\n{seen}"
        seen += line


def test_a_run_that_is_killed_anywhere_leaves_nothing_half_done(project: Project):
    """kill -9 after each stage; every next run goes on, and in the end there is one version, registered and promoted once."""
    for word in ("dataset:", "quality:", "features:", "epoch", "evaluation:", "gate:", "registered version"):
        process = started(project, "run", "digits")
        said(process, word)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    project.aiprime("run", "digits")
    ledger = Ledger.at(project.places.home)
    assert ledger.verify() is None
    assert [decision.version for decision in ledger.history("digits", "registered")] == ["1"]
    assert [decision.version for decision in ledger.history("digits", "promoted")] == ["1"]
    answer = json.loads(project.aiprime("predict", "digits", "--json", json.dumps({"image": [[0.0] * 8] * 8})).stdout)
    assert set(answer) == {"label", "probabilities"}


def test_the_second_of_two_runs_is_refused(project: Project):
    """Two runs of one workload at once: one does the work, the other ends with the holder's pid and the next step."""
    project.aiprime("run", "digits")
    before = len(Ledger.at(project.places.home).history("digits", "registered"))
    defs = project.places.defs("digits")
    defs.write_text(defs.read_text().replace("size: tiny", "size: tiny\n    seed: 5"))
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


def test_a_killed_supervisor_is_survived(project: Project):
    """After kill -9 of the supervisor its children end with it, and `up` brings everything back, the champion too."""
    import psutil

    project.aiprime("run", "digits")
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
