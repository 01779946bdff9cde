"""Every inference answer carries an id, in its header and its JSON, and under it is kept what was sent and answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from serving.records import Records
from tests.serving.gateway.conftest import Reply, Running
from tests.serving.gateway.model_server import Asked, ModelServer, echo, response, says
from tests.serving.gateway.online_rows import write
from tests.serving.gateway.test_completion import STORED, Workload

V1 = '{"predictions":[{"prediction":1.5},{"prediction":2.5}],"model_version":"7"}'
V2 = '{"id":"mine","model_name":"co2","outputs":[{"name":"prediction","shape":[3],"datatype":"FP64","data":[1,2,3]}],"model_version":"7","parameters":{"model_version":"7"}}'


@pytest.fixture
def records(gateway: Running) -> Records:
    return Records.at(gateway.home)


def identified(reply: Reply) -> str:
    """The id in the header, a UUIDv7."""
    text = reply.headers["x-aiprime-prediction-id"]
    assert UUID(text).version == 7
    return text


def test_v1_answers_carry_their_id(gateway: Running, records: Records) -> None:
    """v1: parameters.prediction_id beside the predictions; the record holds both bodies byte for byte, version, rows and status."""
    with ModelServer(says(V1)) as server:
        gateway.point(server.url, version="7")
        reply = gateway.predict({"x": 1}, {"x": 2})
    prediction_id = identified(reply)
    assert reply.json == json.loads(V1) | {"parameters": {"prediction_id": prediction_id}}
    (kept,) = records.find(prediction_id)
    assert (kept.request, kept.answer) == (server.asked[0].body, V1.encode())
    assert (kept.workload, kept.version, kept.role, kept.form, kept.rows, kept.status) == ("co2", "7", "champion", "v1", 2, 200)
    assert 0 < kept.latency_ms < 10_000


def test_v2_answers_carry_their_id(gateway: Running, records: Records) -> None:
    """v2: the id joins the parameters that are there, and the client's own id stays its own."""
    with ModelServer(says(V2)) as server:
        gateway.point(server.url, version="7")
        reply = gateway.ask("POST", "/v2/models/co2/infer", '{"id": "mine", "inputs": []}')
    prediction_id = identified(reply)
    expected = json.loads(V2)
    assert reply.json == expected | {"parameters": {"model_version": "7", "prediction_id": prediction_id}}
    (kept,) = records.find(prediction_id)
    assert (kept.request, kept.answer, kept.form, kept.rows) == (b'{"id": "mine", "inputs": []}', V2.encode(), "v2", 3)


@pytest.mark.parametrize("parameters", ['"parameters":{"model_version":"7"},', ""])
def test_binary_answers_carry_their_id(gateway: Running, records: Records, parameters: str) -> None:
    """v2 binary: the JSON before the tensors is longer by the id and says so; the tensors are as they were; raw requests are kept whole."""
    outputs = '"outputs":[{"name":"prediction","shape":[2],"datatype":"FP64","parameters":{"binary_data_size":16}}]'
    head = ('{"id":"mine",' + parameters + outputs + "}").encode()
    tensors = bytes(range(16))

    async def binary(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(response(head + tensors, headers=f"Inference-Header-Content-Length: {len(head)}\r\n"))

    sent = b'{"inputs": []}' + b"\x00\xff" * 8
    with ModelServer(binary) as server:
        gateway.point(server.url)
        reply = gateway.ask("POST", "/v2/models/co2/infer", sent, {"Inference-Header-Content-Length": "14"})
    prediction_id = identified(reply)
    length = int(reply.headers["inference-header-content-length"])
    assert reply.body[length:] == tensors
    found = json.loads(reply.body[:length])
    assert found.pop("parameters") == (
        json.loads("{" + parameters[:-1] + "}").get("parameters", {}) | {"prediction_id": prediction_id}
    )
    assert found == {name: value for name, value in json.loads(head).items() if name != "parameters"}
    (kept,) = records.find(prediction_id)
    assert (kept.request, kept.answer, kept.form, kept.rows) == (sent, head + tensors, "v2/14", 2)


def test_ids_differ_and_only_answers_have_one(gateway: Running) -> None:
    """Each answer has an id of its own; metadata, readiness and what the gateway refuses have none."""
    with ModelServer(says(V1)) as server:
        gateway.point(server.url, max_body_mb=1)
        assert len({identified(gateway.predict(1)) for _ in range(20)}) == 20
        for method, path, body in (
            ("GET", "/v2/models/co2", None),
            ("GET", "/v2/models/co2/ready", None),
            ("POST", "/v1/models/none:predict", b"{}"),
            ("POST", "/v1/models/co2:predict", b"x" * (1 << 20 | 1)),
        ):
            assert "x-aiprime-prediction-id" not in gateway.ask(method, path, body).headers


def test_what_the_model_refuses_is_kept_too(gateway: Running, records: Records) -> None:
    """A model's own error passes unchanged in its body, with an id in the header, and is a record with its status."""
    with ModelServer(says('{"error":"x is missing"}', status=400)) as server:
        gateway.point(server.url)
        reply = gateway.predict({})
    assert reply.json == {"error": "x is missing"}
    (kept,) = records.find(identified(reply))
    assert (kept.status, kept.answer, kept.rows) == (400, b'{"error":"x is missing"}', 0)


def test_a_champion_that_does_not_answer_is_a_record(gateway: Running, records: Records) -> None:
    """A server that is gone is status 0, one that is too slow 504: what a rollout is judged by includes them."""

    async def never(_: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    gateway.point("http://127.0.0.1:1")
    (kept,) = records.find(identified(gateway.predict(1)))
    assert (kept.status, kept.answer) == (0, b"")
    with ModelServer(never) as server:
        gateway.point(server.url, timeout_s=1)
        reply = gateway.predict(1)
        assert reply.status == 504
        (kept,) = records.find(identified(reply))
        assert (kept.status, kept.latency_ms > 900) == (504, True)


def test_a_sample_keeps_its_share(gateway: Running, records: Records) -> None:
    """With `sample` below 1 every answer has an id, and about that share of them is kept."""
    with ModelServer(says(V1)) as server:
        gateway.point(server.url, sample=0.25)
        ids = [identified(gateway.predict(1)) for _ in range(200)]
    found = sum(bool(records.find(one)) for one in ids)
    assert 25 <= found <= 80


def test_what_is_kept_can_be_looked_up(gateway: Running) -> None:
    """`GET /v1/predictions/ID` shows who answered what, by ID and by ID/n; an unknown id is a 404 that names it."""
    with ModelServer(says(V1)) as server:
        gateway.point(server.url, version="7")
        prediction_id = identified(gateway.predict({"x": 1}, {"x": 2}))
    for path in (prediction_id, f"{prediction_id}/1"):
        found = gateway.ask("GET", f"/v1/predictions/{path}").json
        (answer,) = found["answers"]
        assert (found["prediction_id"], found["workload"], found["labels"]) == (prediction_id, "co2", [])
        assert (answer["role"], answer["version"], answer["status"], answer["rows"]) == ("champion", "7", 200, 2)
        assert (answer["request"], answer["answer"]) == ({"instances": [{"x": 1}, {"x": 2}]}, json.loads(V1))
    unknown = "0198c0de-0000-7000-8000-000000000000"
    reply = gateway.ask("GET", f"/v1/predictions/{unknown}")
    assert (reply.status, unknown in reply.json["error"]) == (404, True)


@pytest.fixture
def echoing() -> Iterator[ModelServer]:
    with ModelServer(echo) as server:
        yield server


def test_completed_requests_are_kept_with_their_entities(gateway: Running, echoing: ModelServer, records: Records) -> None:
    """What is kept is what the model was sent, every input in it, and beside it the entities that the model does not take."""
    workload = Workload(gateway, echoing, "kept")
    for station in ("a", "b"):
        write(workload.store, station, STORED, datetime(2026, 7, 1, 12, tzinfo=UTC))
    tensors = (
        {"name": "station", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]},
        {"name": "holiday", "shape": [2], "datatype": "BOOL", "data": [True, False]},
    )
    rows = ({"station": "a", "holiday": True}, {"station": "b", "holiday": False})
    for ask, parts in ((workload.predict, rows), (workload.infer, tensors)):
        (kept,) = records.find(identified(ask(*parts)))
        assert (kept.entities, kept.rows) == (("a", "b"), 2)
        assert kept.request == echoing.asked[-1].body
        assert b"station" not in kept.request


def test_the_log_is_measured(gateway: Running) -> None:
    """Prometheus sees the tries by role, and the commits with their sizes and times."""
    with ModelServer(says(V1)) as server:
        gateway.point(server.url, workload="measured", version="3")
        gateway.predict(1, workload="measured")
    text = gateway.ask("GET", "/metrics").body.decode()
    assert 'aiprime_gateway_tries_total{role="champion",status="200",version="3",workload="measured"} 1.0' in text
    for name in ("log_group_size_count", "log_commit_seconds_count"):
        assert f"aiprime_gateway_{name}" in text
