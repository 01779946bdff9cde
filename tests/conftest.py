"""What every test stands on: a copy of the tree, an AIPRIME_HOME of its own, and the `aiprime` command in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from data.places import Places
from orchestration.services import PREFERRED
from serving.supervision import free_port

pytest_plugins = ["tests.faults.reporting"]
ROOT = Path(__file__).parents[1]
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("OMP_NUM_THREADS", "1")

PARTS = (
    *("orchestration", "assets", "serving", "training", "data", "infra/locks", "dvc.yaml", ".dvc/config", ".dvcignore"),
    "pyproject.toml",
)


@dataclass(frozen=True)
class Project:
    """A copy of the tree with a home of its own."""

    places: Places
    env: dict[str, str]

    def aiprime(self, *arguments: str, timeout: float = 240, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `aiprime ARGUMENTS` in the copy; with `check`, a non-zero exit fails the test and shows what was printed."""
        return self.python("-m", "orchestration.cli", *arguments, timeout=timeout, check=check)

    def python(self, *arguments: str, timeout: float = 240, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run this interpreter in the copy."""
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=self.places.root, env=self.env, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"{arguments} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, timeout: float = 240) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.aiprime(*arguments, timeout=timeout).stdout)


def copy_tree(target: Path) -> Path:
    """A copy of the product's tree, without state."""
    left_out = shutil.ignore_patterns("store")  # what was compiled comes along: its times are the sources'
    for part in PARTS:
        source = ROOT / part
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=left_out)
        elif source.is_file():
            shutil.copy2(source, target / part)
    return target


def make_project(folder: Path) -> Project:
    """A project in `folder`; its services listen on free ports, and are stopped by whoever made it."""
    root = copy_tree(folder / "project")
    env = {key: value for key, value in os.environ.items() if not key.startswith("AIPRIME_") or key == "AIPRIME_DATA"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"  # the `python` of dvc.yaml's commands
    env |= {"AIPRIME_HOME": str(folder / "home"), "PYTHONPATH": str(root), "PATH": path}
    # Ports of its own: two projects that start at once must not choose the same usual one.
    env |= {f"AIPRIME_{name.upper()}_PORT": str(free_port()) for name in PREFERRED}
    return Project(Places(root=root, home=folder / "home"), env)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A fresh copy for one test; whatever it started is stopped."""
    made = make_project(tmp_path)
    yield made
    if (made.places.home / "supervisor").exists():
        made.aiprime("down", check=False)
