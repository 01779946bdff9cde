"""`python -m benchmarks.keeping 100000`: backup, second backup, restore and verify of a home with so many predictions, and what a backup costs
those who append meanwhile: how long one append took, with and without."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from data.places import Places
from orchestration import verifying
from orchestration.backup.restoring import restore
from orchestration.backup.taking import backup
from serving.records import Records
from tests.orchestration.backup.homes import filled
from tests.serving.records.samples import prediction

_GROUP = 500


@contextmanager
def appending(records: Records) -> Iterator[list[float]]:
    """One prediction after the other, in a thread; the seconds that each took."""
    took: list[float] = []
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            began = time.perf_counter()
            records.append([prediction(version="1", id=str(uuid4()))])
            took.append(time.perf_counter() - began)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def timed(what: str, act: Callable[[], object], size: int | None = None) -> None:
    """Print the wall and CPU seconds."""
    began, cpu = time.perf_counter(), time.process_time()
    act()
    wall = time.perf_counter() - began
    rate = f" | {size / 1e6 / wall:,.0f} MB/s |" if size else " | |"
    print(f"| {what} | {wall:.1f} | {time.process_time() - cpu:.1f}{rate}", flush=True)


def main(arguments: list[str]) -> None:
    """Print the table."""
    count = int(arguments[0]) if arguments else 100_000
    with tempfile.TemporaryDirectory() as folder:
        here = filled(Path(folder) / "here")
        records = Records.at(here.home)
        for start in range(0, count, _GROUP):
            body = os.urandom(600).hex().encode()
            records.append([prediction(version="1", id=str(uuid4()), request=body, at=1e9 + start + n) for n in range(_GROUP)])
        records.close()
        size = sum(file.stat().st_size for file in here.home.rglob("*") if file.is_file())
        print(f"{count:,} predictions, {size / 1e6:,.0f} MB\n\n| what | wall s | CPU s | |\n|---|---|---|---|")
        kept, there = Path(folder) / "kept", Places(root=here.root, home=Path(folder) / "there")
        timed("backup", lambda: backup(here, kept), size)
        timed("second backup, nothing changed", lambda: backup(here, kept), size)
        timed("restore", lambda: restore(there, kept), size)
        timed("verify", lambda: verifying.everything(there), size)
        shutil.rmtree(there.home)
        with appending(records) as quiet:
            time.sleep(5)
        with appending(records) as busy:
            backup(here, kept, full=True)
        records.close()
    for what, took in (("alone", quiet), ("while a backup is taken", busy)):
        ordered = sorted(took)
        p99 = ordered[int(len(ordered) * 0.99)]
        print(
            f"one append {what}: median {1e3 * ordered[len(ordered) // 2]:.1f} ms, p99 {1e3 * p99:.1f}, longest {1e3 * ordered[-1]:.0f} of {len(took):,}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
