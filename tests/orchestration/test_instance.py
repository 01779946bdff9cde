"""Dagster's instance: made once, whoever comes first."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import make_project

OPEN = "from data.places import Places; from orchestration import instance; instance.get(Places.find()).get_runs(limit=1)"


@pytest.mark.slow
def test_several_that_begin_at_once_make_one_instance(tmp_path: Path) -> None:
    """Four processes that open the instance of a fresh home all can, and each database has one head in its version table."""
    project = make_project(tmp_path)
    begun = [
        subprocess.Popen([sys.executable, "-c", OPEN], cwd=project.places.root, env=project.env, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    said = [one.communicate(timeout=120)[1].decode() for one in begun]
    assert [one.returncode for one in begun] == [0] * 4, "\n".join(said)
    databases = [file for file in (project.places.home / "dagster").rglob("*.db") if "alembic_version" in _tables(file)]
    assert databases
    for file in databases:
        assert sqlite3.connect(file).execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def _tables(file: Path) -> set[str]:
    return {name for (name,) in sqlite3.connect(file).execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


LOCKED = """
import sqlite3, threading, time
from pathlib import Path
import dagster as dg
from data.places import Places
from orchestration import instance
places = Places.find()
opened = instance.get(places)
made = dg.DagsterRun(job_name="job", run_id=dg._core.utils.make_new_run_id())
held = []
for file in (places.home / "dagster").rglob("*.db"):
    held.append(sqlite3.connect(file, isolation_level=None, check_same_thread=False))
    held[-1].execute("begin exclusive")
threading.Timer(12, lambda: [one.close() for one in held]).start()
began = time.monotonic()
opened.run_storage.add_run(made)
opened.report_engine_event("kept", made)
assert time.monotonic() - began > 10, "nothing was locked"
assert [run.run_id for run in opened.get_runs()] == [made.run_id]
opened.schedule_storage.all_instigator_state()
"""


@pytest.mark.slow
@pytest.mark.fault(24)
def test_a_database_that_is_locked_for_twelve_seconds_loses_no_run(tmp_path: Path) -> None:
    """A run that is asked for meanwhile is there when the lock is gone: Dagster's own storage gives up after five seconds."""
    project = make_project(tmp_path)
    project.python("-c", LOCKED)
