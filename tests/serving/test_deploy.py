"""The local target: what the ledger says is what serves, whatever was cut off on the way."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import registered
from data.errors import UserError
from data.files import sha256, tree_digest, write_atomically
from serving import instance, manifests, routes, servers, switch
from serving.deploy import LocalTarget
from serving.fleet import Fleet
from serving.ledger import Conflict, Ledger
from serving.manifests import ServeSection
from serving.servers import answer
from serving.supervision import Program, Supervisor, free_port
from tests.serving import stand_in, waiting
from tests.serving.cut_off import killed_after
from tests.serving.gateway.model_server import ModelServer, says
from tests.serving.waiting import exists

ROOT = Path(__file__).parents[2]
until = partial(waiting.until, deadline_s=15)


def register(home: Path, version: int, workload: str = "co2", broken: str | None = None) -> dict[str, Any]:
    """A registered version that the gate passed and whose server is the stand-in, which asks for no signature."""
    manifest = place(home, version, workload, broken)
    record(home, manifest)
    return manifest


def record(home: Path, manifest: dict[str, Any], passed: bool = True) -> None:
    """The ledger's word of a version."""
    workload, version = manifests.workload_of(manifest), manifests.version_of(manifest)
    payload = {"model_digest": manifests.argument(manifest, "--digest"), "passed": passed, "verdict": "passed: test"}
    payload["manifest"] = sha256(manifests.file(home, workload, version))
    Ledger.at(home).record("registered", workload, version, payload)


def promoted(home: Path, version: int, expected: int | None) -> None:
    """Made the champion by another hand, which serves nothing."""
    LocalTarget(home).clearance.give("co2", str(version), reason="test", actor="test")
    Ledger.at(home).promote("co2", version, expected=expected, reason="by another hand")


def place(home: Path, version: int, workload: str = "co2", broken: str | None = None) -> dict[str, Any]:
    """A version's folder and manifest, of which the ledger knows nothing."""
    folder = home / "models" / workload / str(version)
    folder.mkdir(parents=True)
    if broken is not None:
        (folder / "broken").write_text(broken)
    manifest = manifests.render(workload, version, folder, tree_digest(folder), ServeSection())
    manifests.container_of(manifest)["command"] = [*stand_in.COMMAND]
    stand_in.allow()
    write_atomically(manifests.file(home, workload, version), manifests.text(manifest))
    return manifest


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home of it"
    yield home
    Supervisor(home).shutdown()


@pytest.fixture
def target(home: Path) -> LocalTarget:
    return LocalTarget(home)


def start_gateway(home: Path) -> str:
    port = free_port()
    command = (sys.executable, "-m", "serving.gateway", "--port", str(port))
    supervisor = Supervisor(home)
    supervisor.apply(Program(name="gateway", command=command, cwd=ROOT))
    url = f"http://127.0.0.1:{port}"
    supervisor.wait("gateway", lambda: answer("GET", f"{url}/v2/health/live", 1)[0] == 200)
    return url


def served(home: Path, workload: str = "co2") -> str | None:
    """The version that answers at the pointer, asked over HTTP."""
    route = routes.read(home)[workload]
    status, body = answer("GET", f"{route.url}/v2/models/{workload}/ready", 2) if route.url else (0, b"")
    return json.loads(body)["version"] if status == 200 else None


def programs(home: Path) -> set[str]:
    return {one.name for one in Supervisor(home).status() if one.name != "gateway"}


def is_settled(home: Path, version: str | None) -> None:
    """Serving equals the ledger: the champion answers, and nothing else of the workload runs or is recorded."""
    names = set() if version is None else {f"co2-v{version}"}
    assert programs(home) == set(servers.records(home)) == names
    assert routes.read(home)["co2"].version == version
    assert served(home) == version


def test_a_release_serves_the_new_version_and_ends_the_old(home: Path, target: LocalTarget) -> None:
    """After each release the champion answers at the pointer, alone, and the ledger holds the promotion and the deployment."""
    register(home, 1)
    register(home, 2)
    target.release("co2", 1, expected=None, reason="the first")
    first = routes.read(home)["co2"]
    assert served(home) == "1"
    promotion = target.release("co2", 2, expected=1, reason="better")
    is_settled(home, "2")
    assert routes.read(home)["co2"].fence == promotion.sequence > first.fence
    kinds = [(d.kind, d.version) for d in Ledger.at(home).history("co2") if d.kind != "registered"]
    assert kinds == [(kind, version) for version in "12" for kind in ("cleared", "promoted", "deployed")]
    before = Ledger.at(home).newest()
    assert target.reconcile() == []  # nothing to do
    assert Ledger.at(home).newest() == before


def test_a_version_that_cannot_serve_changes_nothing(home: Path, target: LocalTarget) -> None:
    """A server that does not come up is reported with its log; the champion, its server and the ledger stay as they were."""
    register(home, 1)
    register(home, 2, broken="the graph cannot be read")
    target.release("co2", 1, expected=None, reason="the first")
    with pytest.raises(UserError, match="the graph cannot be read"):
        target.release("co2", 2, expected=1, reason="better")
    with pytest.raises(UserError, match="no manifest"):
        target.release("co2", 3, expected=1, reason="never registered")
    is_settled(home, "1")
    assert Ledger.at(home).champion("co2").version == "1"  # pyright: ignore[reportOptionalMemberAccess]


def test_a_release_that_comes_late_is_refused(home: Path, target: LocalTarget) -> None:
    """A promotion that expected another champion raises Conflict, and the server that was started for it is ended."""
    for version in (1, 2, 3):
        register(home, version)
    target.release("co2", 1, expected=None, reason="the first")
    target.release("co2", 2, expected=1, reason="better")
    with pytest.raises(Conflict):
        target.release("co2", 3, expected=1, reason="late")
    is_settled(home, "2")


POINTS: dict[str, tuple[object, str]] = {
    "the server was started": (servers, "record"),
    "the promotion was recorded": (Ledger, "promote"),
    "the pointer was moved": (routes, "point"),
    "the old server was drained": (switch, "drain"),
    "the old server was ended": (Fleet, "stop"),
}


@pytest.mark.slow
@pytest.mark.parametrize("where", POINTS)
def test_a_release_that_is_cut_off_is_carried_to_its_end(home: Path, target: LocalTarget, where: str) -> None:
    """A releasing process is killed -9 right after each step: the pointer never leads nowhere, and `reconcile` settles it."""
    register(home, 1)
    register(home, 2)
    target.release("co2", 1, expected=None, reason="the first")

    def release() -> None:
        LocalTarget(home).release("co2", 2, expected=1, reason="better")

    assert killed_after(*POINTS[where], release) == -signal.SIGKILL
    assert served(home) in {"1", "2"}

    target.reconcile()
    champion = Ledger.at(home).champion("co2")
    assert champion is not None
    assert champion.version == ("1" if where == "the server was started" else "2")
    is_settled(home, champion.version)
    assert len(Ledger.at(home).history("co2", "deployed")) == int(champion.version)
    assert target.reconcile() == []


def test_after_everything_was_killed_the_champion_serves_again(home: Path, target: LocalTarget) -> None:
    """After a power cut (supervisord and all servers gone) `reconcile` brings the champion back, at its old address."""
    register(home, 1)
    target.release("co2", 1, expected=None, reason="the first")
    before = routes.read(home)["co2"].url
    supervisord = int((home / "supervisor" / "supervisord.pid").read_text())
    pid = next(one.pid for one in Supervisor(home).status())
    os.kill(supervisord, signal.SIGKILL)
    until(lambda: not exists(pid))
    assert served(home) is None
    target.reconcile()
    is_settled(home, "1")
    assert routes.read(home)["co2"].url == before


def test_a_stranger_at_a_server_s_port_is_not_taken_for_it(
    home: Path, target: LocalTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that took the chosen port before the server did, and says that it is ready, is none of ours: the server starts elsewhere."""
    register(home, 1)
    with ModelServer(says('{"version": "a stranger\'s"}')) as stranger:
        chosen = [stranger.port]
        monkeypatch.setattr(servers, "free_port", lambda wanted=None: chosen.pop() if chosen else free_port(wanted))
        target.release("co2", 1, expected=None, reason="the first")
        assert not chosen
        is_settled(home, "1")
        assert routes.read(home)["co2"].url != stranger.url


def test_a_server_of_before_servers_proved_themselves_is_started_anew(home: Path, target: LocalTarget) -> None:
    """A home that was upgraded while it ran: its server was told no token; it is replaced at its address, and answers through the gateway."""
    manifest = register(home, 1)
    target.release("co2", 1, expected=None, reason="the first")
    server, route = servers.records(home)["co2-v1"], routes.read(home)["co2"]
    older = servers.program(manifest, server, "")
    Supervisor(home).apply(replace(older, env={name: value for name, value in older.env.items() if name != instance.SETTING}))
    until(server.ready)
    assert not server.ready(instance.told(home, "co2-v1"))
    gateway = start_gateway(home)
    asked = "POST", f"{gateway}/v1/models/co2:predict"
    assert answer(*asked, 5)[0] == 503
    target.reconcile()
    assert server.ready(instance.told(home, "co2-v1"))
    assert routes.read(home)["co2"] == route
    assert answer(*asked, 5)[0] == 200


def test_who_met_a_stranger_has_the_route_looked_at(home: Path, target: LocalTarget) -> None:
    """The gateway's word makes serving count as behind, until it was made equal to the ledger."""
    register(home, 1)
    fence = target.release("co2", 1, expected=None, reason="the first").sequence
    assert not routes.behind(home, "co2", fence)
    routes.ask(home, "co2")
    assert routes.behind(home, "co2", fence)
    target.serve("co2")
    assert not routes.behind(home, "co2", fence)


def test_a_killed_model_server_is_back(home: Path, target: LocalTarget) -> None:
    """A champion's server that is killed answers again at the same address, with nobody doing anything."""
    register(home, 1)
    target.release("co2", 1, expected=None, reason="the first")
    until(lambda: Supervisor(home).status()[0].state == "RUNNING")
    pid = Supervisor(home).status()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: not exists(pid))
    until(lambda: served(home) == "1")


@pytest.mark.slow
def test_a_server_that_hangs_is_replaced(home: Path, target: LocalTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was ready for long and no longer answers is ended and started anew, at the same address."""
    monkeypatch.setattr("serving.fleet.HUNG_S", 0.5)
    manifest = register(home, 1)
    manifest["spec"]["predictor"]["terminationGracePeriodSeconds"] = 1
    hung = target.boot(manifest, deadline_s=1)
    until(lambda: Supervisor(home).status()[0].uptime_s > 1)
    assert hung.pid is not None
    os.kill(hung.pid, signal.SIGSTOP)
    new = target.boot(manifest, deadline_s=1)
    assert not exists(hung.pid)
    assert new.pid != hung.pid
    assert (new.url, new.ready()) == (hung.url, True)


def test_a_retired_workload_serves_nothing(home: Path, target: LocalTarget) -> None:
    """Once its champion is retired a workload has no server and no URL, and stays known."""
    register(home, 1)
    target.release("co2", 1, expected=None, reason="the first")
    Ledger.at(home).record("retired", "co2", 1, {"reason": "removed by a person"})
    target.reconcile()
    assert programs(home) == set()
    assert routes.read(home)["co2"].url is None
    assert target.reconcile() == []


def test_a_champion_that_cannot_start_leaves_the_one_before_serving(home: Path, target: LocalTarget) -> None:
    """Where the champion's files broke after its promotion, what the pointer names serves on, and it is said."""
    register(home, 1)
    register(home, 2, broken="gone")
    target.release("co2", 1, expected=None, reason="the first")
    promoted(home, 2, expected=1)
    done = target.reconcile()
    assert "version 2 cannot serve" in done[0]
    assert done[1] == "co2: version 1 serves on"
    assert served(home) == "1"


def test_what_the_ledger_does_not_know_is_ended(home: Path, target: LocalTarget) -> None:
    """A server and a route that no decision stands behind are taken away."""
    target.boot(place(home, 7, workload="stray"))
    Ledger.at(home).record("registered", "co2", 1)
    target.reconcile()
    assert programs(home) == set()
    assert set(routes.read(home)) == {"co2"}


def test_routes_follow_a_ledger_that_was_restored(home: Path, target: LocalTarget) -> None:
    """Routes that are ahead of the ledger (a backup was restored) do not keep it from being followed."""
    first = register(home, 1)
    register(home, 2)
    target.release("co2", 1, expected=None, reason="the first")
    target.release("co2", 2, expected=1, reason="better")
    for file in home.glob("ledger.*"):
        file.unlink()
    record(home, first)
    promoted(home, 1, expected=None)
    target.reconcile()
    is_settled(home, "1")


@pytest.mark.slow
def test_ports_come_back_after_down_and_up(home: Path, target: LocalTarget) -> None:
    """After `down` and `up` a champion has the address it had; where that port was taken meanwhile, it gets another."""
    register(home, 1)
    target.release("co2", 1, expected=None, reason="the first")
    before = routes.read(home)["co2"]
    Supervisor(home).shutdown()
    target.reconcile()
    assert routes.read(home)["co2"] == before

    Supervisor(home).shutdown()
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(str(before.url).rpartition(":")[2])))
        taken.listen()
        target.reconcile()
        assert routes.read(home)["co2"].url != before.url
        is_settled(home, "1")


@pytest.mark.slow
def test_the_real_model_server_is_released(home: Path, target: LocalTarget) -> None:
    """The reference model, served by `python -m serving` from its manifest, answers through the gateway."""
    registered.register(home, 1)
    url = start_gateway(home)
    target.release("reference", 1, expected=None, reason="the first")
    status, body = answer("GET", f"{url}/v2/models/reference", 5)
    assert (status, json.loads(body)["name"]) == (200, "reference")

    (registered.register(home, 2) / "model.json").write_text("{}")
    with pytest.raises(UserError, match=r"model\.json is not the file that was signed"):
        target.release("reference", 2, expected=1, reason="tampered")
    assert answer("GET", f"{url}/v2/models/reference/ready", 5)[0] == 200
