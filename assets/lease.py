"""One run of a workload at a time. The lease is a file lock, so the kernel frees it when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import UserError

# A lock lives as long as its open file does; this process keeps the ones it holds here, by workload: (run id, file descriptor).
_held: dict[tuple[Path, str], tuple[str, int]] = {}


class Busy(UserError):
    """Another run of the workload is in progress."""


def hold(home: Path, workload: str, run_id: str) -> None:
    """Take the workload's lease for `run_id`, or keep it where this run has it. Busy names the process that has it."""
    file = home / "locks" / f"{workload}.lock"
    if (home, workload) in _held:
        if _held[home, workload][0] == run_id:
            return
        release(home, workload)  # the process's earlier run has ended: a process runs one run of a workload at a time
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 4096, 0).decode(errors="replace")
        os.close(descriptor)
        raise Busy(
            f"{workload} is being run by another process: {holder or 'just starting'}",
            where=str(file),
            next_step="wait for it to end, or stop it; nothing was changed",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "run": run_id, "since": time.strftime("%F %T")}).encode(), 0)
    _held[home, workload] = (run_id, descriptor)


def busy(home: Path, workload: str) -> bool:
    """Whether another process runs the workload now."""
    file = home / "locks" / f"{workload}.lock"
    if (home, workload) in _held or not file.is_file():
        return False
    with file.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def taken(home: Path, workload: str) -> bool:
    """Whether anybody has the lease, this process included."""
    return (home, workload) in _held or busy(home, workload)


@contextmanager
def within(home: Path, workload: str, run_id: str) -> Iterator[None]:
    """The lease for as long as the block; where this process has it already, its run goes on having it. Busy as `hold`."""
    mine = (home, workload) not in _held
    if mine:
        hold(home, workload, run_id)
    try:
        yield
    finally:
        if mine:
            release(home, workload)


def release(home: Path, workload: str) -> None:
    """Give the lease back; nothing happens where this process does not hold it."""
    if found := _held.pop((home, workload), None):
        os.close(found[1])
