"""Several at once: one line of champions, one effect of what is delivered often, and no request lost while a new server dies."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from data.errors import UserError
from serving.deploy import LocalTarget
from serving.ledger import Ledger
from serving.records import Label, Records, by_id
from serving.supervision import Supervisor
from tests.conftest import ROOT
from tests.faults.reporting import ROUNDS
from tests.serving import test_deploy as releases
from tests.serving.records.samples import prediction

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("failpoints"), pytest.mark.timeout(600)]
LONG = ROUNDS > 1
DAY_S = 86_400

WRITER = """
import sys
from pathlib import Path
from serving.ledger import Conflict, Ledger
ledger, me = Ledger.at(Path(sys.argv[1])), sys.argv[2]
for turn in range(int(sys.argv[3])):
    champion = ledger.champion("co2")
    try:
        ledger.promote("co2", f"{me}.{turn}", expected=champion and champion.version, reason="race")
        print("won", f"{me}.{turn}", champion and champion.version, ledger.champion("co2").sequence)
    except Conflict:
        print("lost", f"{me}.{turn}")
"""


@pytest.mark.fault(36)
def test_six_writers_make_one_line_of_champions(tmp_path: Path, track):
    """Six processes promote at once: each that won replaced what it had seen, the champion never goes backwards, nothing is lost."""
    turns = 50 if LONG else 8
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(n), str(turns)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for n in range(6)
    ]
    said = [racer.communicate(timeout=300)[0].splitlines() for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 6
    won = {line.split()[1]: line.split()[2] for lines in said for line in lines if line.startswith("won")}
    ledger = Ledger.at(tmp_path)
    promoted = ledger.history("co2", "promoted")
    assert {one.version: str(one.payload["replaces"]) for one in promoted} == won
    assert [one.payload["replaces"] for one in promoted] == [None, *(one.version for one in promoted[:-1])]
    for lines in said:
        seen = [int(line.split()[3]) for line in lines if line.startswith("won")]
        assert seen == sorted(seen), "the champion went backwards"
    assert ledger.verify() is None
    track(injections=6 * turns, acknowledged=len(won), lost=0, said=f"{6 * turns - len(won)} told that another won")


@pytest.mark.fault(40)
def test_what_is_delivered_a_hundred_times_has_one_effect(tmp_path: Path, track):
    """The same label and the same keyed decision, a hundred times from ten threads: one record each, and everyone is told the same."""
    one = prediction(id=str(uuid4()))
    records, ledger = Records.at(tmp_path), Ledger.at(tmp_path)
    records.append([one])
    label = Label(workload="co2", about=by_id(one.id), value=1)
    with ThreadPoolExecutor(10) as threads:
        told = [*threads.map(lambda _: records.label([label]), range(100))]
        decided = [*threads.map(lambda _: ledger.record("registered", "co2", 1, key="the same"), range(100))]
    assert Counter((done.new, done.same, done.corrected) for done in told) == {(1, 0, 0): 1, (0, 1, 0): 99}
    assert len({done.hash for done in decided}) == len(ledger.history()) == 1
    assert len(records.labels_of(one.id)) == 1
    assert records.verify() is None
    track(injections=200, acknowledged=200, lost=0)


@pytest.mark.fault(12)
def test_a_new_server_that_dies_costs_no_request(tmp_path: Path, track):
    """kill -9 of each new version's server as soon as it runs, under load: the release is carried to its end or refused, no request fails."""
    home = tmp_path / "home"
    target, versions = LocalTarget(home), 2 + (10 if LONG else 1)
    releases.register(home, 1)
    try:
        url = releases.start_gateway(home)
        target.release("co2", 1, expected=None, reason="the first")
        over, failed, answered, kills = threading.Event(), [], [], 0
        clients = [threading.Thread(target=_ask, args=(url, over, failed, answered)) for _ in range(4)]
        for client in clients:
            client.start()
        for version in range(2, versions):
            releases.register(home, version)
            outcome: list[Any] = []
            release = threading.Thread(target=_release, args=(home, version, outcome))
            release.start()
            kills += _kill(home, f"co2-v{version}", release)
            release.join(120)
            target.reconcile()
            champion = Ledger.at(home).champion("co2")
            assert champion is not None
            releases.is_settled(home, champion.version)
        over.set()
        for client in clients:
            client.join()
    finally:
        Supervisor(home).shutdown()
    assert failed == []
    assert kills == versions - 2
    track(injections=kills, acknowledged=len(answered), lost=0)


def _ask(url: str, over: threading.Event, failed: list[str], answered: list[int]) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    while not over.is_set():
        try:
            connection.request("POST", "/v1/models/co2:predict", '{"instances": [{"sleep": 0.01}]}')
            given = connection.getresponse()
            body = given.read()
            (answered.append(1) if given.status == 200 else failed.append(f"{given.status} {body[:200]!r}"))
        except (OSError, http.client.HTTPException) as error:
            failed.append(repr(error))
            connection.close()
        over.wait(0.02)


def _release(home: Path, version: int, outcome: list[Any]) -> None:
    champion = Ledger.at(home).champion("co2")
    try:
        LocalTarget(home).release("co2", version, expected=champion and champion.version, reason="better")
        outcome.append("released")
    except UserError as error:
        outcome.append(error)


def _kill(home: Path, name: str, release: threading.Thread) -> int:
    """Kill the program once, as soon as it has a process."""
    end = time.monotonic() + 60
    while time.monotonic() < end and release.is_alive():
        found = next((one.pid for one in Supervisor(home).status() if one.name == name and one.pid), None)
        if found is not None:
            os.kill(found, signal.SIGKILL)
            return 1
        time.sleep(0.005)
    return 0


@pytest.mark.fault(54)
def test_what_models_answered_is_never_taken_for_truth(tmp_path: Path, track):
    """Predictions alone are no truth of anything: until a label says so there is nothing to learn from and nothing to judge."""
    from tests.serving.records.samples import FORECAST, answered, new_id

    records = Records.at(tmp_path)
    week = 7 * DAY_S
    records.append([answered(FORECAST, [week * number], [[350.0, 351.0]], id=new_id()) for number in range(200)])
    records.absorb(FORECAST)
    table = records.outcomes("co2", since=None, until=None, roles=None)
    assert table.num_rows == 400
    assert table["truth"].null_count == table.num_rows
    assert records.truths("co2").num_rows == 0
    track(injections=200, lost=0)
