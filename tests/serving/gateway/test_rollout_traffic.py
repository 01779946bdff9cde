"""Two versions behind one URL: the share is kept, a challenger's failure is nobody's, a shadow slows nobody, and all of it is logged."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import pytest

from serving.records import Records
from serving.routes import Arm
from tests.serving.gateway.conftest import Reply, Running
from tests.serving.gateway.model_server import Asked, Behaviour, ModelServer, echo, says
from tests.serving.gateway.test_labels import signature
from tests.serving.waiting import until

OLD, NEW = '{"predictions":[1],"model_version":"1"}', '{"predictions":[2],"model_version":"2"}'
ID = "x-aiprime-prediction-id"


async def hang(_: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def hang_up(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.fixture
def champion() -> Iterator[ModelServer]:
    with ModelServer(says(OLD)) as server:
        yield server


@pytest.fixture
def records(gateway: Running) -> Records:
    return Records.at(gateway.home)


def point(gateway: Running, champion: ModelServer, url: str, workload: str, **arm: Any) -> None:
    stated: dict[str, Any] = {"version": "2", "server": f"{workload}-v2", "url": url, "grpc_url": "", "model": ""}
    route = {name: arm.pop(name) for name in ("sticky", "model", "sample") if name in arm}
    gateway.point(champion.url, workload=workload, version="1", challenger=Arm(**stated | arm), **route)


def roles(records: Records, prediction_id: str) -> dict[str, int]:
    return {one.role: one.status for one in records.find(prediction_id)}


def test_a_challenger_answers_its_share(gateway: Running, champion: ModelServer, records: Records) -> None:
    """A share of 0.3: about that many answers are the challenger's, each says so, and is a record of its role and version."""
    with ModelServer(says(NEW)) as challenger, ThreadPoolExecutor(8) as clients:
        point(gateway, champion, challenger.url, "canary", share=0.3)
        replies = list(clients.map(lambda n: gateway.predict(n, workload="canary"), range(300)))
    by_version = Counter(reply.headers["x-aiprime-model-version"] for reply in replies)
    assert by_version.keys() == {"1", "2"}
    assert abs(by_version["2"] - 90) < 4 * (300 * 0.3 * 0.7) ** 0.5
    for reply in replies[:40]:
        version = reply.headers["x-aiprime-model-version"]
        (kept,) = records.find(reply.headers[ID])
        assert reply.json["predictions"] == [int(version)]
        assert (kept.version, kept.role) == (version, "challenger" if version == "2" else "champion")


@pytest.mark.parametrize("form", ["v1", "v2"])
def test_an_entity_keeps_its_arm(gateway: Running, champion: ModelServer, form: str) -> None:
    """Sticky: each entity is answered by the same version every time, and both versions have some."""
    folder = gateway.home / "models" / f"sticky_{form}"
    folder.mkdir(parents=True, exist_ok=True)
    signature("regression", entity="station").write(folder)
    with ModelServer(says(NEW)) as challenger:
        workload = f"sticky_{form}"
        point(gateway, champion, challenger.url, workload, share=0.5, sticky=True, model=str(folder))

        def version(station: str) -> str:
            tensor = {"name": "station", "shape": [1], "datatype": "BYTES", "data": [station]}
            body, path = (
                (json.dumps({"inputs": [tensor]}), f"/v2/models/{workload}/infer")
                if form == "v2"
                else (json.dumps({"instances": [{"station": station, "x": 1}]}), f"/v1/models/{workload}:predict")
            )
            return gateway.ask("POST", path, body).headers["x-aiprime-model-version"]

        found = {station: {version(station) for _ in range(5)} for station in map(str, range(20))}
    assert {len(versions) for versions in found.values()} == {1}
    assert {version for versions in found.values() for version in versions} == {"1", "2"}


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [(says('{"error":"broken"}', status=500), 500), (hang_up, 0), (says('{"error":"no x"}', status=400), 400)],
)
def test_a_challenger_s_failure_is_nobody_s(
    gateway: Running, champion: ModelServer, records: Records, behaviour: Behaviour, status: int
) -> None:
    """Whatever the challenger does wrong, the client has the champion's answer, and the failed try is a record under the same id."""
    workload = f"failing_{status}"
    with ModelServer(behaviour) as challenger:
        point(gateway, champion, challenger.url, workload, share=1.0)
        replies = [gateway.predict(n, workload=workload) for n in range(20)]
    assert {(reply.status, reply.headers["x-aiprime-model-version"]) for reply in replies} == {(200, "1")}
    assert all(roles(records, reply.headers[ID]) == {"champion": 200, "challenger": status} for reply in replies)


def test_a_challenger_that_is_gone_or_hangs_is_given_up(gateway: Running, champion: ModelServer, records: Records) -> None:
    """No listener costs nothing; one that hangs costs its deadline, not the workload's: the champion then answers."""
    point(gateway, champion, "http://127.0.0.1:1", "gone", share=1.0)
    reply = gateway.predict(1, workload="gone")
    assert (reply.status, roles(records, reply.headers[ID])) == (200, {"champion": 200, "challenger": 0})
    with ModelServer(hang) as challenger:
        point(gateway, champion, challenger.url, "hanging", share=1.0)
        began = time.monotonic()
        reply = gateway.predict(1, workload="hanging")
        assert time.monotonic() - began < 6
    assert (reply.status, roles(records, reply.headers[ID])) == (200, {"champion": 200, "challenger": 504})


def test_what_both_refuse_is_the_client_s_mistake(gateway: Running, records: Records) -> None:
    """A request that the champion refuses too counts against nobody: one record, the champion's, whose answer the client sees."""
    refusing = says('{"error":"x is text"}', status=400)
    with ModelServer(refusing) as champion, ModelServer(refusing) as challenger:
        point(gateway, champion, challenger.url, "refusing", share=1.0)
        reply = gateway.predict("a", workload="refusing")
    assert (reply.status, reply.json) == (400, {"error": "x is text"})
    assert roles(records, reply.headers[ID]) == {"champion": 400}


def test_a_shadow_is_asked_the_same_and_only_logged(gateway: Running, champion: ModelServer, records: Records) -> None:
    """The challenger gets the champion's body; its answer is a record under the same id, and no client sees it."""
    with ModelServer(says(NEW)) as challenger:
        point(gateway, champion, challenger.url, "shadowed", shadow=True)
        replies = [gateway.predict(n, workload="shadowed") for n in range(20)]
        assert {tuple(reply.json["predictions"]) for reply in replies} == {(1,)}
        until(lambda: all(len(records.find(reply.headers[ID])) == 2 for reply in replies))
    for number, reply in enumerate(replies):
        kept = {one.role: one for one in records.find(reply.headers[ID])}
        assert kept["shadow"].request == kept["champion"].request == json.dumps({"instances": [number]}).encode()
        assert (kept["shadow"].answer, kept["shadow"].version) == (NEW.encode(), "2")


def test_a_shadow_s_failure_is_logged(gateway: Running, champion: ModelServer, records: Records) -> None:
    """A challenger that fails in the shadow is a record with its status."""
    with ModelServer(says("{}", status=500)) as challenger:
        point(gateway, champion, challenger.url, "dark", shadow=True)
        reply = gateway.predict(1, workload="dark")
        until(lambda: roles(records, reply.headers[ID]) == {"champion": 200, "shadow": 500})


def test_a_shadow_that_hangs_slows_nobody(gateway: Running, champion: ModelServer) -> None:
    """With a challenger that never answers the champion's median stays as it was; copies past the bound are dropped and counted."""
    workload = "unhurried"

    def timed() -> float:
        began = time.perf_counter()
        assert gateway.predict(1, workload=workload).status == 200
        return time.perf_counter() - began

    with ModelServer(hang) as challenger:
        gateway.point(champion.url, workload=workload, version="1")
        alone = [timed() for _ in range(60)]
        point(gateway, champion, challenger.url, workload, shadow=True)
        shadowed = [timed() for _ in range(60)]
        assert challenger.asked
        assert len(challenger.asked) <= 40  # 16 at a time, each for 2 s
    assert median(shadowed) < 3 * median(alone) + 0.005
    dropped = metric(gateway, f'aiprime_gateway_shadow_dropped_total{{workload="{workload}"}}')
    assert dropped >= 20


def test_a_challenger_is_drained_too(gateway: Running, champion: ModelServer) -> None:
    """A challenger that no route names any more is shown as long as a shadow copy is in flight to it, and then vanishes."""
    release = asyncio.Event()

    async def held(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.wait_for(release.wait(), 10)
        await echo(asked, writer)

    def servers() -> dict[str, tuple[int, bool]]:
        shown = gateway.ask("GET", "/-/routes").json["servers"]
        return {one["url"]: (one["inflight"], one["current"]) for one in shown}

    with ModelServer(held) as challenger:
        point(gateway, champion, challenger.url, "draining", shadow=True)
        gateway.predict(1, workload="draining")
        until(lambda: servers()[challenger.url] == (1, True))
        gateway.point(champion.url, workload="draining", version="1")
        assert servers()[challenger.url] == (1, False)
        challenger._loop.call_soon_threadsafe(release.set)
        until(lambda: challenger.url not in servers())


def test_a_challenger_with_other_inputs_is_completed_for(gateway: Running, champion: ModelServer, records: Records) -> None:
    """A shadow whose version reads other columns is sent those, not the champion's."""
    from data.files import write_json
    from training.signature import Input

    x, y = (Input(name=name, kind="number", tensor=f"x_{name}") for name in "xy")
    folders = []
    for name, inputs in (("one", (x,)), ("two", (x, y))):
        folder = gateway.home / "models" / f"completed_{name}"
        folder.mkdir(parents=True, exist_ok=True)
        made = signature("regression", stored=tuple(one.name for one in inputs)).model_copy(update={"inputs": inputs})
        made.write(folder)
        folders.append(str(folder))
    write_json(
        gateway.home / "features" / "wider" / "latest.json", {"time": "2026-07-01T12:00:00Z", "values": {"x": 1.0, "y": 2.0}}
    )
    with ModelServer(says(NEW)) as challenger:
        stated = {"version": "2", "server": "w", "url": challenger.url, "grpc_url": "", "model": folders[1], "shadow": True}
        gateway.point(champion.url, workload="wider", version="1", model=folders[0], challenger=Arm(**stated))
        reply: Reply = gateway.predict({}, workload="wider")
        until(lambda: len(records.find(reply.headers[ID])) == 2)
    sent = {one.role: json.loads(one.request) for one in records.find(reply.headers[ID])}
    assert sent == {"champion": {"instances": [{"x": 1.0}]}, "shadow": {"instances": [{"x": 1.0, "y": 2.0}]}}


def metric(gateway: Running, name: str) -> float:
    lines = gateway.ask("GET", "/metrics").body.decode().splitlines()
    return float(next((line for line in lines if line.startswith(name)), "0").split()[-1])
