"""The model server's bounds, over real sockets: heads, slow ends, connections, the queue, the deadline; always an answer that says why."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.serving import model_folders
from tests.serving.served import Answer, Served, messages, serve
from tests.serving.waiting import until

pytestmark = pytest.mark.xdist_group("bounded")  # one server
CONNECTIONS = 40
ROWS = 20_000  # more than any model takes inline
LONG = 10**12  # turns of a loop: hours


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model whose `work` is a number of turns, one place to wait, a short deadline, little patience and small bodies."""
    folder = model_folders.treacherous(tmp_path_factory.mktemp("models") / "bounded")
    options = {"max_connections": CONNECTIONS, "max_waiting": 1, "timeout_seconds": 5, "idle_seconds": 1, "body_limit": 8 << 20}
    with serve(folder, *(word for name, value in options.items() for word in (f"--{name}", str(value)))) as served:
        yield served


def batch(work: int) -> tuple[Any, bytes]:
    """A request that runs on a thread, for so many turns."""
    columns = {"x": np.ones(ROWS), "index": np.zeros(ROWS, np.int64), "work": np.full(ROWS, work)}
    inputs = [
        {"name": n, "shape": [ROWS], "datatype": "FP64" if n == "x" else "INT64", "parameters": {"binary_data_size": c.nbytes}}
        for n, c in columns.items()
    ]
    return {"inputs": inputs, "parameters": {"binary_data_output": True}}, b"".join(c.tobytes() for c in columns.values())


def asked(served: Served, work: int) -> Answer:
    head, tail = batch(work)
    return served.infer(head, tail=tail)


def timed(served: Served, work: int) -> tuple[Answer, float]:
    """The answer, and after how many seconds it came."""
    began = time.monotonic()
    return asked(served, work), time.monotonic() - began


def busy_s(served: Served) -> float:
    """Processor seconds that the server has used."""
    fields = Path(f"/proc/{served.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def idles(served: Served) -> bool:
    """Whether no thread of the server computes."""
    before = busy_s(served)
    time.sleep(0.4)
    return busy_s(served) - before <= 0.02  # on a busy machine a thread that computes has little more


def told(connection: socket.socket) -> bytes:
    """All that the server says until it closes."""
    with connection, connection.makefile("rb") as file:
        return file.read()


def opened(served: Served, text: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", served.http_port), timeout=15)
    connection.sendall(text)
    return connection


@pytest.mark.slow
def test_excess_is_told_when_to_come_back(bounded: Served) -> None:
    """Two run and one waits; the rest has a 429 with Retry-After at once, and small requests are answered as ever.

    Past the deadline what takes for ever is a 504 in our shape, no thread goes on with it, and the queue is empty.
    """
    calls, (head, _) = bounded.calls(), batch(0)
    tensors = [{k: one[k] for k in ("name", "shape", "datatype")} for one in head["inputs"]]
    raw = [np.ones(ROWS).tobytes(), np.zeros(ROWS, np.int64).tobytes(), np.zeros(ROWS, np.int64).tobytes()]
    message = messages().ModelInferRequest(model_name="hand", inputs=tensors, raw_input_contents=raw)
    with ThreadPoolExecutor(6) as clients:
        held = [clients.submit(timed, bounded, LONG) for _ in range(2)]
        until(lambda: not idles(bounded))
        waiting = clients.submit(timed, bounded, LONG)
        time.sleep(0.2)
        began = time.perf_counter()
        answer = asked(bounded, 0)
        assert (answer.status, list(answer.json)) == (429, ["error"])
        assert int(answer.headers["retry-after"]) >= 1
        assert time.perf_counter() - began < 0.5
        with pytest.raises(grpc.RpcError) as error:
            calls.ModelInfer(message)
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        row = {"instances": [{"x": 4, "index": 0, "work": 0}]}
        assert bounded.predict(row).status == 200
        for late, seconds in (one.result() for one in (*held, waiting)):
            assert (late.status, list(late.json)) == (504, ["error"])
            assert 4.5 < seconds < 8
    until(lambda: idles(bounded))
    assert asked(bounded, 0).status == 200


def test_a_client_that_leaves_takes_its_work_along(bounded: Served) -> None:
    """A closed connection ends the prediction that nobody waits for, long before the deadline."""
    head, tail = batch(LONG)
    body = json.dumps(head).encode()
    stated = f"Inference-Header-Content-Length: {len(body)}\r\nContent-Length: {len(body) + len(tail)}\r\n\r\n".encode()
    connection = opened(bounded, b"POST /v2/models/hand/infer HTTP/1.1\r\nHost: a\r\n" + stated + body + tail)
    until(lambda: not idles(bounded))
    connection.close()
    until(lambda: idles(bounded), deadline_s=2.5)
    assert asked(bounded, 0).status == 200


INFER = b"/v2/models/hand/infer"
NAMED = b"POST /v1/models/hand:predict HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "start", [NAMED, NAMED + b"Content-Length: 100000\r\n\r\n", NAMED + b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_a_trickle_does_not_hold_a_connection(start: bytes, bounded: Served) -> None:
    """One byte at a time, in the headers, in a body, in chunks: a 408 within the patience and a few seconds."""
    connection = opened(bounded, start)
    trickle = b"1\r\na\r\n" * 200 if b"chunked" in start else b"X: y\r\n" * 200
    over = threading.Event()

    def send() -> None:
        for byte in trickle:
            if over.wait(0.05):
                return
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return

    sender = threading.Thread(target=send)
    sender.start()
    began = time.monotonic()
    answer = connection.recv(65_536)
    over.set()
    sender.join()
    answer += told(connection)
    assert answer.startswith(b"HTTP/1.1 408"), answer
    assert b'{"error"' in answer
    assert time.monotonic() - began < 6


def test_a_reader_that_does_not_read_is_given_up(bounded: Served) -> None:
    """An answer of megabytes that nobody takes does not stay in memory: the connection ends."""
    head, tail = batch(0)
    body = json.dumps(head).encode()
    stated = f"Inference-Header-Content-Length: {len(body)}\r\nContent-Length: {len(body) + len(tail)}\r\n\r\n".encode()
    text = b"POST /v2/models/hand/infer HTTP/1.1\r\nHost: a\r\n" + stated + body + tail
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(15)
    connection.connect(("127.0.0.1", bounded.http_port))
    threading.Thread(target=flooded, args=(connection, text)).start()
    established = 1  # the kernel's state of a connection that nobody has ended
    until(lambda: connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != established, deadline_s=30)
    connection.close()


def flooded(connection: socket.socket, text: bytes) -> None:
    """Ask again and again, and read nothing."""
    try:
        for _ in range(200):
            connection.sendall(text)
    except OSError:
        return


def test_a_head_has_a_bound(bounded: Served) -> None:
    """Too many headers, or a head too long, whether or not it ends, is a 431."""
    for text in (
        NAMED + b"a: b\r\n" * 101 + b"\r\n",
        NAMED + b"a: " + b"b" * 40_000,
        NAMED + b"a: " + b"b" * 300_000 + b"\r\n\r\n",
    ):
        answer = told(opened(bounded, text))
        assert answer.startswith(b"HTTP/1.1 431"), text[:80]
        assert b'{"error"' in answer
    many = b"".join(b"x-%d: %d\r\n" % (n, n) for n in range(90))
    assert bounded.get("/v2/health/live").status == 200
    answered = opened(bounded, b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + many + b"\r\n")
    assert told(answered).startswith(b"HTTP/1.1 200")


def test_pipelined_requests_have_a_bound(bounded: Served) -> None:
    """Hundreds of requests at once on one connection do not pile up: it ends with a 503, and the memory stays."""
    before = bounded.memory_mb()
    flood = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000
    connection = opened(bounded)
    sender = threading.Thread(target=flooded, args=(connection, flood))
    sender.start()
    assert b"HTTP/1.1 503" in told(connection)
    sender.join()
    assert bounded.memory_mb() - before < 50
    some = opened(bounded, b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
    received = b""
    while received.count(b"HTTP/1.1 200") < 20:
        part = some.recv(65_536)
        assert part, received
        received += part
    some.close()


def test_connections_have_a_bound(bounded: Served) -> None:
    """One more than there may be is a 503 with Retry-After; those that were there go on."""
    kept = bounded.connection()
    assert bounded.request("GET", "/v2/health/live", on=kept).status == 200
    held = [opened(bounded) for _ in range(CONNECTIONS)]
    refused = told(opened(bounded, b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in refused
    assert bounded.request("GET", "/v2/health/live", on=kept).status == 200
    for one in held:
        one.close()
    until(
        lambda: told(opened(bounded, b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).startswith(
            b"HTTP/1.1 200"
        )
    )


def endless(connection: socket.socket, chunk: bytes) -> bytes:
    """Send until the server has enough: what it says."""
    try:
        while True:
            connection.sendall(chunk)
            time.sleep(0.01)  # a hundred a second are endless too, and leave a processor to others
    except OSError:
        return told(connection)


@pytest.mark.slow
def test_an_endless_body_ends(bounded: Served) -> None:
    """Chunks without end are refused where they pass the limit, wherever they are sent, and the connection ends."""
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    starts = [b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" for path in (INFER, b"/nowhere")]
    with ThreadPoolExecutor(2) as clients:
        for answer in clients.map(lambda start: endless(opened(bounded, start), chunk), starts):
            assert answer.startswith(b"HTTP/1.1 413")


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def head(path: bytes) -> bytes:
    """The headers of a gRPC call, none of them from a table (RFC 7541, 6.2.2)."""
    said = {b":method": b"POST", b":scheme": b"http", b":path": path, b":authority": b"a", b"te": b"trailers"}
    said[b"content-type"] = b"application/grpc"
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in said.items())


def test_a_call_whose_message_does_not_come_is_given_up(bounded: Served) -> None:
    """A client that opens a call and sends nothing has DEADLINE_EXCEEDED within the patience of REST; the next call is answered."""
    calls, m = bounded.calls(), messages()
    over = threading.Event()

    def never() -> Iterator[Any]:
        over.wait(20)
        yield m.ServerLiveRequest()

    with grpc.insecure_channel(f"127.0.0.1:{bounded.grpc_port}") as channel:
        slow = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer", response_deserializer=None)
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as error:
            slow(never(), timeout=15)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "did not come within 1 s" in (error.value.details() or "")
        assert time.monotonic() - began < 6
        over.set()
    assert calls.ServerLive(m.ServerLiveRequest()).live


def test_a_message_that_trickles_is_given_up(bounded: Served) -> None:
    """Byte by byte, for as long as it is let: the stream ends with its status within the patience, however much of it came."""
    connection = socket.create_connection(("127.0.0.1", bounded.grpc_port), timeout=15)
    with connection:
        start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
        start += frame(1, 4, 1, head(b"/inference.GRPCInferenceService/ModelInfer"))
        connection.sendall(start + frame(0, 0, 1, b"\0" + struct.pack(">I", 1000)))
        began, said = time.monotonic(), b""
        connection.settimeout(0.1)
        while b"grpc-status" not in said and time.monotonic() - began < 10:
            connection.sendall(frame(0, 0, 1, b"a"))
            try:
                said += connection.recv(65_536)
            except TimeoutError:
                continue
        assert b"grpc-status" in said
        assert time.monotonic() - began < 6


def test_a_call_without_a_message_is_refused(bounded: Served) -> None:
    """A stream that ends at once is INVALID_ARGUMENT, and no silence."""
    with grpc.insecure_channel(f"127.0.0.1:{bounded.grpc_port}") as channel:
        empty = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer", response_deserializer=None)
        with pytest.raises(grpc.RpcError) as error:
            empty(iter(()), timeout=10)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
