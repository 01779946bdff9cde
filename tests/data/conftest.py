"""What the tests of the DVC door share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data import versions
from tests.data import project
from tests.data.door import STAGES, Door


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(project.make(tmp_path / "project"))


@pytest.fixture(scope="session")
def _ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = project.make(tmp_path_factory.mktemp("ready") / "project")
    assert Door(root).up() == STAGES
    return root


@pytest.fixture
def ready(_ready: Path, tmp_path: Path) -> Door:
    """A project of which every stage has run: a copy of one in which they did."""
    root = tmp_path / "project"
    shutil.copytree(_ready, root)
    versions.initialise(root, root / ".aiprime")
    return Door(root)
