"""Processes found by a mark in their environment, and calls to supervisord over its unix socket.

A mark is inherited: it finds what a killed supervisord left behind, however deep, where a stored pid may be someone else's by now.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from xmlrpc.client import dumps, loads

MARK = "AIPRIME_SUPERVISOR"
GRACE_S = 3.0  # between SIGTERM and SIGKILL for what supervisord no longer ends


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Remote:
    """Calls of supervisord's XML-RPC methods. OSError where nobody answers, xmlrpc.client.Fault where it refuses."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def __call__(self, method: str, *arguments: Any) -> Any:
        connection = _UnixConnection(self._path, self._timeout_s)
        try:
            connection.request("POST", "/RPC2", dumps(arguments, f"supervisor.{method}"), {"Content-Type": "text/xml"})
            answer = connection.getresponse()
            content = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise ConnectionError(f"supervisord answered {answer.status}")
        return loads(content)[0][0]


def marked(mark: str) -> set[int]:
    """The living processes that carry the mark, but for this one and those that it descends from."""
    wanted = f"{MARK}={mark}"
    if sys.platform == "linux":
        found = _linux(wanted.encode())
    else:  # macOS shows the environment of one's own processes
        listed = subprocess.run(["ps", "eww", "-ax", "-o", "pid=,command="], capture_output=True, text=True, check=False).stdout
        found = {int(line.split(None, 1)[0]) for line in listed.splitlines() if wanted in line}
    return found - _ancestors()


def wait_gone(mark: str, deadline_s: float) -> bool:
    """Wait until no process carries the mark; False where the deadline passes first."""
    end = time.monotonic() + deadline_s
    while marked(mark):
        if time.monotonic() > end:
            return False
        time.sleep(0.03)
    return True


def end_all(mark: str, ending: Iterable[int] = ()) -> None:
    """End every process that carries the mark: SIGTERM, then SIGKILL; returns when none is left, nor of `ending`.

    `ending`: marked ones that were told to end before. A process that is just exiting has no environment any more, and lives.
    """
    seen = set(ending)
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S), (signal.SIGKILL, 10.0)):
        for pid in marked(mark):
            seen.add(pid)
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        end = time.monotonic() + patience_s
        if wait_gone(mark, patience_s) and _wait_exited(seen, max(end, time.monotonic() + 1)):
            return
    raise RuntimeError(f"processes {sorted(marked(mark) | set(filter(_exiting, seen)))} do not end")


def _wait_exited(pids: Iterable[int], end: float) -> bool:
    while any(map(_exiting, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _exiting(pid: int) -> bool:
    """Whether a process that lost its mark is still on its way out (a zombie waits for its parent alone, and runs nothing)."""
    try:
        return _living_parent(pid) is not None and not Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # gone, or not Linux
        return False


def _linux(wanted: bytes) -> set[int]:
    found: set[int] = set()
    bare: dict[int, int] = {}  # without an environment to read, as in the middle of an exec: the parent tells whose it is
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # another user's, or gone
                pid, environment = int(folder.name), (folder / "environ").read_bytes()
                if wanted in environment.split(b"\0"):
                    found.add(pid)
                elif not environment and (parent := _living_parent(pid)):
                    bare[pid] = parent
    while more := {pid for pid, parent in bare.items() if parent in found} - found:
        found |= more
    return found


def _living_parent(pid: int) -> int | None:
    """The parent of a process that is not dead; OSError where there is no such process."""
    # "pid (name) state ppid": the name may hold spaces and brackets.
    state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    return None if state in "ZX" else int(parent)


def _ancestors() -> set[int]:
    found, pid = {os.getpid()}, os.getppid()
    while pid > 1 and pid not in found:
        found.add(pid)
        if sys.platform != "linux":
            break
        with suppress(OSError):
            pid = _living_parent(pid) or 0
    return found
