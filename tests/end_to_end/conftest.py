"""What is dear to make, made once for the tests of one group."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Project, make_project


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project in which co2 went through the whole graph once; for tests of the group `lifecycle`, which one worker runs."""
    made = make_project(tmp_path_factory.mktemp("lifecycle"))
    try:
        made.aiprime("run", "co2", timeout=600)
        yield made
    finally:
        made.aiprime("down", check=False)
