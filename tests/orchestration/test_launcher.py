"""No run stays STARTED after the process that ran it died."""

import subprocess
import sys

import dagster as dg
from dagster._core.launcher.base import WorkerStatus

from orchestration.launcher import BORN, PID, ProcessLauncher, process_tags


def status(tags: dict[str, str]) -> WorkerStatus:
    """What the health check says of a run with these tags."""
    run = dg.DagsterRun(job_name="job", run_id="0", tags=tags)
    return ProcessLauncher().check_run_worker_health(run).status


def test_a_live_process_is_running():
    """A run inside a live `aiprime run` is not taken for dead, however long it takes."""
    assert status(process_tags()) == WorkerStatus.RUNNING


def test_a_dead_process_is_found_out():
    """A run whose process is gone is NOT_FOUND, also where another process has its pid now."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert status({PID: str(process.pid), BORN: "1.0"}) == WorkerStatus.NOT_FOUND
    assert status(process_tags() | {BORN: "1.0"}) == WorkerStatus.NOT_FOUND
