"""Whose server answers at a route's address: who cannot prove that it is the route's is sent no request of anybody."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving import instance, routes
from serving.gateway.routing import Pointer
from serving.records import Records
from serving.routes import Arm
from tests.serving.gateway.conftest import Running, started
from tests.serving.gateway.model_server import Asked, Behaviour, ModelServer, echo, response, says
from tests.serving.waiting import until

SERVER = "co2-v1"
ID = "x-aiprime-prediction-id"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("gateway")
    instance.told(home, SERVER)
    running = started(home)
    yield running
    running.end()


def proving(token: str) -> Behaviour:
    """Proves that it knows the token, and echoes."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        path = asked.line.split()[1]
        if path.startswith(instance.PATH):
            port = writer.get_extra_info("sockname")[1]
            writer.write(response(instance.proof(token, port, path.removeprefix(instance.PATH))))
        else:
            await echo(asked, writer)

    return behave


async def endless(_: Asked, writer: asyncio.StreamWriter) -> None:
    """A proof that never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n")
    while True:
        writer.write(b"a" * 65_536)
        await writer.drain()


async def another_protocol(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail ready\r\n")


def relaying(server: ModelServer) -> Behaviour:
    """Has the server prove itself, and passes the proof on as its own."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        reader, to = await asyncio.open_connection("127.0.0.1", server.port)
        to.write(f"{asked.line}\r\nhost: x\r\n\r\n".encode())
        writer.write(await reader.read(65_536))
        to.close()

    return behave


async def silent(_: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def hangs_up(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def resets(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def named(server: ModelServer) -> list[str]:
    return [asked.line.split()[1].rpartition("/")[0] + "/" for asked in server.asked if instance.PATH in asked.line]


def test_the_server_proves_itself_once_for_a_connection(gateway: Running) -> None:
    """The right server is asked once, however many requests follow on its connection; a new connection is asked anew."""
    with ModelServer(proving(instance.told(gateway.home, SERVER))) as server:
        gateway.point(server.url, server=SERVER)
        for _ in range(5):
            assert gateway.predict({"x": 1}).json["instances"] == [{"x": 1}]
        assert (server.connections, named(server)) == (1, [instance.PATH])
        server.hang_up()
        assert gateway.predict({"x": 1}).status == 200
        assert named(server) == [instance.PATH] * 2
    assert not routes.behind(gateway.home, "co2", gateway.fence)


@pytest.mark.parametrize(
    "stranger",
    [
        says('{"error": "no such page"}', status=404),
        says('{"predictions": [1]}'),
        proving("another token"),
        endless,
        another_protocol,
        silent,
        hangs_up,
        resets,
    ],
    ids=["404", "200", "another server of ours", "endless", "no HTTP", "silent", "hangs up", "resets"],
)
def test_a_stranger_is_sent_nothing(gateway: Running, stranger: Behaviour) -> None:
    """Whoever took the port gets no request; the client has a 503 in our shape, and whoever reconciles is asked."""
    with ModelServer(stranger) as server:
        gateway.point(server.url, server=SERVER)
        routes.settle(gateway.home, "co2")
        reply = gateway.predict({"secret": "of a client"})
        assert (reply.status, list(reply.json), reply.headers["retry-after"]) == (503, ["error"], "1")
        assert "does not prove" in reply.json["error"]
        assert all(asked.line.startswith(f"GET {instance.PATH}") for asked in server.asked)
    assert routes.behind(gateway.home, "co2", gateway.fence)


def test_a_proof_that_is_passed_on_is_none(gateway: Running) -> None:
    """A stranger that asks the server itself, which lives on at another port, gets a proof of that port."""
    with ModelServer(proving(instance.told(gateway.home, SERVER))) as server, ModelServer(relaying(server)) as stranger:
        gateway.point(stranger.url, server=SERVER)
        assert gateway.predict({"secret": "of a client"}).status == 503
        assert len(stranger.asked) == len(named(stranger)) == len(named(server)) > 0


@pytest.mark.parametrize("arm", [{"share": 1.0}, {"shadow": True}], ids=["share", "shadow"])
def test_a_stranger_in_a_challenger_s_place_is_not_its_failure(gateway: Running, arm: dict[str, Any]) -> None:
    """The champion answers, and no record blames the version whose port was taken; a later copy that is answered is kept."""
    records = Records.at(gateway.home)
    stranger, challenger = says("{}", status=404), proving(instance.told(gateway.home, "co2-v2"))
    with ModelServer(proving(instance.told(gateway.home, SERVER))) as server, ModelServer(stranger) as other:
        stated = Arm(version="2", server="co2-v2", url=other.url, grpc_url="", model="", **arm)
        gateway.point(server.url, server=SERVER, challenger=stated)
        blamed = [gateway.predict({"x": 1}) for _ in range(3)]
        until(lambda: len(other.asked) >= 3)
    with ModelServer(proving(instance.told(gateway.home, SERVER))) as server, ModelServer(challenger) as other:
        gateway.point(server.url, server=SERVER, challenger=replace(stated, url=other.url))
        kept = gateway.predict({"x": 1})
        until(lambda: any(one.version == "2" for one in records.find(kept.headers[ID])))
    assert {reply.status for reply in blamed} == {200}
    assert [one.role for reply in blamed for one in records.find(reply.headers[ID])] == ["champion"] * 3


def test_a_hang_up_is_forgiven_once(gateway: Running) -> None:
    """A server that leaves as it is asked for its proof is no stranger: the request goes on to its successor, and nobody is alarmed."""
    prove = proving(instance.told(gateway.home, SERVER))

    async def leaves_first(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await (hangs_up if len(server.asked) == 1 else prove)(asked, writer)

    with ModelServer(leaves_first) as server:
        gateway.point(server.url, server=SERVER)
        routes.settle(gateway.home, "co2")
        assert gateway.predict({"x": 1}).status == 200
    assert not routes.behind(gateway.home, "co2", gateway.fence)


def test_a_stranger_does_not_fill_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """However many requests meet it, a line a second says so."""
    instance.begin(tmp_path)
    gateway = started(tmp_path)
    try:
        with ModelServer(says("{}")) as server:
            gateway.point(server.url, server=SERVER)
            began = time.monotonic()
            assert {gateway.predict({"x": 1}).status for _ in range(50)} == {503}
            passed_s = time.monotonic() - began
    finally:
        gateway.end()
    lines = [line for line in capfd.readouterr().err.splitlines() if SERVER in line or "co2:" in line]
    assert 1 <= len(lines) <= 1 + passed_s


def test_a_port_that_another_takes_over_is_noticed(gateway: Running) -> None:
    """The connections end with the server; what listens there afterwards is asked before it is sent anything."""
    with ModelServer(proving(instance.told(gateway.home, SERVER))) as server:
        gateway.point(server.url, server=SERVER)
        assert gateway.predict({"x": 1}).status == 200
        port = server.port
    with ModelServer(says('{"error": "no such page"}', status=404), port=port) as stranger:
        assert gateway.predict({"x": 1}).status == 503
        assert len(stranger.asked) == len(named(stranger)) > 0


def test_the_same_address_may_become_another_server_s(gateway: Running) -> None:
    """A new version at an old one's port has to prove that it is the new one."""
    with ModelServer(proving(instance.told(gateway.home, SERVER))) as server:
        gateway.point(server.url, server=SERVER)
        assert gateway.predict({"x": 1}).status == 200
        gateway.point(server.url, server="co2-v2")
        assert gateway.predict({"x": 1}).status == 503
        gateway.point(server.url, server=SERVER)
        assert gateway.predict({"x": 1}).status == 200


def test_what_no_route_names_is_forgotten(tmp_path: Path) -> None:
    """Of a hundred versions that served one after another, the newest one's token and server are held."""
    instance.begin(tmp_path)
    pointer = Pointer(tmp_path)
    for fence in range(1, 101):
        routes.point(
            tmp_path, routes.Route(workload="co2", fence=fence, server=f"co2-v{fence}", url=f"http://127.0.0.1:{fence}"), fence
        )
        pointer.refresh()
    assert list(pointer._tokens) == ["co2-v100"]
    assert len(pointer._servers) == 1


def test_where_there_is_no_secret_nobody_is_asked(tmp_path: Path) -> None:
    """In a cluster the Service vouches for its pods: the gateway of such a home asks for no proof, until the home has a secret."""
    gateway = started(tmp_path)
    try:
        with ModelServer(echo) as server:
            gateway.point(server.url)
            assert gateway.predict({"x": 1}).status == 200
            assert [json.loads(asked.body) for asked in server.asked] == [{"instances": [{"x": 1}]}]
            instance.begin(tmp_path)  # the routes stay as they are
            until(lambda: gateway.predict({"x": 1}).status == 503)
    finally:
        gateway.end()
