"""The drill: everything is lost, and comes back from a backup that was taken under traffic. Measured, for the track record."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.files import sha256, tree_digest
from serving.gateway.online import OnlineStore
from serving.ledger import Ledger
from serving.records import Records
from tests.conftest import Project
from training.tracking import Tracking

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("lifecycle"), pytest.mark.timeout(1200)]
_ASKED = {"instances": [{"station": "mauna-loa"}]}
_RTO_S = 300


def ask(project: Project) -> dict[str, Any]:
    """One answer of the gateway."""
    gateway = json.loads(project.places.services.read_text())["gateway"]
    head = {"content-type": "application/json"}
    request = urllib.request.Request(f"{gateway}/v1/models/co2:predict", json.dumps(_ASKED).encode(), head)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read()) | {"id": answer.headers["x-aiprime-prediction-id"]}


class Traffic(threading.Thread):
    """Requests one after the other; the ids that were acknowledged."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self._project, self._over = project, threading.Event()
        self.ids: list[str] = []

    def run(self) -> None:
        while not self._over.is_set():
            self.ids.append(ask(self._project)["id"])

    def end(self) -> None:
        self._over.set()
        self.join(timeout=60)


def facts(project: Project) -> dict[str, Any]:
    """What must be the same, bit by bit, before and after."""
    home, champion = project.places.home, Ledger.at(project.places.home).champion("co2")
    assert champion is not None
    store = OnlineStore(home / "feast" / "co2")
    try:
        row = store.read("mauna-loa")
    finally:
        store.close()
    beside = sorted(path for path in (home / "models" / "co2").iterdir() if path.is_file())
    return {
        "champion": champion,
        "models": {path.name: tree_digest(path) for path in (home / "models" / "co2").iterdir() if path.is_dir()},
        "beside them": {path.name: sha256(path) for path in beside},
        "keys": {path.name: (sha256(path), path.stat().st_mode) for path in (home / "keys").iterdir()},
        "aliases": Tracking(project.places.service("mlflow") or "").aliases("co2"),
        "features": (row.values, row.times) if row else None,
        "data": tree_digest(project.places.store("co2")),
        "answer": ask(project)["predictions"],
    }


def wipe(project: Project) -> None:
    """As after the loss of the disk, but for the clone."""
    places = project.places
    shutil.rmtree(places.home)
    shutil.rmtree(places.root / "data" / "store")
    for name in ("dvc.lock", ".dvc/config.local"):
        (places.root / name).unlink()


@pytest.mark.fault(85)
def test_everything_comes_back_from_a_backup_under_traffic(lived: Project, tmp_path: Path, track: Callable[..., None]) -> None:
    """Wiped and restored, models, keys, aliases, features, data and answers are bit-equal, every prediction acknowledged before the
    backup is there, nothing is run anew, and it answers within five minutes."""
    before = facts(lived)
    traffic = Traffic(lived)
    traffic.start()
    while len(traffic.ids) < 20:
        assert traffic.is_alive()
        time.sleep(0.05)
    acknowledged = list(traffic.ids)
    try:
        taken = json.loads(lived.aiprime("backup", str(tmp_path / "kept"), "--json").stdout)
    finally:
        traffic.end()
    assert len(traffic.ids) > len(acknowledged)  # it went on meanwhile
    lived.aiprime("down")
    wipe(lived)

    began = time.monotonic()
    restored = lived.json("restore", str(tmp_path / "kept"), "--json")
    lived.aiprime("up")
    assert ask(lived)["predictions"] == before["answer"]
    rto_s = time.monotonic() - began

    assert facts(lived) == before
    records = Records.at(lived.places.home)
    lost = [one for one in acknowledged if not records.find(one)]
    track(injections=1, acknowledged=len(acknowledged), lost=len(lost), recovery_s=round(rto_s, 1))
    assert lost == []
    assert rto_s < _RTO_S
    assert restored["ends"] == taken["ends"]
    assert [one for one in lived.json("verify", "--json") if one["state"] == "bad"] == []
    again = lived.json("run", "co2", "--json")
    assert [stage for stage, told in again["stages"].items() if told.get("ran")] == []
    assert facts(lived) == before
