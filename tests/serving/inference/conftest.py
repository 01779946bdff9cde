"""Two hand-made models, each behind the short route and behind KServe's own routes, for all tests of answers."""

from collections.abc import Iterator

import pytest

from tests.serving import model_folders
from tests.serving.served import Served, start


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """Two models, each behind the short route and behind KServe's own routes."""
    folder = tmp_path_factory.mktemp("models")
    kinds, pictures = model_folders.every_kind(folder / "kinds"), model_folders.pictures(folder / "pictures")
    started = {
        "kinds": start(kinds, "--version", "7"),
        "kinds, stock": start(kinds, "--version", "7", "--stock_routes"),
        "pictures": start(pictures),
        "pictures, stock": start(pictures, "--stock_routes"),
    }
    for served in started.values():
        served.wait_until_ready()
    yield started
    for served in started.values():
        served.tell_to_end()
    assert [served.end() for served in started.values()] == [0, 0, 0, 0]


@pytest.fixture
def kinds(servers: dict[str, Served]) -> Served:
    return servers["kinds"]


@pytest.fixture
def pictures(servers: dict[str, Served]) -> Served:
    return servers["pictures"]
