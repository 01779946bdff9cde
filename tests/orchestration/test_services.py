"""The processes a person needs: a mistake starts none of them, and one that cannot live is told soon."""

import sys
import time

import pytest

from data.errors import UserError
from data.files import write_json
from orchestration import services
from serving import instance
from serving.supervision import Program, Supervisor, free_port
from tests.conftest import Project


def test_a_mistyped_name_starts_nothing(project: Project):
    """`aiprime up --run TYPO` refuses before anything runs."""
    done = project.aiprime("up", "--run", "co3", check=False)
    assert done.returncode == 1
    assert "no workload 'co3'" in done.stderr
    assert not (project.places.home / "supervisor").exists()


@pytest.mark.parametrize("lives_s", [0, 1.2])
def test_a_service_that_keeps_ending_is_told_soon(project: Project, lives_s: float):
    """Whether it dies at once or after supervisord took it for running: the error comes long before the deadline, with the log."""
    code = f"import sys, time; print('no such table', flush=True); time.sleep({lives_s}); sys.exit(3)"
    write_json(project.places.services, {"mlflow": f"http://127.0.0.1:{free_port(0)}"})
    supervisor = Supervisor(project.places.home)
    began = time.monotonic()
    try:
        supervisor.apply(Program(name="mlflow", command=(sys.executable, "-c", code), env={}, cwd=project.places.root))
        with pytest.raises(UserError, match="mlflow keeps ending") as raised:
            services.wait(project.places, ["mlflow"], lambda *_: None, deadline_s=60)
    finally:
        supervisor.shutdown()
    assert "no such table" in str(raised.value)
    assert time.monotonic() - began < 20


def test_the_gateway_of_an_older_home_asks_from_its_start(project: Project):
    """A home of before servers proved themselves has its secret when the gateway starts: no client's request goes to who took a port."""
    home = project.places.home
    try:
        services.start(project.places, ["gateway"])
        stated = home / "supervisor" / "conf.d" / "gateway.conf"
        assert instance.secret(home).stat().st_mtime_ns < stated.stat().st_mtime_ns
    finally:
        Supervisor(home).shutdown()
