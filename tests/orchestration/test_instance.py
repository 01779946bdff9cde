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
