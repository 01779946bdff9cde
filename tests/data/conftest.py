"""What the tests of the DVC door share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data import project
from tests.data.door import Door


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(project.make(tmp_path / "project"))
