"""Scratch model servers: they end with their block and with their owner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import UserError
from serving.deploy import LocalTarget
from serving.supervision import Supervisor
from tests.serving.test_deploy import ROOT, exists, home, register, target, until

__all__ = ["home", "target"]


def test_a_scratch_server_ends_with_its_block(home: Path, target: LocalTarget) -> None:
    """It answers inside the block, and no process and no file of it is left after, also after an exception."""
    manifest = register(home, 1)
    pids = []

    def replay() -> None:
        with target.scratch(manifest) as server:
            pids.append(server.pid)
            assert server.ready()
            raise KeyError

    with pytest.raises(KeyError):
        replay()
    assert not exists(pids[0])
    assert list((home / "scratch").iterdir()) == []
    assert not Supervisor(home).alive()


def test_a_scratch_server_ends_with_its_owner(home: Path) -> None:
    """When the process that booted it is killed -9, the scratch server dies too."""
    register(home, 1)
    code = (
        "import sys, time; from pathlib import Path; from serving import manifests; from serving.deploy import LocalTarget\n"
        "from tests.serving import stand_in; stand_in.allow(); home = Path(sys.argv[1])\n"
        "with LocalTarget(home).scratch(manifests.read(manifests.file(home, 'co2', 1))) as server: print(server.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    until(lambda: not exists(pid))


def test_a_scratch_server_that_fails_says_why(home: Path, target: LocalTarget) -> None:
    """A candidate whose server does not come up is reported with the end of its log."""
    with pytest.raises(UserError, match="no such operator"), target.scratch(register(home, 1, broken="no such operator")):
        pass
