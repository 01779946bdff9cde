"""`--dist loadgroup` holds the tests of a group together: they share a project that takes a minute to make."""

import os
import subprocess
import sys
from pathlib import Path

GROUPED = """
import os, pytest
pytestmark = pytest.mark.xdist_group("one")
@pytest.mark.parametrize("i", range(4))
def test_where(i):
    with open({told!r}, "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + chr(10))
"""


def test_a_group_runs_in_one_worker(tmp_path: Path):
    """A pair of pytest and xdist that ignores groups makes every shared fixture twice, and says nothing (pytest-xdist 1386)."""
    told = tmp_path / "told"
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(GROUPED.format(told=str(told)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist.plugin", "-n", "2", "--dist", "loadgroup", str(tmp_path)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, timeout=120)
    assert len(workers := told.read_text().split()) == 8
    assert len(set(workers)) == 1
