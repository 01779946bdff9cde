"""An erasure, as a person asks for it, struck after each of its steps: the same command again completes it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from assets.forgetting import doing, receipt
from serving.records import Records
from tests.assets.forgetting import home as shops
from tests.assets.forgetting import test_forgetting as erasures
from tests.faults.reporting import ROUNDS
from tests.faults.struck import SIGNALS, strike

pytestmark = [pytest.mark.xdist_group("forgetting"), pytest.mark.timeout(1800)]
TIMES = min(ROUNDS, 5)

FORGET = [sys.executable, "-m", "orchestration.cli", "forget", "--entity", shops.ERIKA, "--yes", "--json"]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> shops.Here:
    return shops.once(tmp_path_factory.getbasetemp())


def forget_struck(here: shops.Here, step: str, action: str) -> None:
    """An erasure that is struck once a step is done; while it stands still a second one is refused."""

    def refused(_: int) -> None:
        second = subprocess.run(FORGET, cwd=here.places.root, env=of_home(here), capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert "by another process" in second.stdout + second.stderr

    asked = {"base": of_home(here), "cwd": here.places.root, "meanwhile": refused}
    strike(FORGET, here.places.home, f"during-forget@{step}", action, **asked)


def of_home(here: shops.Here) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name != "AIPRIME_LEDGER_URL"}
    return env | {"AIPRIME_HOME": str(here.places.home)}


def is_forgotten(here: shops.Here, before: dict[str, Any]) -> None:
    """The same command again completes it: nothing is left but what is said, others are as they were, one record, one receipt."""
    subprocess.run(FORGET, cwd=here.places.root, env=of_home(here), check=True, stdout=subprocess.DEVNULL)
    assert shops.where(here, shops.ERIKA) == erasures.SERVES
    assert erasures.of_others(here) == before
    [file] = (here.places.home / "receipts").glob("*.json")
    told = receipt.read(file, here.places.home)
    assert [one.payload["receipt"] for one in here.ledger.history("shop", "forgotten")] == [told.id]
    erased = told.workloads["shop"]["erased"]
    assert [erased[kind] for kind in ("predictions", "outcomes", "labels")] == [3, 3, 3]
    assert list((here.places.home / "forgetting").iterdir()) == []
    assert here.ledger.verify() is None
    assert Records.at(here.places.home).verify() is None


@pytest.mark.slow
@pytest.mark.fault(86)
def test_an_erasure_that_is_killed_again_and_again_is_completed(lived: shops.Here, tmp_path: Path, track):
    """kill -9 after its steps (each third in `make test`, for every one is struck in process too): completed, with one signed receipt."""
    here = erasures.copied(lived, tmp_path)
    before, steps = erasures.of_others(here), doing.STEPS[:: 3 if ROUNDS == 1 else 1]
    for step in steps:
        forget_struck(here, step, "SIGKILL")
    began = time.monotonic()
    is_forgotten(here, before)
    took = round(time.monotonic() - began, 1)
    track(what="one after the other, SIGKILL", injections=len(steps), lost=0, recovery_s=took)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.fault(86)
@pytest.mark.parametrize("step", doing.STEPS)
def test_an_erasure_that_is_struck_is_completed(lived: shops.Here, tmp_path: Path, step: str, track):
    """Each step and signal, round after round, each of a fresh home."""
    took = []
    for action in SIGNALS:
        for number in range(TIMES):
            (folder := tmp_path / f"{action}-{number}").mkdir()
            here = erasures.copied(lived, folder)
            before = erasures.of_others(here)
            forget_struck(here, step, action)
            began = time.monotonic()
            is_forgotten(here, before)
            took.append(time.monotonic() - began)
    track(what=f"after {step}, {'/'.join(SIGNALS)}", injections=len(took), lost=0, recovery_s=round(max(took), 1))
