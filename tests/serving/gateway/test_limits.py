"""The gateway's bounds, over real sockets: slow ends are given up, broken bodies refused, an overload is told and is nobody's fault."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from serving.limits import Limits
from serving.records import Records
from serving.routes import Arm
from tests.serving.gateway.conftest import Running
from tests.serving.gateway.model_server import Asked, ModelServer, echo, says
from tests.serving.gateway.test_rollout_traffic import metric
from tests.serving.waiting import until

pytestmark = pytest.mark.xdist_group("gateway limits")  # one gateway, one wait
ID = "x-aiprime-prediction-id"
BUSY = says('{"error":"more requests are waiting"}', status=429, headers="Retry-After: 3\r\n")
ANSWER = says('{"predictions":[1]}')
NAMED = b"POST /v1/models/co2:predict HTTP/1.1\r\nHost: a\r\n"
ASKED = b'POST /v1/models/idle:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\n{"instances":[1]}'
SLACK_S = Limits().seconds + Limits().linger_s + 1.5


def opened(gateway: Running, text: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    connection.sendall(text)
    return connection


@pytest.fixture(scope="module")
def idle(gateway: Running) -> Iterator[tuple[socket.socket, float]]:
    """A connection that had an answer, and since when it is silent: that goes by while slow ends are waited for."""
    with ModelServer(echo) as server:
        gateway.point(server.url, workload="idle")
        with opened(gateway, ASKED) as connection:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            yield connection, time.monotonic()


def told(connection: socket.socket) -> bytes:
    with connection, connection.makefile("rb") as file:
        return file.read()


@pytest.mark.slow
@pytest.mark.usefixtures("idle")
def test_slow_ends_are_given_up_within_ten_seconds(gateway: Running) -> None:
    """Silence, half a head, half a body, trickles of each: all closed in ten seconds, with a 408 where something had come."""
    begun = {
        b"": b"",
        NAMED: b"HTTP/1.1 408",
        NAMED + b"Content-Length: 9\r\n\r\nhalf": b"HTTP/1.1 408",
        NAMED + b"Transfer-Encoding: chunked\r\n\r\n2\r\n": b"HTTP/1.1 408",
    }
    with ModelServer(echo) as server:
        gateway.point(server.url)
        began = time.monotonic()
        still = [(opened(gateway, text), said) for text, said in begun.items()]
        trickling = [opened(gateway, NAMED), opened(gateway, NAMED + b"Content-Length: 100000\r\n\r\n")]
        while time.monotonic() - began < SLACK_S and trickling:
            time.sleep(0.1)
            for one in list(trickling):
                try:
                    one.sendall(b"x")
                except OSError:
                    trickling.remove(one)
        assert trickling == []
        for connection, said in still:
            answer = told(connection)
            assert answer.startswith(said), answer
            assert bool(said) == (b'{"error"' in answer)
        assert time.monotonic() - began < 10
        assert server.asked == []
        assert gateway.predict(1).status == 200


@pytest.mark.slow
def test_an_idle_connection_may_stay(idle: tuple[socket.socket, float]) -> None:
    """A client that had an answer keeps its connection for its next request, long past the patience with slow ends."""
    connection, since = idle
    time.sleep(max(0, since + Limits().seconds + 2.5 - time.monotonic()))
    connection.sendall(ASKED)
    assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("chunks", [b"zz\r\nab\r\n0\r\n\r\n", b"5\r\nhello\r\nzz\r\n", b"-1\r\n\r\n"])
def test_a_broken_body_is_a_400(gateway: Running, chunks: bytes) -> None:
    """Chunks that are none, in the first packet or later, are the client's mistake: 400, closed, never a 500."""
    with ModelServer(echo) as server:
        gateway.point(server.url)
        connection = opened(gateway, NAMED + b"Transfer-Encoding: chunked\r\n\r\n")
        time.sleep(0.1)
        connection.sendall(chunks)
        answer = told(connection)
        assert answer.startswith(b"HTTP/1.1 400"), answer
        assert b'{"error"' in answer
        assert server.asked == []


def test_a_packed_body_is_a_415(gateway: Running) -> None:
    """Nothing is unpacked, so there is no bomb; labels neither."""
    for path in ("/v1/models/co2:predict", "/v1/labels"):
        reply = gateway.ask("POST", path, b"\x1f\x8b\x08\x00", {"Content-Encoding": "gzip"})
        assert (reply.status, list(reply.json)) == (415, ["error"])


def test_a_head_has_a_bound(gateway: Running) -> None:
    """Too many headers or too long a one is a 4xx in our shape, and no host is a 400."""
    for text in (
        NAMED + b"a: b\r\n" * 200 + b"\r\n",
        NAMED + b"a: " + b"b" * 20_000 + b"\r\n\r\n",
        NAMED.split(b"Host")[0] + b"\r\n",
    ):
        answer = told(opened(gateway, text))
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.0 400", b"HTTP/1.0 431")), answer[:80]
        assert b'{"error"' in answer


def test_a_client_that_leaves_takes_its_request_along(gateway: Running) -> None:
    """The model server sees the connection end when the client's did: work that nobody waits for is not done."""
    ended = threading.Event()

    async def slow(asked: Asked, writer: asyncio.StreamWriter) -> None:
        while not writer.transport.is_closing():
            await asyncio.sleep(0.02)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        ended.set()

    with ModelServer(slow) as server:
        gateway.point(server.url)
        connection = opened(gateway, NAMED + b"Content-Length: 2\r\n\r\n{}")
        until(lambda: server.asked)
        connection.close()
        assert ended.wait(5)


def test_an_overload_is_told_and_not_kept(gateway: Running) -> None:
    """A 429 of the model server passes with its Retry-After and its words; nothing was predicted, so nothing is kept, and it is counted."""
    records = Records.at(gateway.home)
    with ModelServer(BUSY) as server:
        gateway.point(server.url, workload="crowded", version="1")
        before = records.newest("crowded")
        reply = gateway.predict(1, workload="crowded")
        assert (reply.status, reply.headers["retry-after"]) == (429, "3")
        assert reply.json == {"error": "more requests are waiting"}
        assert ID not in reply.headers
        assert len(server.asked) == 1
        assert records.newest("crowded") == before
    assert metric(gateway, 'aiprime_gateway_requests_total{status="429",version="1",workload="crowded"}') == 1
    assert metric(gateway, 'aiprime_gateway_tries_total{role="champion",status="429"') >= 1


def challenged(gateway: Running, champion: ModelServer, challenger: ModelServer, workload: str, **arm: Any) -> None:
    stated: dict[str, Any] = {"version": "2", "server": "c", "url": challenger.url, "grpc_url": "", "model": ""}
    gateway.point(champion.url, workload=workload, version="1", challenger=Arm(**stated | arm))


def test_a_challenger_is_not_blamed_for_an_overload(gateway: Running) -> None:
    """Where the challenger is busy the champion answers, and no failed try is kept; where both are, the client has the 429."""
    records = Records.at(gateway.home)
    with ModelServer(ANSWER) as champion, ModelServer(BUSY) as challenger:
        challenged(gateway, champion, challenger, "busy_arm", share=1.0)
        reply = gateway.predict(1, workload="busy_arm")
        assert (reply.status, reply.headers["x-aiprime-model-version"]) == (200, "1")
        assert [(one.role, one.status) for one in records.find(reply.headers[ID])] == [("champion", 200)]
        assert len(challenger.asked) == 1
    with ModelServer(BUSY) as champion, ModelServer(BUSY) as challenger:
        challenged(gateway, champion, challenger, "busy_both", share=1.0)
        assert gateway.predict(1, workload="busy_both").status == 429
        assert records.traffic("busy_both", after=0) == {}


def test_a_busy_shadow_is_dropped(gateway: Running) -> None:
    """A copy that the shadow had no time for is counted as dropped, and no error of its is kept."""
    records = Records.at(gateway.home)
    with ModelServer(ANSWER) as champion, ModelServer(BUSY) as challenger:
        challenged(gateway, champion, challenger, "busy_shadow", shadow=True)
        reply = gateway.predict(1, workload="busy_shadow")
        until(lambda: metric(gateway, 'aiprime_gateway_shadow_dropped_total{workload="busy_shadow"}') == 1)
    assert [one.role for one in records.find(reply.headers[ID])] == ["champion"]


def test_a_key_twice_is_not_mended(gateway: Running) -> None:
    """A request that the gateway would complete goes on as it is where its JSON is not strict: the model server refuses it."""
    from data.files import write_json
    from tests.serving.gateway.test_labels import signature
    from training.signature import Input

    folder = gateway.home / "models" / "twice"
    folder.mkdir(parents=True, exist_ok=True)
    made = signature("regression", stored=("x",)).model_copy(update={"inputs": (Input(name="x", kind="number", tensor="x0"),)})
    made.write(folder)
    write_json(gateway.home / "features" / "twice" / "latest.json", {"time": "2026-07-01T12:00:00Z", "values": {"x": 1.0}})
    text = '{"instances":[{}],"instances":[{}]}'
    with ModelServer(echo) as server:
        gateway.point(server.url, workload="twice", model=str(folder))
        assert gateway.ask("POST", "/v1/models/twice:predict", '{"instances":[{}]}').status == 200
        gateway.ask("POST", "/v1/models/twice:predict", text)
        assert [json.loads(one.body) for one in server.asked[:1]] == [{"instances": [{"x": 1.0}]}]
        assert server.asked[1].body.decode() == text
