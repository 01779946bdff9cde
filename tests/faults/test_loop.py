"""The loop while its processes are killed: what was acknowledged is kept, what died comes back, and a retrain makes one version.

benchmarks/faults.py does the same longer; docs/log.md has its figures.
"""

from collections.abc import Iterator

import pytest

from benchmarks import faults
from tests.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("loop_faults"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with faults.served(tmp_path_factory.mktemp("loop")) as made:
        yield made


@pytest.mark.parametrize("victim", ["gateway", "server"])
def test_a_killed_endpoint_loses_nothing_that_it_acknowledged(project: Project, victim: str):
    """kill -9 under predictions and labels: each acknowledged one is kept, clients see only 5xx or no answer, and it comes back."""
    found = faults.kill(project, victim, 2)
    assert found["lost"].startswith("0 of ")
    assert ", 0 of " in found["lost"]
    assert max(found["back"]) < faults.STUCK_S


def test_a_killed_daemon_comes_back(project: Project):
    """After kill -9 of Dagster's daemon the loop's sensor ticks again within a minute."""
    assert max(faults.kill(project, "daemon", 1)["back"]) < faults.STUCK_S


def test_a_killed_retrain_is_run_again_by_dagster(project: Project):
    """kill -9 of the process in which Dagster runs a retrain of the loop: it is run again, ends once, and makes one version."""
    found = faults.kill(project, "worker", 1)
    assert "passed" in found["else"] or "refused" in found["else"]


def test_a_killed_command_leaves_one_version(project: Project):
    """kill -9 of `aiprime retrain` at a random moment and the same command again: one version, here and in MLflow."""
    assert "none twice" in faults.kill(project, "retrain", 1)["else"]
