"""Processes are found by their mark, also while they have no environment to read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.processes import MARK, end_all, marked
from tests.serving.waiting import exists, until

linux = pytest.mark.skipif(sys.platform != "linux", reason="not run: /proc is Linux's")


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name}-{os.getpid()}"


@linux
def test_a_process_in_the_middle_of_an_exec_is_found(mark: str) -> None:
    """One that becomes another program again and again has no environment for moments; it is found each time all the same."""
    again = "import os, sys; os.execv(sys.executable, [sys.executable, '-ISc', sys.argv[1], sys.argv[1]])"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-ISc', {again!r}, {again!r}])"
    parent = subprocess.Popen([sys.executable, "-ISc", code], env={**os.environ, MARK: mark})
    try:
        until(lambda: len(marked(mark)) == 2, deadline_s=30)
        assert [len(marked(mark)) for _ in range(200)] == [2] * 200
    finally:
        end_all(mark)
        parent.wait()


@linux
def test_a_process_without_an_environment_belongs_to_its_parent(tmp_path: Path, mark: str) -> None:
    """What a marked process started with nothing in its environment ends with the rest."""
    pids = tmp_path / "pids"
    code = f"env -i sleep 600 & echo $! > {pids}.new; mv {pids}.new {pids}; wait"
    parent = subprocess.Popen(["sh", "-c", code], env={**os.environ, MARK: mark})
    try:
        until(pids.exists)
        assert {parent.pid, *map(int, pids.read_text().split())} <= marked(mark)
    finally:
        end_all(mark)
        parent.wait()
    assert not any(map(exists, map(int, pids.read_text().split())))
