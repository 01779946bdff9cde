"""The loop while its processes are killed: what was acknowledged is kept, what died comes back, and a retrain makes one version.

`make faults` does the same longer, and with every process.
"""

from collections.abc import Iterator

import pytest

from benchmarks import faults
from tests.conftest import Project
from tests.faults.reporting import ROUNDS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("loop_faults"), pytest.mark.timeout(900 if ROUNDS == 1 else 7200)]
MANY, FEW = 2 if ROUNDS == 1 else 50, min(ROUNDS, 20)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with faults.served(tmp_path_factory.mktemp("loop")) as made:
        yield made


@pytest.mark.parametrize(
    "victim",
    [
        pytest.param("gateway", marks=pytest.mark.fault(14)),
        pytest.param("scribe", marks=pytest.mark.fault(14)),
        pytest.param("server", marks=pytest.mark.fault(13)),
    ],
)
def test_a_killed_endpoint_loses_nothing_that_it_acknowledged(project: Project, victim: str, track):
    """kill -9 under predictions and labels: each acknowledged one is kept, clients see only 5xx or no answer, and it comes back."""
    found = faults.kill(project, victim, MANY)
    assert found["lost_count"] == 0, found["lost"]
    assert max(found["back"]) < faults.STUCK_S
    track(what=f"kill -9 of the {victim}", **faults.figures(found))


@pytest.mark.fault(2)
def test_a_killed_retrain_is_run_again_by_dagster(project: Project, track):
    """kill -9 of the process in which Dagster runs a retrain of the loop: it is run again, ends once, and makes one version."""
    found = faults.kill(project, "worker", FEW)
    assert "passed" in found["else"] or "refused" in found["else"]
    track(**faults.figures(found))


@pytest.mark.long
@pytest.mark.parametrize(
    "victim",
    [
        pytest.param("daemon", marks=pytest.mark.fault(4)),
        pytest.param("code", marks=pytest.mark.fault(3)),
        pytest.param("web", marks=pytest.mark.fault(5)),
    ],
)
def test_a_killed_process_of_dagster_comes_back(project: Project, victim: str, track):
    """After kill -9 of the daemon or the code server the loop's sensor ticks again within a minute; the web server answers."""
    found = faults.kill(project, victim, FEW)
    assert max(found["back"]) < faults.STUCK_S
    track(**faults.figures(found))


@pytest.mark.long
@pytest.mark.fault(6)
def test_after_everything_was_killed_it_serves_within_a_minute(project: Project, track):
    """kill -9 of all processes at once, under load: `aiprime up` brings all back, nothing acknowledged is lost, no run stays STARTED."""
    found = faults.kill(project, "everything", min(FEW, 5))
    assert found["lost_count"] == 0, found["lost"]
    assert max(found["back"]) < faults.STUCK_S
    track(what="kill -9 of all processes, then `aiprime up`", **faults.figures(found))


@pytest.mark.long
@pytest.mark.fault(1)
def test_a_killed_command_leaves_one_version(project: Project, track):
    """kill -9 of `aiprime retrain` at a random moment and the same command again: one version, here and in MLflow."""
    found = faults.kill(project, "retrain", FEW)
    assert "none twice" in found["else"]
    track(what="kill -9 of `aiprime retrain`", **faults.figures(found))
