"""Completion: a request that names the entity reaches the model with the newest stored values, or is refused with the reason."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from data.files import write_json
from tests.serving.gateway.conftest import Reply, Running
from tests.serving.gateway.model_server import ModelServer, echo
from tests.serving.gateway.online_rows import write
from training.signature import Input, Output, Signature

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
INPUTS = (
    Input(name="time", kind="time", tensor="x0"),
    Input(name="lag ppm", kind="number", tensor="x1"),
    Input(name="gefüllt", kind="number", nullable=True, tensor="x2"),
    Input(name="count", kind="integer", tensor="x3"),
    Input(name="open", kind="boolean", tensor="x4"),
    Input(name="weather", kind="category", tensor="x5"),
    Input(name="holiday", kind="boolean", tensor="x6"),
)
STORED = {"lag ppm": 331.5, "gefüllt": None, "count": 3, "open": True, "weather": "Nebel ☁"}
WHOLE = {"time": "2026-07-01T12:00:00Z", **STORED}


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(echo) as one:
        yield one


class Workload:
    """A workload of its own for each test: its signature, its store, and what reaches its model."""

    def __init__(self, gateway: Running, server: ModelServer, name: str, **signature: Any) -> None:
        self.gateway, self.name = gateway, name
        folder = gateway.home / "models" / name / "1"
        folder.mkdir(parents=True)
        stated = {"entity": "station", "time": "time", "stored": tuple(STORED), "known": ("holiday",), **signature}
        outputs = (Output(name="prediction", datatype="FP64", tensor="y0"),)
        Signature(
            workload=name, family="tabular", task="forecasting", target="ppm", inputs=INPUTS, outputs=outputs, **stated
        ).write(folder)
        self.store = gateway.home / "feast" / name
        gateway.point(server.url, workload=name, model=str(folder))

    def predict(self, *instances: Any) -> Reply:
        return self.gateway.predict(*instances, workload=self.name)

    def infer(self, *inputs: Any) -> Reply:
        return self.gateway.ask("POST", f"/v2/models/{self.name}/infer", json.dumps({"id": "7", "inputs": inputs}))


@pytest.fixture
def workload(gateway: Running, server: ModelServer, request: pytest.FixtureRequest) -> Workload:
    one = Workload(gateway, server, f"w{abs(hash(request.node.name))}")
    write(one.store, "mauna-loa", STORED, NOON)
    return one


def test_the_entity_alone_is_enough(workload: Workload) -> None:
    """What is stored and its time are filled in as the model takes them; what is known ahead stays the client's; the key is dropped."""
    reply = workload.predict({"station": "mauna-loa", "holiday": True})
    assert reply.json == {"instances": [WHOLE | {"holiday": True}]}
    age_s = (datetime.now(UTC) - NOON).total_seconds()
    assert abs(float(reply.headers["x-aiprime-feature-age-seconds"]) - age_s) < 60


def test_what_the_client_brings_is_kept(workload: Workload) -> None:
    """A value in the request wins over the stored one, and null is a value."""
    given = {"station": "mauna-loa", "holiday": False, "weather": "sun", "gefüllt": 1.5, "time": "2026-08-01T00:00:00Z"}
    assert workload.predict(given).json["instances"][0] == WHOLE | {k: v for k, v in given.items() if k != "station"}


def test_a_whole_request_passes_untouched(workload: Workload) -> None:
    """A request that lacks nothing goes on byte for byte, whatever the store holds; so does one that is not understood."""
    whole = json.dumps({"instances": [WHOLE | {"holiday": True}]}, indent=3)
    for body in (whole, "not json", "[]", '{"instances": 3}', '{"instances": [1, 2]}'):
        reply = workload.gateway.ask("POST", f"/v1/models/{workload.name}:predict", body)
        assert reply.body == body.encode()
        assert "x-aiprime-feature-age-seconds" not in reply.headers


def test_many_instances_may_be_short_or_whole(workload: Workload) -> None:
    """Each instance is filled in by its own entity; whole ones among them stay as they are."""
    write(workload.store, "barrow", STORED | {"lag ppm": 300.0}, NOON - timedelta(days=1))
    whole = WHOLE | {"holiday": False, "lag ppm": 0.5}
    sent = workload.predict({"station": "barrow"}, whole, {"station": "mauna-loa"}, {"station": "barrow"}).json["instances"]
    assert [one["lag ppm"] for one in sent] == [300.0, 0.5, 331.5, 300.0]
    assert [one["time"] for one in sent[::3]] == ["2026-06-30T12:00:00Z"] * 2


def test_v2_is_filled_in_by_tensors(workload: Workload) -> None:
    """A v2 request with the entity's tensor gets a tensor of each stored column, with the column's datatype; the rest of it stays."""
    station = {"name": "station", "shape": [2], "datatype": "BYTES", "data": ["mauna-loa", "mauna-loa"]}
    holiday = {"name": "holiday", "shape": [2, 1], "datatype": "BOOL", "data": [True, False]}
    sent = workload.infer(station, holiday).json
    assert sent["id"] == "7"
    assert sent["inputs"][0] == holiday
    assert {one["name"]: (one["datatype"], one["shape"], one["data"]) for one in sent["inputs"][1:]} == {
        "time": ("BYTES", [2], ["2026-07-01T12:00:00Z"] * 2),
        "lag ppm": ("FP64", [2], [331.5] * 2),
        "gefüllt": ("FP64", [2], [None] * 2),
        "count": ("INT64", [2], [3] * 2),
        "open": ("BOOL", [2], [True] * 2),
        "weather": ("BYTES", [2], ["Nebel ☁"] * 2),
    }


def test_v2_shapes_that_lie_are_the_model_server_s_to_refuse(workload: Workload) -> None:
    """A shape that does not match its data is not filled in: no client makes the gateway invent a million rows."""
    station = {"name": "station", "shape": [1_000_000], "datatype": "BYTES", "data": ["mauna-loa"]}
    assert workload.infer(station).json["inputs"] == [station]


def test_an_unknown_entity_is_named(workload: Workload) -> None:
    """An entity without values is a 404 that names it; a value of another type, and no entity at all, are a 400."""
    for instance, status, said in (
        ({"station": "mauna-kea"}, 404, 'station "mauna-kea"'),
        ({"station": 5}, 400, "station is 5; expected text"),
        ({"holiday": True}, 400, "name the station"),
    ):
        reply = workload.predict(instance)
        assert (reply.status, said in reply.json["error"]) == (status, True), reply.json


def test_stale_values_are_refused_where_there_is_a_ttl(gateway: Running, server: ModelServer) -> None:
    """Past the ttl the answer is a 503 that says `stale` and how old; within it the request is answered."""
    workload = Workload(gateway, server, "with_ttl", ttl_seconds=7200)
    now = datetime.now(UTC)
    write(workload.store, "old", STORED, now - timedelta(hours=5))
    write(workload.store, "new", STORED, now - timedelta(hours=1))
    assert workload.predict({"station": "new"}).status == 200
    reply = workload.predict({"station": "old"})
    assert reply.status == 503
    assert reply.json["error"].startswith('stale: the values of station "old" are 5 h old')


def test_stale_values_are_flagged_where_the_workload_says_so(gateway: Running, server: ModelServer) -> None:
    """With `on_stale: flag` the request is answered, and the answer says so in a header and in its parameters; a fresh one does not."""
    workload = Workload(gateway, server, "with_flag", ttl_seconds=7200, on_stale="flag")
    now = datetime.now(UTC)
    write(workload.store, "old", STORED, now - timedelta(hours=5))
    write(workload.store, "new", STORED, now - timedelta(hours=1))
    for station, stale in (("old", "true"), ("new", None)):
        reply = workload.predict({"station": station})
        assert (reply.status, reply.headers.get("x-aiprime-stale")) == (200, stale)


def test_an_answer_states_that_it_is_stale() -> None:
    """`parameters.stale` stands beside the prediction's id, whatever parameters the answer has."""
    from serving.gateway.stamp import stamped

    for body in (
        b'{"predictions":[1]}',
        b'{"predictions":[1],"parameters":{"a":"b"}}',
        b'{"parameters": {"a": {}}, "predictions": [1]}',
    ):
        told = json.loads(stamped(body, "v1", "ID", stale=True))["parameters"]
        assert (told["prediction_id"], told["stale"]) == ("ID", True)
        assert "stale" not in json.loads(stamped(body, "v1", "ID"))["parameters"]


def test_age_is_judged_by_the_request_s_own_time(gateway: Running, server: ModelServer) -> None:
    """What is asked of 1990 with values of 1990 is not stale today; asked of a later time it is, in v1 and in v2."""
    workload = Workload(gateway, server, "of_then", ttl_seconds=7200)
    then = datetime(1990, 5, 1, tzinfo=UTC)
    write(workload.store, "a", STORED, then)
    for time, status in (("1990-05-01T01:00:00Z", 200), ("1990-05-01T06:00:00Z", 503)):
        assert workload.predict({"station": "a", "holiday": True, "time": time}).status == status
        station = {"name": "station", "shape": [1], "datatype": "BYTES", "data": ["a"]}
        assert workload.infer(station, {"name": "time", "shape": [1], "datatype": "BYTES", "data": [time]}).status == status
    assert workload.predict({"station": "a"}).status == 503


def test_a_candidate_s_columns_do_not_disturb_the_champion(gateway: Running, server: ModelServer) -> None:
    """When a candidate with other columns was published, the champion still gets its own, and their age is theirs."""
    workload = Workload(gateway, server, "changing", ttl_seconds=7200)
    now = datetime.now(UTC)
    write(workload.store, "a", STORED, now - timedelta(hours=1))
    write(workload.store, "a", {"new": 1.0, "open": False}, now)
    reply = workload.predict({"station": "a"})
    assert reply.json["instances"][0] | {"time": ""} == WHOLE | {"open": False, "time": ""}
    assert 3500 < float(reply.headers["x-aiprime-feature-age-seconds"]) < 3700
    write(workload.store, "b", {"new": 1.0}, now)
    assert "no value of station" in workload.predict({"station": "b"}).json["error"]


def test_a_value_that_is_not_there_is_not_invented(gateway: Running, server: ModelServer) -> None:
    """A missing value of a column that may not be missing is a 503 that names the column."""
    workload = Workload(gateway, server, "with_gaps")
    write(workload.store, "a", STORED | {"lag ppm": float("nan")}, NOON)
    reply = workload.predict({"station": "a"})
    assert (reply.status, "'lag ppm'" in reply.json["error"]) == (503, True)


def test_before_anything_was_published_it_is_said(gateway: Running, server: ModelServer) -> None:
    """A workload whose features were never published answers 503, and is served as soon as they are."""
    workload = Workload(gateway, server, "unpublished")
    assert workload.predict({"station": "a"}).status == 503
    write(workload.store, "a", STORED, NOON)
    assert workload.predict({"station": "a"}).status == 200


def test_a_number_may_be_the_entity_and_an_input(gateway: Running, server: ModelServer) -> None:
    """Where the model takes the entity itself, it is looked up by it and sent on."""
    workload = Workload(gateway, server, "numbered", entity="count", stored=("lag ppm", "gefüllt", "open", "weather"))
    write(workload.store, 3, {name: STORED[name] for name in ("lag ppm", "gefüllt", "open", "weather")}, NOON)
    assert workload.predict({"count": 3}).json["instances"] == [WHOLE]


def test_a_series_without_an_entity_is_filled_in_from_its_newest_row(gateway: Running, server: ModelServer) -> None:
    """latest.json completes an empty instance and an empty v2 request, and is read again when it changes."""
    workload = Workload(gateway, server, "single", entity=None)
    latest = gateway.home / "features" / "single" / "latest.json"
    assert workload.predict({}).status == 503
    for value in (1.0, 2.0):
        write_json(latest, {"time": "2026-07-01T12:00:00+00:00", "values": STORED | {"lag ppm": value}})
        assert workload.predict({}).json["instances"] == [WHOLE | {"lag ppm": value}]
    sent = workload.infer({"name": "holiday", "shape": [1], "datatype": "BOOL", "data": [True]}).json["inputs"]
    assert {one["name"] for one in sent} == {*WHOLE, "holiday"}
    assert {one["name"] for one in workload.infer().json["inputs"]} == set(WHOLE)


@pytest.mark.slow
def test_a_locked_store_is_waited_for_a_little(workload: Workload) -> None:
    """While Feast commits a request waits; a store that stays locked is a 503, not a hanging client."""
    assert workload.predict({"station": "mauna-loa"}).status == 200
    writer = sqlite3.connect(workload.store / "online.db", isolation_level=None, check_same_thread=False)
    writer.execute("begin exclusive")
    release = threading.Timer(0.3, writer.execute, ["rollback"])
    release.start()
    assert workload.predict({"station": "mauna-loa"}).status == 200
    release.join()

    writer.execute("begin exclusive")
    reply = workload.predict({"station": "mauna-loa"})
    assert (reply.status, "locked" in reply.json["error"]) == (503, True)
    writer.execute("rollback")


def test_a_damaged_store_is_a_503(workload: Workload) -> None:
    """A store that cannot be read is said so at once, and is read again when it was mended."""
    file = Path(workload.store) / "online.db"
    whole = file.read_bytes()
    file.write_bytes(b"not a database" * 500)
    assert workload.predict({"station": "mauna-loa"}).status == 503
    file.write_bytes(whole)
    assert workload.predict({"station": "mauna-loa"}).status == 200
