"""The model server as a process: what it refuses to start on, where it listens, what it withstands, and how it leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from data.files import tree_digest
from serving import instance
from serving.programs import free_port
from tests.conftest import ROOT
from tests.serving import model_folders
from tests.serving.requests import OTHER, ROW, grpc_request, tensors
from tests.serving.served import Served, messages, serve, start
from tests.serving.waiting import until

pytestmark = pytest.mark.xdist_group("treacherous")  # one server
LIMIT = 1 << 20
TOKEN = "told"


@pytest.fixture(scope="module")
def treacherous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model that fails on some rows, behind a small body limit."""
    folder = model_folders.treacherous(tmp_path_factory.mktemp("models") / "treacherous")
    with serve(
        folder,
        "--version",
        "1",
        "--digest",
        tree_digest(folder),
        "--body_limit",
        str(LIMIT),
        "--idle_seconds",
        "1",
        env={"PROMETHEUS_MULTIPROC_DIR": "/nowhere", instance.SETTING: TOKEN},
    ) as served:
        yield served


def row(x: float = 4.0, index: int = 0, work: int = 0) -> dict[str, Any]:
    return {"instances": [{"x": x, "index": index, "work": work}]}


def test_it_proves_whose_server_it_is(treacherous: Served) -> None:
    """The proof is of its token, its own port and the asker's number."""
    number = instance.number()
    answer = treacherous.get(f"{instance.PATH}{number}")
    assert (answer.status, instance.proven(TOKEN, treacherous.http_port, number, answer.content)) == (200, True)


def refusal(folder: Path, *options: str, **env: str) -> str:
    """What a server that does not start says; it ends with status 2, and soon."""
    command = [
        sys.executable,
        "-m",
        "serving",
        "--model_name",
        "hand",
        "--model_dir",
        str(folder),
        "--http_port",
        str(free_port()),
        "--grpc_port",
        "0",
        "--unsigned",
        *options,
    ]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_another_digest_is_refused_before_anything_is_read(tmp_path: Path):
    """With --digest, a folder of other bytes does not start, and its files, here no JSON at all, are not parsed."""
    (tmp_path / "model.json").write_text("{ not JSON")
    (tmp_path / "model.onnx").write_bytes(b"not ONNX")
    said = refusal(tmp_path, "--digest", "0" * 64)
    assert "0" * 64 in said
    assert tree_digest(tmp_path) in said
    assert "next:" in said


def test_a_symbolic_link_is_refused(tmp_path: Path):
    """A folder that points elsewhere is no model folder."""
    model_folders.numbers(tmp_path / "m")
    (tmp_path / "m" / "more.json").symlink_to("/etc/hostname")
    assert "symbolic link" in refusal(tmp_path / "m")


def test_a_taken_port_is_refused(tmp_path: Path):
    """The message names the address; gRPC's port too, which by default two servers would share."""
    folder = model_folders.numbers(tmp_path / "m")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port}" in refusal(folder, "--http_port", port)
        assert f"127.0.0.1:{port}" in refusal(folder, "--grpc_port", port)


def test_it_listens_on_loopback_only(treacherous: Served):
    """Neither HTTP nor gRPC is bound to every address."""
    assert {address for address, port in listening() if port in (treacherous.http_port, treacherous.grpc_port)} == {"127.0.0.1"}


@pytest.mark.slow
def test_a_pod_may_bind_everywhere(tmp_path: Path):
    """AIPRIME_BIND says where."""
    with serve(model_folders.numbers(tmp_path / "m"), env={"AIPRIME_BIND": "0.0.0.0"}) as served:
        assert {address for address, port in listening() if port in (served.http_port, served.grpc_port)} == {"0.0.0.0"}


def listening() -> set[tuple[str, int]]:
    """IPv4 address and port of every listening socket; gRPC's addresses are mapped into IPv6."""
    found = set()
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(file).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A":
                address, port = local.split(":")
                found.add((socket.inet_ntoa(bytes.fromhex(address[-8:])[::-1]), int(port, 16)))
    return found


@pytest.mark.parametrize("instances", [row(index=5), row(x=-1.0)], ids=["the graph fails", "the answer is NaN"])
def test_a_failing_model_says_nothing_of_its_insides(instances: Any, treacherous: Served):
    """A valid request that the model fails on is a 500 in every protocol, with one fixed sentence, and the log has the cause."""
    values = instances["instances"][0]
    document = {
        "id": "a",
        "inputs": [
            {"name": n, "shape": [1], "datatype": t, "data": [values[n]]}
            for n, t in (("x", "FP64"), ("index", "INT64"), ("work", "INT64"))
        ],
    }
    for answer in (treacherous.predict(instances), treacherous.infer(document)):
        assert answer.status == 500
        assert answer.json == {"error": "the model failed on this request; the server's log says why"}
    with pytest.raises(grpc.RpcError) as error:
        treacherous.calls().ModelInfer(grpc_request(document, raw=True))
    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.INTERNAL, answer.json["error"])
    assert "ModelFailure" in treacherous.log.read_text()
    assert treacherous.predict(row()).json["predictions"] == [{"prediction": 3.0}]


def test_a_long_prediction_does_not_block_the_others(treacherous: Served):
    """A big batch runs on a thread: health answers meanwhile."""
    rows = 20_000
    columns = {"x": np.ones(rows), "index": np.zeros(rows, np.int64), "work": np.full(rows, 400_000)}
    tail = b"".join(c.tobytes() for c in columns.values())
    inputs = [
        {"name": n, "shape": [rows], "datatype": "FP64" if n == "x" else "INT64", "parameters": {"binary_data_size": c.nbytes}}
        for n, c in columns.items()
    ]
    answers: list[Any] = []
    sending = threading.Thread(
        target=lambda: answers.append(
            treacherous.infer({"inputs": inputs, "parameters": {"binary_data_output": True}}, tail=tail)
        )
    )
    sending.start()
    waits = []
    while sending.is_alive():
        started = time.perf_counter()
        assert treacherous.get("/v2/health/live").status == 200
        waits.append(time.perf_counter() - started)
    assert answers[0].status == 200
    assert len(waits) > 3
    assert max(waits) < 0.5 * sum(waits)


def test_a_body_over_the_limit_is_a_413(treacherous: Served):
    """Its sender is told the limit, whether the length was stated or not; it is not kept in memory."""
    before = treacherous.memory_mb()
    stated = treacherous.request("POST", "/v1/models/hand:predict", b"x" * (100 * LIMIT))
    connection = treacherous.connection()
    connection.request(
        "POST",
        "/v2/models/hand/infer",
        (b"x" * 65_536 for _ in range(100)),
        encode_chunked=True,
        headers={"transfer-encoding": "chunked"},
    )
    chunked = connection.getresponse()
    assert (stated.status, chunked.status) == (413, 413)
    assert str(LIMIT) in stated.json["error"]
    assert str(LIMIT) in json.loads(chunked.read())["error"]
    assert treacherous.memory_mb() - before < 50


def test_a_sender_that_asks_first_is_refused_first(treacherous: Served):
    """With `Expect: 100-continue`, a body that is too large is never sent."""
    with socket.create_connection(("127.0.0.1", treacherous.http_port), timeout=10) as raw:
        raw.sendall(
            b"POST /v1/models/hand:predict HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
            % (2 * LIMIT)
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_sender_that_goes_away_is_no_failure(treacherous: Served):
    """Half a body and a closed connection leave no error in the log."""
    before = treacherous.log.read_text()
    with socket.create_connection(("127.0.0.1", treacherous.http_port), timeout=10) as raw:
        raw.sendall(b"POST /v1/models/hand:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
    assert treacherous.predict(row()).status == 200
    assert treacherous.log.read_text() == before


def test_a_sender_that_stops_is_given_up(treacherous: Served):
    """No headers, half of them, a second request half named, no body, half a body: each connection ends; bodies get a 408."""
    named = b"POST /v1/models/hand:predict HTTP/1.1\r\nHost: a\r\n"
    whole = json.dumps(row()).encode()
    begun = {
        b"": b"",
        named: b"",
        named + b"Content-Length: 9\r\n\r\n": b"HTTP/1.1 408",
        named + b"Content-Length: 9\r\n\r\nhalf": b"HTTP/1.1 408",
    }
    kept = socket.create_connection(("127.0.0.1", treacherous.http_port), timeout=20)
    kept.sendall(named + b"Content-Length: %d\r\n\r\n" % len(whole) + whole)
    assert kept.recv(4096).startswith(b"HTTP/1.1 200")
    kept.sendall(named)
    sockets = [socket.create_connection(("127.0.0.1", treacherous.http_port), timeout=20) for _ in begun]
    for raw, text in zip(sockets, begun, strict=True):
        raw.sendall(text)
    for raw, said in zip([kept, *sockets], [b"", *begun.values()], strict=True):
        with raw:
            assert raw.makefile("rb").read().startswith(said)


def test_it_stays_small(treacherous: Served):
    """A fresh server takes at most 255 MB."""
    assert treacherous.fresh_mb <= 255


def test_it_knows_nothing_of_training():
    """The server's modules bring none of the training stack, nor anything that could start it, nor pandas or a client of a cluster."""
    code = "import sys; sys.argv[1:] = []; from serving.inference.spared import spare; spare(); import serving.runtime"
    code += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint(
        {
            "torch",
            "lightning",
            "mlflow",
            "feast",
            "dvc",
            "great_expectations",
            "evidently",
            "sklearn",
            "dagster",
            "statsmodels",
            "onnx",
            "kubernetes",
            "pyarrow",
        }
    )
    assert not [name for name in done.stdout.split() if name.startswith("pandas.")]
    assert "training.family" not in done.stdout.split()


class Half:
    """A request of which half was sent."""

    def __init__(self, served: Served) -> None:
        body = json.dumps({"instances": [ROW, OTHER]}).encode()
        self._rest = body[50:]
        self.socket = socket.create_connection(("127.0.0.1", served.http_port), timeout=20)
        self.socket.sendall(
            b"POST /v1/models/hand:predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:50]
        )

    def finish(self) -> bytes:
        """Send the rest; the whole answer, up to the close."""
        self.socket.sendall(self._rest)
        with self.socket:
            return self.socket.makefile("rb").read()


def test_sigterm_finishes_what_was_begun(tmp_path: Path):
    """First not ready but still answering, then the port closed, then what is in flight finished, then gone, with status 0."""
    with serve(model_folders.every_kind(tmp_path / "m"), "--leaving_seconds", "1") as served:
        kept = served.connection()
        assert served.request("GET", "/v2/health/ready", on=kept).status == 200
        calls = served.calls()
        half = Half(served)
        served.tell_to_end()
        until(lambda: served.get("/v2/health/ready").status == 503)
        assert served.get("/v2/models/hand/ready").status == 503
        assert served.get("/v1/models/hand").status == 503
        assert served.get("/v2/health/live").status == 200
        assert not calls.ServerReady(messages().ServerReadyRequest()).ready
        answered = served.infer(tensors(ROW))
        assert (answered.status, answered.headers["connection"]) == (200, "close")
        assert calls.ModelInfer(grpc_request(tensors(ROW), raw=True)).model_name == "hand"
        until(lambda: not connects(served.http_port))
        assert served.process.poll() is None, "it waits for what is in flight"
        until(lambda: is_refused(calls))  # the two ports close one after the other
        answer = half.finish()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        assert b'"predictions"' in answer
        assert served.end() == 0
    assert "Traceback" not in served.log.read_text()


@pytest.mark.slow
def test_no_accepted_request_fails_when_it_leaves(tmp_path: Path):
    """Clients that send without pause see answers, or a closed port, never a broken answer."""
    with serve(model_folders.numbers(tmp_path / "m")) as served:
        answers: list[int] = []
        broken: list[BaseException] = []
        body = json.dumps({"instances": [{"n0": 1, "n1": 2, "n2": 3}]})

        def send() -> None:
            try:
                while True:
                    answers.append(served.request("POST", "/v1/models/hand:predict", body).status)
            except ConnectionRefusedError:
                return
            except OSError as error:
                broken.append(error)

        senders = [threading.Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        until(lambda: len(answers) > 100)
        assert served.end() == 0
        for sender in senders:
            sender.join(10)
    assert set(answers) == {200}
    assert [
        e for e in broken if not isinstance(e, ConnectionResetError | BrokenPipeError)
    ] == []  # reset before anything was sent back: never accepted
    assert len(broken) <= len(senders)


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(tmp_path: Path):
    """Whoever cannot wait need not."""
    with serve(model_folders.every_kind(tmp_path / "m")) as served:
        half = Half(served)
        served.tell_to_end()
        until(lambda: not connects(served.http_port))
        assert served.process.poll() is None, "it waits for what is in flight"
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(5)
        half.socket.close()


def is_refused(calls: Any) -> bool:
    """Whether a new call is turned away."""
    try:
        calls.ModelInfer(grpc_request(tensors(ROW), raw=True), timeout=5)
    except grpc.RpcError:
        return True
    return False


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_start_shows_the_way(tmp_path: Path):
    """Started without what it needs, it says what it needs."""
    done = subprocess.run([sys.executable, "-m", "serving"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--model_name" in done.stderr


@pytest.mark.slow
def test_a_server_without_grpc_serves_http(tmp_path: Path):
    """--grpc_port 0 leaves gRPC out."""
    served = start(model_folders.numbers(tmp_path / "m"), "--grpc_port", "0")
    try:
        served.wait_until_ready()
        assert not connects(served.grpc_port)
    finally:
        assert served.end() == 0
