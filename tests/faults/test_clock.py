"""A wall clock that jumps: order is by sequence, what is waited for is measured by another clock, and nothing is done twice."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.ledger import Ledger
from serving.records import Records
from serving.supervision import free_port
from tests.assets import test_loop as loops
from tests.assets.judged import Here
from tests.conftest import ROOT
from tests.serving.gateway.conftest import Running, _live
from tests.serving.gateway.model_server import ModelServer, says
from tests.serving.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("failpoints"), pytest.mark.timeout(300), pytest.mark.fault(32)]
DAY = 86_400
here = loops.here

WRITER = """
import sys, time
from pathlib import Path
from serving.ledger import Ledger
home, shift = Path(sys.argv[1]), Path(sys.argv[2])
for number, by in enumerate((0, -86400, 86400, -31536000, 0)):
    shift.write_text(str(by))
    before = time.monotonic()
    Ledger.at(home).promote("co2", number, expected=number - 1 if number else None, reason="clock")
    assert 0 <= time.monotonic() - before < 60
"""


def test_decisions_are_ordered_by_sequence(tmp_path: Path, preload: dict[str, str], track):
    """The clock goes back a day, on a day, back a year: the newest promotion is the champion, and the chain holds."""
    shift = tmp_path / "shift"
    shift.write_text("0")
    env = {**preload, "AIPRIME_CLOCK_SHIFT": str(shift)}
    subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), str(shift)], check=True, cwd=ROOT, env=env)
    ledger = Ledger.at(tmp_path)
    told = [one.at for one in ledger.history("co2", "promoted")]
    assert told != sorted(told), "the clock was not shifted"
    champion = ledger.champion("co2")
    assert champion is not None
    assert champion.version == "4"
    assert ledger.verify() is None
    track(what="decisions", injections=4, lost=0)


def test_requests_are_answered_and_kept_while_the_clock_jumps(tmp_path: Path, preload: dict[str, str], track):
    """A gateway whose clock jumps goes on answering, keeps each answer, and its ids do not repeat."""
    shift, home = tmp_path / "shift", tmp_path / "home"
    shift.write_text("0")
    home.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "serving.gateway", "--home", str(home), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env={**preload, "AIPRIME_CLOCK_SHIFT": str(shift)})
    running, ids = Running(home, port, process), []
    try:
        until(lambda: _live(running), 30)
        with ModelServer(says('{"predictions":[1]}')) as server:
            running.point(server.url)
            for by in (0, -DAY, DAY, -365 * DAY, 0):
                shift.write_text(str(by))
                began = time.monotonic()
                replies = [running.predict(1) for _ in range(20)]
                assert time.monotonic() - began < 30
                assert {reply.status for reply in replies} == {200}
                ids += [reply.headers["x-aiprime-prediction-id"] for reply in replies]
    finally:
        running.end()
    assert len({*ids}) == len(ids)
    assert {*ids} == {*Records.at(home).sizes(ids)}
    assert Records.at(home).verify() is None
    track(what="requests", injections=4, acknowledged=len(ids), lost=0)


TURN = """
import sys
from pathlib import Path
from assets import monitoring
from data.places import Places
from tests.assets import test_loop as loops
from tests.assets.judged import Here
root = Path(sys.argv[1])
here = Here(Places(root=root, home=root / "home"))
monitoring.look = loops.days(here, lambda: 1)
loops.turn(loops.spec(k=1, n=1), here)
"""


def test_a_retrain_is_asked_for_once_whatever_the_clock_says(here: Here, preload: dict[str, str], track):
    """The same window looked at tomorrow and then yesterday: one record of it, one request."""
    for by in (DAY, -DAY):
        env = {**preload, "AIPRIME_CLOCK_SHIFT": str(by)}
        subprocess.run([sys.executable, "-c", TURN, str(here.places.root)], check=True, cwd=ROOT, env=env)
    assert len(here.ledger.history("hand", "window")) == 1
    assert len(loops.asked(here)) == 1
    track(what="the loop", injections=2, lost=0)
