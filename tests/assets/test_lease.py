"""One run of a workload at a time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from assets import lease

HOLD = "import sys; from pathlib import Path; from assets import lease; lease.hold(Path(sys.argv[1]), 'co2', 'theirs'); print('held', flush=True); sys.stdin.read()"


def holder(home: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path):
    """While one process runs a workload another is refused with the holder's pid."""
    process = holder(tmp_path)
    try:
        with pytest.raises(lease.Busy, match=str(process.pid)):
            lease.hold(tmp_path, "co2", "mine")
    finally:
        process.communicate("")


def test_a_killed_holder_frees_the_lease(tmp_path: Path):
    """kill -9 of the holder frees the lease at once."""
    process = holder(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    lease.hold(tmp_path, "co2", "mine")
    lease.release(tmp_path, "co2")


def test_other_workloads_are_free(tmp_path: Path):
    """The lease is the workload's own."""
    process = holder(tmp_path)
    try:
        lease.hold(tmp_path, "bikes", "mine")
        lease.release(tmp_path, "bikes")
    finally:
        process.communicate("")


def test_the_same_run_may_take_it_again(tmp_path: Path):
    """Each stage of a run takes the lease; the run keeps it."""
    lease.hold(tmp_path, "co2", "run")
    lease.hold(tmp_path, "co2", "run")
    lease.hold(tmp_path, "co2", "the next run of this process")
    lease.release(tmp_path, "co2")
