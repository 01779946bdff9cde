"""The gateway: a request reaches the champion's server and its answer comes back, or the client learns in JSON why not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving import routes
from tests.serving.gateway.conftest import ROOT, Running, started
from tests.serving.gateway.model_server import Asked, Behaviour, ModelServer, echo, response, says
from tests.serving.waiting import until


def test_requests_and_answers_pass_unchanged(gateway: Running) -> None:
    """v1, v2 and binary bodies arrive byte for byte with their headers, and so does the answer, with the version that gave it."""

    async def binary(asked: Asked, writer: asyncio.StreamWriter) -> None:
        length = asked.header("inference-header-content-length")
        writer.write(
            response(asked.body[::-1], headers=f"Inference-Header-Content-Length: {length}\r\nX-Twice: a\r\nX-Twice: b\r\n")
        )

    with ModelServer(binary) as server:
        gateway.point(server.url, version="7")
        body = bytes(range(256)) * 2000
        reply = gateway.ask(
            "POST",
            "/v2/models/co2/infer",
            body,
            {"Inference-Header-Content-Length": "10", "X-Mine": "ü".encode().decode("latin-1")},
        )
        assert (reply.status, reply.body) == (200, body[::-1])
        assert reply.headers["inference-header-content-length"] == "10"
        assert reply.headers["x-aiprime-model-version"] == "7"
        assert server.asked[0].line == "POST /v2/models/co2/infer HTTP/1.1"
        assert server.asked[0].header("x-mine") == "ü".encode().decode("latin-1")

        gateway.ask("POST", "/v1/models/co2:predict", b"{}")
        gateway.ask("GET", "/v2/models/co2")
        gateway.ask("GET", "/v2/models/co2/ready")
        lines = ["POST /v1/models/co2:predict HTTP/1.1", "GET /v2/models/co2 HTTP/1.1", "GET /v2/models/co2/ready HTTP/1.1"]
        assert [asked.line for asked in server.asked[1:]] == lines
        assert server.connections == 1  # kept open from one request to the next


def test_headers_of_one_connection_stay_on_it(gateway: Running) -> None:
    """Hop-by-hop headers, those that Connection names, and the client's Host and lengths do not travel, in either direction."""
    with ModelServer(says("{}", headers="Keep-Alive: timeout=5\r\nX-Kept: yes\r\n")) as server:
        gateway.point(server.url)
        sent = {
            "Connection": "X-Secret, keep-alive",
            "X-Secret": "1",
            "TE": "trailers",
            "Proxy-Authorization": "p",
            "X-Kept": "yes",
        }
        reply = gateway.ask("POST", "/v1/models/co2:predict", b"{}", sent)
        names = {name.lower() for name, _ in server.asked[0].headers}
        assert names & {"connection", "x-secret", "te", "proxy-authorization", "keep-alive"} == set()
        assert server.asked[0].header("x-kept") == "yes"
        assert server.asked[0].header("host") == f"127.0.0.1:{server.port}"
        assert reply.headers["x-kept"] == "yes"
        assert "keep-alive" not in reply.headers


def test_a_refusal_of_the_model_is_the_client_s_to_see(gateway: Running) -> None:
    """The model server's own errors pass with their status and text."""
    with ModelServer(says('{"error": "x is text; expected a number"}', status=400)) as server:
        gateway.point(server.url)
        reply = gateway.predict({"x": "a"})
        assert (reply.status, reply.json) == (400, {"error": "x is text; expected a number"})


def test_what_is_not_offered_is_refused_in_json(gateway: Running) -> None:
    """Unknown workloads, paths and methods, and the repository's doors, are refused with {"error": ...} and never proxied."""
    with ModelServer(echo) as server:
        gateway.point(server.url)
        for method, path, status in (
            ("POST", "/v1/models/none:predict", 404),
            ("POST", "/v1/models/none:explain", 404),
            ("POST", "/v2/repository/models/co2/unload", 404),
            ("POST", "/v2/models/co2/unload", 404),
            ("POST", "/v2/models/..%2fco2/infer", 404),
            ("POST", "/v2/models/co2/../co2/infer", 404),
            ("GET", "/nothing", 404),
            ("GET", "/v1/models/co2:predict", 405),
            ("DELETE", "/v2/models/co2", 405),
            ("GET", "/-/reload", 405),
        ):
            reply = gateway.ask(method, path, b"{}" if method == "POST" else None)
            assert (reply.status, list(reply.json)) == (status, ["error"]), path
        assert gateway.ask("GET", "/v1/models/co2:predict").headers["allow"] == "POST"
        assert server.asked == []


def test_without_a_champion_a_client_is_asked_to_come_back(gateway: Running) -> None:
    """A workload that nothing may serve is a 503 with Retry-After, not a 404."""
    gateway.point(None, workload="new", version=None, server=None)
    reply = gateway.predict({}, workload="new")
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) > 0
    assert "no champion" in reply.json["error"]


def test_a_body_over_the_limit_is_refused(gateway: Running) -> None:
    """With a length or in chunks, a body past the workload's limit is a 413 and never reaches the model server."""
    with ModelServer(echo) as server:
        gateway.point(server.url, max_body_mb=1)
        over = b"x" * ((1 << 20) + 1)
        assert gateway.ask("POST", "/v2/models/co2/infer", over).status == 413
        assert gateway.ask("POST", "/v2/models/co2/infer", over, chunked=True).status == 413
        assert server.asked == []
        assert gateway.ask("POST", "/v2/models/co2/infer", over[:-1]).body == over[:-1]
        assert gateway.ask("POST", "/v2/models/co2/infer", over[:-1], chunked=True).body == over[:-1]


def test_a_slow_model_is_given_up(gateway: Running) -> None:
    """Past the workload's deadline the client gets a 504, and the late answer is nobody's."""

    async def slow(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(json.loads(asked.body)["instances"][0])
        writer.write(response(asked.body))

    with ModelServer(slow) as server:
        gateway.point(server.url, timeout_s=1)
        started_at = time.monotonic()
        reply = gateway.predict(1.2)
        assert reply.status == 504
        assert time.monotonic() - started_at < 3
        assert gateway.predict(0).json == {"instances": [0]}


def test_a_connection_that_was_closed_meanwhile_is_no_error(gateway: Running) -> None:
    """Pooled connections that the server has closed are replaced without the client noticing."""
    with ModelServer(echo) as server:
        gateway.point(server.url)
        for number in range(20):
            assert gateway.predict(number).json == {"instances": [number]}
            server.hang_up()
        assert server.connections >= 19


def _breaks_off_first(how: bytes) -> Behaviour:
    broken = []

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if not broken:
            broken.append(True)
            writer.write(how)
            await writer.drain()
            writer.close()
        else:
            await echo(asked, writer)

    return behave


@pytest.mark.parametrize("how", [b"", response(b"x" * 100)[:-50], b"not http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\ncont"])
def test_a_request_that_was_cut_off_is_sent_once_more(gateway: Running, how: bytes) -> None:
    """A server that hangs up before its answer is whole, or sends nonsense, is asked again; the client sees one whole answer."""
    with ModelServer(_breaks_off_first(how)) as server:
        gateway.point(server.url)
        assert gateway.predict(1).json == {"instances": [1]}
        assert len(server.asked) == 2


def test_a_server_that_is_gone_is_looked_for_at_the_pointer(gateway: Running) -> None:
    """Where the known server refuses and the pointer has moved, unannounced, the request goes to the new one at once."""
    with ModelServer(echo) as server:
        gateway.point("http://127.0.0.1:1")
        gateway.point(server.url, announce=False)
        assert gateway.predict(1).json == {"instances": [1]}


def test_a_server_that_is_gone_for_good_is_a_503(gateway: Running) -> None:
    """Where nothing answers, the client is told so and when to ask again; it is tried twice, not for ever."""
    gateway.point("http://127.0.0.1:1")
    reply = gateway.predict(1)
    assert reply.status == 503
    assert reply.headers["retry-after"] == "1"
    assert "does not answer" in reply.json["error"]

    async def never(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.close()

    with ModelServer(never) as server:
        gateway.point(server.url)
        assert gateway.predict(1).status == 503
        assert len(server.asked) == 2


def test_a_pointer_that_nobody_announced_is_followed(gateway: Running) -> None:
    """A changed routes file is noticed within a second or so."""
    with ModelServer(says('"old"')) as old, ModelServer(says('"new"')) as new:
        gateway.point(old.url)
        assert gateway.predict(1).json == "old"
        gateway.point(new.url, announce=False)
        until(lambda: gateway.predict(1).json == "new", deadline_s=3)


def test_routes_that_cannot_be_read_change_nothing(gateway: Running) -> None:
    """A broken routes file leaves the pointers as they were."""
    with ModelServer(echo) as server:
        gateway.point(server.url)
        file = routes.path(gateway.home)
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        assert gateway.ask("POST", "/-/reload").status == 200
        assert gateway.predict(1).json == {"instances": [1]}
        file.write_bytes(whole)


def test_a_drained_server_is_seen_to_be_drained(gateway: Running) -> None:
    """A server that no route names is shown with what it still has in flight, and vanishes when that is answered."""
    release = threading.Event()

    async def held(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(release.wait, 10)
        await echo(asked, writer)

    with ModelServer(held) as old, ModelServer(echo) as new, ThreadPoolExecutor() as clients:
        gateway.point(old.url)
        pending = clients.submit(gateway.predict, "held")
        until(lambda: old.asked)
        gateway.point(new.url)
        shown = {one["url"]: (one["inflight"], one["current"]) for one in gateway.ask("GET", "/-/routes").json["servers"]}
        assert shown[old.url] == (1, False)
        assert shown[new.url] == (0, True)
        assert gateway.predict("next").status == 200
        release.set()
        assert pending.result().json == {"instances": ["held"]}
        assert old.url not in {one["url"] for one in gateway.ask("GET", "/-/routes").json["servers"]}


def test_answers_are_never_mixed_up(gateway: Running) -> None:
    """Many clients at once each get the answer to their own request, while connections break and deadlines pass."""
    count = []

    async def moody(asked: Asked, writer: asyncio.StreamWriter) -> None:
        count.append(1)
        if len(count) % 37 == 0:
            writer.close()
        elif len(count) % 53 == 0:
            await asyncio.sleep(1.1)  # past the deadline, and then it answers after all
            await echo(asked, writer)
        else:
            await asyncio.sleep(0.001 * (len(count) % 5))
            await echo(asked, writer)

    with ModelServer(moody) as server, ThreadPoolExecutor(24) as clients:
        gateway.point(server.url, timeout_s=1)
        replies = list(clients.map(lambda n: (n, gateway.predict(n)), range(600)))
    assert all(reply.json == {"instances": [n]} for n, reply in replies if reply.status == 200)
    assert {reply.status for _, reply in replies} <= {200, 503, 504}
    assert sum(reply.status == 200 for _, reply in replies) > 500


def test_what_is_not_http_is_refused_in_json(gateway: Running) -> None:
    """Garbage, and a body with two lengths, get a 400 in our shape and a closed connection."""
    smuggled = (
        b"POST /v1/models/co2:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    for raw in (b"GARBAGE\r\n\r\n", smuggled):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as connection:
            connection.sendall(raw)
            received = b""
            while part := connection.recv(65_536):
                received += part
        head, _, body = received.partition(b"\r\n\r\n")
        assert b" 400 " in head.splitlines()[0]
        assert list(json.loads(body)) == ["error"]


def test_requests_are_counted(gateway: Running) -> None:
    """Prometheus sees requests by workload, version and status; a made-up workload makes no label."""
    with ModelServer(echo) as server:
        gateway.point(server.url, workload="counted", version="5")
        gateway.predict(1, workload="counted")
        gateway.predict(1, workload="made_up")
        text = gateway.ask("GET", "/metrics").body.decode()
    assert 'aiprime_gateway_requests_total{status="200",version="5",workload="counted"} 1.0' in text
    assert 'aiprime_gateway_seconds_count{workload="counted"} 1.0' in text
    assert "made_up" not in text


def test_the_front_page_shows_a_curl_that_works(gateway: Running) -> None:
    """`GET /` lists the workloads, each with a command line that the gateway answers; for a browser it is a page of cards (test_pages)."""
    with ModelServer(echo) as server:
        gateway.point(server.url, workload="reference", model=str(ROOT / "benchmarks" / "reference_model"))
        listed = gateway.ask("GET", "/", headers={"Host": f"127.0.0.1:{gateway.port}"}).json["workloads"]
        shown = next(one for one in listed if one["workload"] == "reference")
        found = subprocess.run(["sh", "-c", shown["curl"]], capture_output=True, text=True, check=True)
        assert json.loads(found.stdout) == {"instances": [{"x": [0.0] * 20}]}
        page = gateway.ask("GET", "/", headers={"Accept": "text/html"})
        assert page.headers["content-type"].startswith("text/html")
        assert b'<h2><a href="/models/reference">reference</a></h2>' in page.body
        assert b"<pre>curl -s " in gateway.ask("GET", "/models/reference", headers={"Accept": "text/html"}).body


def test_it_is_light() -> None:
    """At most 60 MB: none of the libraries that train or serve models comes along."""
    code = (
        "import sys, serving.gateway.app; from pathlib import Path\n"
        "heavy = {'feast', 'kserve', 'pandas', 'numpy', 'sqlalchemy', 'torch', 'dagster', 'mlflow', 'onnxruntime'}\n"
        "peak = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM'))\n"
        "print(sorted(heavy & set(sys.modules)), int(peak.split()[1]) // 1024)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy, megabytes = found.stdout.rsplit(maxsplit=1)
    assert heavy == "[]"
    assert int(megabytes) < 60


def test_what_was_begun_is_answered_after_sigterm(tmp_path: Path) -> None:
    """SIGTERM closes the port; a request in flight is answered, then the process ends well."""
    release = threading.Event()

    async def held(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(release.wait, 10)
        await echo(asked, writer)

    gateway = started(tmp_path)
    with ModelServer(held) as server, ThreadPoolExecutor() as clients:
        gateway.point(server.url)
        pending = clients.submit(gateway.predict, 1)
        until(lambda: server.asked)
        os.kill(gateway.process.pid, signal.SIGTERM)
        until(lambda: not _listens(gateway.port))
        release.set()
        assert pending.result().json == {"instances": [1]}
    assert gateway.process.wait(10) == 0


def test_a_port_that_is_taken_is_said_so(gateway: Running, tmp_path: Path) -> None:
    """A second gateway on the same port ends with a message that names the port, without a traceback."""
    command = [sys.executable, "-m", "serving.gateway", "--home", str(tmp_path), "--port", str(gateway.port)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert found.returncode == 1
    assert f"127.0.0.1:{gateway.port}" in found.stderr
    assert "Traceback" not in found.stderr


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_no_collection_walks_through_what_was_imported(tmp_path: Path) -> None:
    """The gateway's modules are frozen before it serves: collecting garbage then takes no time that a client would notice."""
    code = (
        "import gc, sys; from pathlib import Path; from serving.gateway import __main__ as program, app\n"
        "async def serve(*_): print(gc.isenabled(), gc.get_freeze_count() > 50_000, len(gc.get_objects()) < 10_000)\n"
        "app.serve = serve; program._run(Path(sys.argv[1]), 0)"
    )
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=ROOT, capture_output=True, text=True)
    assert told.stdout.split() == ["True"] * 3
