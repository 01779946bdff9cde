"""A small home for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.places import Places
from tests.orchestration.backup.homes import filled


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A project with a home in which something happened."""
    monkeypatch.delenv("AIPRIME_LEDGER_URL", raising=False)
    return filled(tmp_path / "here")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where backups go."""
    return tmp_path / "kept"


@pytest.fixture
def other(places: Places, tmp_path: Path) -> Places:
    """Another clone, with a home that is not there yet."""
    from tests.conftest import copy_tree

    return Places(root=copy_tree(tmp_path / "there" / "clone"), home=tmp_path / "there" / "other home")
