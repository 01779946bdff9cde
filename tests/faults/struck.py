"""A process that a failpoint ends or stops: started, watched until the point acted, and brought on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from data import failpoints
from tests.conftest import ROOT

SIGNALS = ("SIGKILL", "SIGTERM", "SIGSTOP")


def until(condition: Callable[[], object], deadline_s: float, what: str) -> float:
    """Seconds until the condition holds; AssertionError past the deadline."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < deadline_s, f"{what} took more than {deadline_s:.0f} s"
        time.sleep(0.01)
    return time.monotonic() - began


def environment(home: Path, said: str, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which the points that `said` names act; they all act anew."""
    shutil.rmtree(home / "failpoints", ignore_errors=True)
    failpoints.chosen(said)
    return {**(os.environ if base is None else base), "AIPRIME_HOME": str(home), failpoints.SETTING: said}


def reached(home: Path) -> bool:
    """Whether a point acted."""
    return any((home / "failpoints").glob("*"))


def stopped(process: int) -> bool:
    """Whether a process stands still."""
    return psutil.Process(process).status() == psutil.STATUS_STOPPED


def strike(
    command: Sequence[str],
    home: Path,
    point: str,
    action: str,
    *,
    base: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    meanwhile: Callable[[int], None] = lambda _: None,
    deadline_s: float = 180,
) -> None:
    """Run the command until the point acts on it.

    SIGKILL and SIGTERM must end it. One that stands still is woken after `meanwhile(pid)`, and must then end well.
    """
    env = environment(home, f"{point}={action}", base)
    with subprocess.Popen(command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            if action == "SIGSTOP":
                until(lambda: process.poll() is not None or (reached(home) and stopped(process.pid)), deadline_s, point)
                if process.poll() is None:
                    meanwhile(process.pid)
                    process.send_signal(signal.SIGCONT)
            said, _ = process.communicate(timeout=deadline_s)
        finally:
            process.kill()
        assert reached(home), f"{point} was never reached:\n{said}"
        assert (process.returncode == 0) == (action == "SIGSTOP"), f"{point}={action}: exit {process.returncode}\n{said}"
