"""The workload `hand`, made once for the tests of one worker: each of them gets a copy."""

from __future__ import annotations

import shutil

import pytest

from tests.assets.judged import Workload


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """Its data made, its usual models fitted and each judged as a first one. Take a copy of it."""
    made = Workload.at(tmp_path_factory.mktemp("judged"))
    for scale in (1.4, 1.5):
        made.write()
        made.fit(scale)
        made.judge()
    return made


@pytest.fixture(scope="session")
def fitted(judged: Workload, tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """The same, but nothing was judged yet. Take a copy of it."""
    made = judged.copied(tmp_path_factory.mktemp("fitted"))
    shutil.rmtree(made.here.places.home / "gate")
    return made
