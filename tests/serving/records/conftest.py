"""A store of records on each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.records import Records


@pytest.fixture
def records(database: Path | str, tmp_path: Path) -> Iterator[Records]:
    """Empty; closed after the test."""
    made = Records(database, noted=tmp_path / "kept.head")
    yield made
    made.close()
