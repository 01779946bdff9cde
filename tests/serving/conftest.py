"""The databases that records are kept in: every test of them runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    """One server for the session; skips where PostgreSQL is not installed."""
    if postgres.program("initdb") is None:
        pytest.skip("not run: PostgreSQL is not installed (Debian: postgresql)")
    with postgres.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """An SQLite file's path, or the URL of an empty database."""
    if request.param == "sqlite":
        return tmp_path / "kept.db"
    return request.getfixturevalue("postgres_server").url()
