"""The DVC door on a small project (project.py), as the tests use it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data import versions
from tests.data import project

STAGES = ["source", "dataset", "quality", "features", "model", "evaluation"]


class Door:
    """A project and the in-process way of bringing its stages up to date."""

    def __init__(self, root: Path) -> None:
        self.root = root
        spec = importlib.util.spec_from_file_location("stub_stages", root / "assets" / "stages.py")
        assert spec is not None
        assert spec.loader is not None
        self.stages: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.stages)

    def bring(self, stage: str, workload: str = "w", call: Callable[[], None] | None = None) -> versions.StageRun:
        return versions.bring_up_to_date(
            self.root, stage, workload, call or (lambda: self.stages.run(self.root, stage, workload))
        )

    def up(self, workload: str = "w") -> list[str]:
        """Bring all stages up to date; the names of those that ran."""
        return [stage for stage in STAGES if self.bring(stage, workload).ran]

    def dvc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The dvc command in the project, as a person's terminal has it."""
        env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True, check=False)

    def edit(self, old: str, new: str, workload: str = "w") -> None:
        file = project.defs(self.root, workload)
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    @property
    def lock(self) -> bytes:
        file = self.root / "dvc.lock"
        return file.read_bytes() if file.is_file() else b""
