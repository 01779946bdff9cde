"""A challenger beside the champion: what the ledger says of both is what serves, whatever was cut off on the way."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from serving import deploy, routes, servers, switch
from serving.deploy import LocalTarget
from serving.fleet import Fleet
from serving.ledger import Conflict, Ledger
from serving.release import Exposure
from serving.rollout import RolloutSection
from serving.servers import answer
from serving.supervision import Supervisor
from tests.serving.cut_off import by_another, killed_after
from tests.serving.test_deploy import programs, register, served, start_gateway, until

SHADOW = Exposure(step=0, shadow=True)
CANARY = Exposure(step=1, share=0.1, after=5)
SECTION = RolloutSection()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    Supervisor(home).shutdown()


@pytest.fixture
def target(home: Path) -> LocalTarget:
    """Version 1 is the champion; versions 2 and 3 are registered."""
    for version in (1, 2, 3):
        register(home, version)
    made = LocalTarget(home)
    made.release("co2", 1, expected=None, reason="the first")
    return made


def fence(home: Path) -> int:
    return Ledger.at(home).release("co2").fence


def is_equal_to_the_ledger(home: Path) -> None:
    """Champion and challenger answer where the route says, with the share that the ledger says, and nothing else runs."""
    release, route = Ledger.at(home).release("co2"), routes.read(home)["co2"]
    arm = route.challenger
    assert (route.version, route.fence) == (release.champion, release.fence)
    assert served(home) == release.champion
    wanted = {f"co2-v{version}" for version in (release.champion, release.challenger) if version}
    assert programs(home) == set(servers.records(home)) == wanted
    if release.challenger is None:
        assert arm is None
        return
    assert arm is not None
    assert (arm.version, arm.share, arm.shadow) == (release.challenger, release.share, release.shadow)
    status, body = answer("GET", f"{arm.url}/v2/models/co2/ready", 2)
    assert (status, json.loads(body)["version"]) == (200, release.challenger)


def test_a_rollout_from_shadow_to_champion(home: Path, target: LocalTarget) -> None:
    """Exposed, advanced, advanced, promoted: at each step both versions serve as the ledger says, and in the end one of them."""
    target.expose("co2", 2, SHADOW, expected=fence(home), reason="passed")
    is_equal_to_the_ledger(home)
    for share in (0.1, 0.5):
        target.advance("co2", SECTION, expected=fence(home), after=9, reason="good so far")
        assert routes.read(home)["co2"].challenger.share == share  # pyright: ignore[reportOptionalMemberAccess]
        is_equal_to_the_ledger(home)
    done = target.advance("co2", SECTION, expected=fence(home), after=9, reason="good to the end")
    assert (done.kind, done.version, done.payload["replaces"]) == ("promoted", "2", "1")
    is_equal_to_the_ledger(home)
    kinds = [d.kind for d in Ledger.at(home).history("co2") if d.kind not in {"registered", "cleared"}]
    assert kinds == ["promoted", "deployed", "exposed", "exposed", "exposed", "promoted", "deployed"]
    assert target.reconcile() == []


def test_a_challenger_is_rolled_back(home: Path, target: LocalTarget) -> None:
    """Rolled back, its server is gone and the champion has everything; it is not exposed again, and a newer version is."""
    target.expose("co2", 2, CANARY, expected=fence(home), reason="passed")
    target.roll_back("co2", 2, expected=fence(home), reason="5 errors")
    is_equal_to_the_ledger(home)
    with pytest.raises(UserError, match="held"):
        target.expose("co2", 2, SHADOW, expected=fence(home), reason="again")
    is_equal_to_the_ledger(home)
    target.expose("co2", 3, SHADOW, expected=fence(home), reason="the next")
    is_equal_to_the_ledger(home)


def test_a_champion_is_rolled_back(home: Path, target: LocalTarget) -> None:
    """The version before serves again, the one that was left is held, and there is then nothing to go back to."""
    target.release("co2", 2, expected=1, reason="better")
    done = target.rollback("co2", expected=fence(home), reason="bad live", actor="person")
    assert (done.kind, done.version, done.payload["holds"]) == ("promoted", "1", ["2"])
    is_equal_to_the_ledger(home)
    assert Ledger.at(home).release("co2").held == {"2"}
    with pytest.raises(UserError, match="no version to go back to"):
        target.rollback("co2", expected=fence(home), reason="once more")


def test_a_newer_challenger_takes_the_place_of_the_one_before(home: Path, target: LocalTarget) -> None:
    """One challenger at a time: the one before is ended, and is not held."""
    target.expose("co2", 2, CANARY, expected=fence(home), reason="passed")
    target.expose("co2", 3, SHADOW, expected=fence(home), reason="newer")
    is_equal_to_the_ledger(home)
    assert Ledger.at(home).release("co2").held == frozenset()


def test_a_challenger_that_cannot_start_is_not_exposed(home: Path, target: LocalTarget) -> None:
    """A version whose server does not come up leaves no decision and no arm."""
    register(home, 4, broken="the graph cannot be read")
    with pytest.raises(UserError, match="the graph cannot be read"):
        target.expose("co2", 4, SHADOW, expected=fence(home), reason="passed")
    is_equal_to_the_ledger(home)
    assert Ledger.at(home).release("co2").challenger is None


def test_a_challenger_that_broke_leaves_the_champion_alone(home: Path, target: LocalTarget) -> None:
    """Where the challenger's files broke later, the champion answers everything, and it is said."""
    target.expose("co2", 2, CANARY, expected=fence(home), reason="passed")
    Supervisor(home).shutdown()
    (home / "models" / "co2" / "2" / "broken").write_text("gone")
    assert any("challenger 2 cannot serve" in line for line in target.reconcile())
    assert routes.read(home)["co2"].challenger is None
    assert served(home) == "1"


def test_a_promotion_and_a_rollback_at_once(home: Path, target: LocalTarget) -> None:
    """Of an advance to champion and a rollback of the same challenger one wins, the other meets Conflict, and what won is served."""
    target.expose("co2", 2, Exposure(step=2, share=0.5), expected=fence(home), reason="passed")
    seen = fence(home)
    won: list[str] = []
    lost: list[str] = []
    start = threading.Barrier(2)

    def decide(name: str) -> None:
        other = LocalTarget(home)  # as another process has it
        start.wait()
        try:
            if name == "promoted":
                other.advance("co2", SECTION, expected=seen, after=0, reason="all is well")
            else:
                other.roll_back("co2", 2, expected=seen, reason="errors")
            won.append(name)
        except Conflict:
            lost.append(name)

    both = [threading.Thread(target=decide, args=(name,)) for name in ("promoted", "rolled_back")]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert (len(won), len(lost)) == (1, 1)
    assert Ledger.at(home).release("co2").champion == ("2" if won == ["promoted"] else "1")
    is_equal_to_the_ledger(home)


def test_few_entities_do_not_make_an_arm_each(home: Path, target: LocalTarget) -> None:
    """The route is sticky by entity where the online store keeps at least twenty of them, and not below."""
    folder = home / "feast" / "co2"
    folder.mkdir(parents=True)
    names = {"project": "co2", "view": "view", "join_key": "entity", "entity_type": "STRING", "features": {}}
    (folder / "names.json").write_text(json.dumps(names))
    with sqlite3.connect(folder / "online.db") as store:
        store.execute("CREATE TABLE co2_view (entity_key BLOB, feature_name TEXT, value BLOB, event_ts TIMESTAMP)")
        store.executemany("INSERT INTO co2_view VALUES (?, ?, NULL, NULL)", [(n, f) for n in range(19) for f in "ab"])
    target.expose("co2", 2, CANARY, expected=fence(home), reason="passed")
    assert not routes.read(home)["co2"].sticky
    with sqlite3.connect(folder / "online.db") as store:
        store.execute("INSERT INTO co2_view VALUES (19, 'a', NULL, NULL)")
    target.serve("co2")
    assert routes.read(home)["co2"].sticky


def test_the_sample_outlives_a_change_of_version(home: Path, target: LocalTarget) -> None:
    """The share of requests that are kept is the workload's, whichever version serves."""
    target.sample("co2", 0.25)
    target.release("co2", 2, expected=1, reason="better")
    assert routes.read(home)["co2"].sample == 0.25


# -- cut off


POINTS: dict[str, tuple[object, str]] = {
    "the server was started": (servers, "record"),
    "the decision was recorded": (deploy.log, "info"),  # what is said once the transaction is committed
    "the pointer was moved": (routes, "point"),
    "the gateway was told": (switch, "announce"),
    "a server was drained": (switch, "drain"),
    "a server was ended": (Fleet, "stop"),
}


def advanced(target: LocalTarget, seen: int) -> None:
    target.advance("co2", SECTION, expected=seen, after=3, reason="x")


VERBS: dict[str, tuple[Callable[[LocalTarget, int], object], tuple[str, str]]] = {
    "expose": (lambda target, seen: target.expose("co2", 2, SHADOW, expected=seen, reason="x"), ("none", "2 shadow")),
    "advance": (advanced, ("2 shadow", "2 at 0.1")),
    "promote": (advanced, ("2 at 0.5", "champion 2")),
    "roll_back": (lambda target, seen: target.roll_back("co2", 2, expected=seen, reason="x"), ("2 at 0.5", "none")),
    "rollback": (lambda target, seen: target.rollback("co2", expected=seen, reason="x"), ("champion 2", "champion 1")),
}
ENDING = ("a server was drained", "a server was ended")  # not passed by verbs that end no server
STRUCK = [(verb, where) for verb in VERBS for where in POINTS if not (verb in {"expose", "advance"} and where in ENDING)]


def begin(home: Path, target: LocalTarget, state: str) -> None:
    """Bring the release to where a verb starts."""
    if state == "champion 2":
        target.release("co2", 2, expected=1, reason="better")
    elif state == "2 shadow":
        target.expose("co2", 2, SHADOW, expected=fence(home), reason="passed")
    elif state == "2 at 0.5":
        target.expose("co2", 2, Exposure(step=2, share=0.5), expected=fence(home), reason="passed")


def said(home: Path) -> str:
    release = Ledger.at(home).release("co2")
    if release.challenger:
        return f"{release.challenger} shadow" if release.shadow else f"{release.challenger} at {release.share}"
    return (
        "none"
        if release.champion == "1" and not Ledger.at(home).history("co2", "promoted")[1:]
        else f"champion {release.champion}"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "where"), STRUCK)
def test_what_is_cut_off_is_carried_to_its_end(home: Path, target: LocalTarget, verb: str, where: str) -> None:
    """A process is killed -9 after each step of each verb: the champion's place is never empty, and a new process settles it."""
    carry_out, (before, after) = VERBS[verb]
    begin(home, target, before)
    assert killed_after(*POINTS[where], lambda: carry_out(LocalTarget(home), fence(home))) == -signal.SIGKILL
    assert served(home) in {"1", "2"}
    recorded = where != "the server was started" or verb == "roll_back"  # which starts nothing before it decides
    assert said(home) == (after if recorded else before)

    assert by_another(lambda: LocalTarget(home).reconcile()) == 0
    is_equal_to_the_ledger(home)
    assert target.reconcile() == []


@pytest.mark.slow
def test_no_request_is_lost_while_a_challenger_comes_and_goes(home: Path, target: LocalTarget) -> None:
    """Clients that never stop asking get an answer each time while a version is exposed, advanced, rolled back and another promoted."""
    import http.client

    url = start_gateway(home)
    target.serve("co2")
    stop, failed, seen = threading.Event(), [], set()

    def ask() -> None:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        while not stop.is_set():
            connection.request("POST", "/v1/models/co2:predict", '{"instances": [{"sleep": 0.002}]}')
            given: Any = connection.getresponse()
            body = given.read()
            if given.status == 200:
                seen.add(json.loads(body)["version"])
            else:
                failed.append((given.status, body))

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    target.expose("co2", 2, SHADOW, expected=fence(home), reason="passed")
    target.advance("co2", SECTION, expected=fence(home), after=0, reason="good")
    target.advance("co2", SECTION, expected=fence(home), after=0, reason="good")
    until(lambda: "2" in seen)
    target.roll_back("co2", 2, expected=fence(home), reason="bad")
    target.expose("co2", 3, Exposure(step=2, share=0.5), expected=fence(home), reason="passed")
    target.advance("co2", SECTION, expected=fence(home), after=0, reason="good to the end")
    seen.clear()
    until(lambda: seen == {"3"})
    stop.set()
    for client in clients:
        client.join()
    assert failed == []
    is_equal_to_the_ledger(home)
