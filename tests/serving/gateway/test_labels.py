"""Labels: joined by prediction or by time, in every form that is offered; idempotent; a wrong one is named and spoils its upload."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.gateway.label_checks import Checks, Known, Wrong
from serving.records import Records
from tests.serving.gateway.conftest import ROOT, Reply, Running
from tests.serving.gateway.model_server import ModelServer, says
from tests.serving.gateway.online_rows import write
from training.signature import Input, Output, Signature

UNKNOWN = "0198c0de-0000-7000-8000-000000000000"
ANSWER = '{"predictions":[1,2,3]}'


def signature(task: Any, **fields: Any) -> Signature:
    outputs = (Output(name="prediction", datatype="FP64", tensor="y0"),)
    inputs = (Input(name="x", kind="number", tensor="x0"),)
    return Signature(workload="w", family="tabular", task=task, target="y", inputs=inputs, outputs=outputs, **fields)


FORECAST = signature("forecasting", horizons=(1, 24), step_seconds=3600, time="time", entity="station")
CLASSES = signature("classification", classes=("DOWN", "UP", "1", "true"))
NUMBER = signature("regression")


class Door:
    """One workload of a task, and its labels' door."""

    def __init__(self, gateway: Running, server: ModelServer, name: str, of: Signature) -> None:
        self.gateway, self.name = gateway, name
        folder = gateway.home / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        of.write(folder)
        gateway.point(server.url, workload=name, model=str(folder))

    def predicted(self) -> str:
        return self.gateway.predict({"x": 1}, workload=self.name).headers["x-aiprime-prediction-id"]

    def send(self, *labels: Any) -> Reply:
        return self.gateway.ask("POST", "/v1/labels", json.dumps({"workload": self.name, "labels": labels}))

    def upload(self, body: bytes, kind: str) -> Reply:
        return self.gateway.ask("POST", f"/v1/labels?workload={self.name}", body, {"Content-Type": kind})

    def kept(self, prediction_id: str) -> dict[str, Any]:
        return {one.about: one.value for one in Records.at(self.gateway.home).labels_of(prediction_id)}


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(says(ANSWER)) as one:
        yield one


@pytest.fixture(scope="module")
def number(gateway: Running, server: ModelServer) -> Door:
    return Door(gateway, server, "number", NUMBER)


@pytest.fixture(scope="module")
def classes(gateway: Running, server: ModelServer) -> Door:
    return Door(gateway, server, "classes", CLASSES)


@pytest.fixture(scope="module")
def forecast(gateway: Running, server: ModelServer) -> Door:
    return Door(gateway, server, "forecast", FORECAST)


def counts(new: int = 0, same: int = 0, corrected: int = 0) -> dict[str, int]:
    return {"new": new, "same": same, "corrected": corrected}


def test_a_single_label_joins_its_prediction(number: Door) -> None:
    """One object by ID/n is kept; sent again it changes nothing; another value corrects it; the prediction shows it."""
    one = number.predicted()
    label = {"workload": "number", "prediction_id": f"{one}/2", "value": 4.5}
    for value, expected in ((4.5, counts(new=1)), (4.5, counts(same=1)), (5, counts(corrected=1))):
        reply = number.gateway.ask("POST", "/v1/labels", json.dumps(label | {"value": value}))
        assert (reply.status, reply.json) == (200, expected)
    found = number.gateway.ask("GET", f"/v1/predictions/{one}").json
    assert found["labels"] == [{"about": f"id:{one}/2", "value": 5.0}]


def test_a_single_label_may_name_a_time(forecast: Door) -> None:
    """By entity and time: any way of writing the same moment is the same label."""
    label = {"workload": "forecast", "entity": "a", "time": "2001-01-06T00:00:00Z", "value": 370.1}
    for time, expected in (
        ("2001-01-06T00:00:00Z", counts(new=1)),
        ("2001-01-06T01:00:00+01:00", counts(same=1)),
        ("2001-01-06", counts(same=1)),
        (978739200, counts(same=1)),
    ):
        reply = forecast.gateway.ask("POST", "/v1/labels", json.dumps(label | {"time": time}))
        assert (reply.status, reply.json) == (200, expected), time


def test_an_entity_that_is_not_known_is_kept_and_told(gateway: Running, server: ModelServer) -> None:
    """Truth may come before the first prediction, so it is kept; a mistyped name is seen in the answer and in /metrics."""
    door = Door(gateway, server, "known", FORECAST)
    row = {"time": "2001-01-06", "value": 370.1}
    assert door.send(row | {"entity": "mauna_loa"}).json == counts(new=1)  # nothing was published: who is known cannot be told
    write(gateway.home / "feast" / "known", "mauna-loa", {"x": 1.0}, datetime(2001, 1, 1, tzinfo=UTC))
    assert door.send(row | {"entity": "mauna-loa"}).json == counts(new=1)
    late = {"time": "2001-01-13", "value": 370.2}
    reply = door.send(row | {"entity": "mauna_loa"}, late | {"entity": "mauna_loa"}, late | {"entity": "mauna-loa"})
    told = {"unknown_entities": {"labels": 2, "entities": ["mauna_loa"]}}
    assert (reply.status, reply.json) == (200, counts(new=2, same=1) | told)
    assert 'labels_of_unknown_entities_total{workload="known"} 2.0' in gateway.ask("GET", "/metrics").body.decode()
    assert {one["entity"] for one in Records.at(gateway.home).truths("known").to_pylist()} == {"mauna-loa", "mauna_loa"}


def test_a_batch_is_kept_whole_or_not_at_all(number: Door) -> None:
    """A batch of good labels is kept; with one bad among them nothing is, and the bad ones are named with their place and next step."""
    one = number.predicted()
    rows = [{"prediction_id": f"{one}/{n}", "value": n} for n in range(3)]
    reply = number.send(*rows, {"prediction_id": f"{one}/3", "value": 1}, {"prediction_id": f"{one}/0", "value": "x"}, 5)
    assert reply.status == 400
    assert [(wrong["index"], bool(wrong["next_step"])) for wrong in reply.json["labels"]] == [(3, True), (4, True), (5, True)]
    assert "no row 3" in reply.json["labels"][0]["what"]
    assert "nothing was kept" in reply.json["error"]
    assert number.kept(one) == {}
    assert number.send(*rows).json == counts(new=3)
    assert number.send(*rows[:2], rows[2] | {"value": 7}).json == counts(same=2, corrected=1)
    assert number.kept(one) == {f"id:{one}/0": 0.0, f"id:{one}/1": 1.0, f"id:{one}/2": 7.0}


def test_an_unknown_prediction_is_a_404_that_names_it(number: Door, classes: Door) -> None:
    """An id that was never given is named; one of another workload is told whose it is."""
    reply = number.send({"prediction_id": number.predicted(), "value": 1}, {"prediction_id": UNKNOWN, "value": 1})
    assert (reply.status, UNKNOWN in reply.json["error"]) == (404, True)
    other = classes.predicted()
    reply = number.send({"prediction_id": f"{other}/0", "value": 1})
    assert (reply.status, "a prediction of classes" in reply.json["error"]) == (400, True)


def test_what_the_sample_left_out_is_no_mistake(gateway: Running, server: ModelServer) -> None:
    """Where only a share is kept, labels of the rest are counted and dropped, so that a client need not know."""
    door = Door(gateway, server, "sampled", NUMBER)
    gateway.point(server.url, workload="sampled", model=str(gateway.home / "models" / "sampled"), sample=0.0)
    reply = door.send({"prediction_id": f"{door.predicted()}/0", "value": 1})
    assert (reply.status, reply.json) == (200, counts() | {"left_out": 1})


def test_csv_and_parquet_are_taken(number: Door, forecast: Door) -> None:
    """The same labels as CSV and as Parquet are the same labels."""
    one = number.predicted()
    csv = f"prediction_id,value\r\n{one}/0,1.5\r\n{one}/1,2\r\n".encode()
    assert number.upload(csv, "text/csv").json == counts(new=2)
    table = pa.table({"prediction_id": [f"{one}/0", f"{one}/1"], "value": [1.5, 2.0]})
    assert number.upload(parquet(table), "application/vnd.apache.parquet").json == counts(same=2)
    assert number.kept(one) == {f"id:{one}/0": 1.5, f"id:{one}/1": 2.0}

    csv = '\ufeffentity,time,value\n"Mauna, Loa ☁",2002-01-06T00:00:00Z,370.5\nb,2002-01-06T01:00:00Z,371\n'.encode()
    assert forecast.upload(csv, "text/csv; charset=utf-8").json == counts(new=2)
    times = pa.array([1010275200, 1010278800], pa.int64()).cast(pa.timestamp("s", tz="UTC"))
    table = pa.table({"entity": ["Mauna, Loa ☁", "b"], "time": times, "value": [370.5, 371.5]})
    assert forecast.upload(parquet(table), "application/vnd.apache.parquet").json == counts(same=1, corrected=1)


def test_a_long_upload_is_kept_whole(number: Door) -> None:
    """More labels than one commit takes are all kept, and predictions are answered meanwhile; a bad one at the end spoils all."""
    times = [f"{1900 + n // 12}-{n % 12 + 1:02d}-01" for n in range(1300)]
    csv = "time,value\n" + "".join(f"{time},{n}\n" for n, time in enumerate(times))
    refused = number.upload((csv + "2020-01-01," + "\n").encode(), "text/csv")
    assert (refused.status, refused.json["labels"][0]["index"]) == (400, 1300)
    assert number.upload(csv.encode(), "text/csv").json == counts(new=1300)
    assert number.upload(csv.encode(), "text/csv").json == counts(same=1300)


def test_the_watermark_can_be_asked_for(gateway: Running, number: Door) -> None:
    """`GET /v1/models/NAME/watermark` says how far truth is known; an unknown workload is a 404."""
    found = gateway.ask("GET", "/v1/models/number/watermark")
    assert (found.status, found.json.keys()) == (200, {"workload", "watermark", "labelled", "due"})
    assert gateway.ask("GET", "/v1/models/none/watermark").status == 404


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"prediction_id,value\n1,2,3\n", "text/csv", "line 2"),
        (b"\xff\xfe", "text/csv", "UTF-8"),
        (b"PAR1 no", "application/vnd.apache.parquet", "not Parquet"),
        (b"{", "application/json", "not JSON"),
        (b'{"workload": "a", "workload": "b", "labels": []}', "application/json", "twice"),
        (b"[]", "application/json", "no workload"),
        (b'{"workload": "number", "labels": 5}', "application/json", "not a list"),
    ],
)
def test_bodies_that_are_not_what_they_say(number: Door, body: bytes, kind: str, said: str) -> None:
    """A body that cannot be read is a 400 that says why; an upload without a workload, and an unknown one, are told so."""
    path = "/v1/labels" if kind == "application/json" else "/v1/labels?workload=number"
    reply = number.gateway.ask("POST", path, body, {"Content-Type": kind})
    assert (reply.status, said in reply.json["error"]) == (400, True), reply.json


def test_a_door_of_no_workload(number: Door) -> None:
    """An unknown workload is a 404, an upload that names none a 400, another method a 405."""
    assert number.gateway.ask("POST", "/v1/labels", '{"workload": "none", "value": 1}').status == 404
    assert number.gateway.ask("POST", "/v1/labels", b"a\n1\n", {"Content-Type": "text/csv"}).status == 400
    assert number.gateway.ask("GET", "/v1/labels").status == 405


ID = "0198c0de-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("of", "row", "about", "value"),
    [
        (NUMBER, {"prediction_id": f"{ID}/2", "value": "2.5"}, f"id:{ID}/2", 2.5),
        (NUMBER, {"prediction_id": ID.upper() + "/0", "value": 1}, f"id:{ID}/0", 1.0),
        (FORECAST, {"prediction_id": f"{ID}/0", "horizon": "24", "value": 1}, f"id:{ID}/0/h24", 1.0),
        (FORECAST, {"entity": 5, "time": 0, "value": 1}, "at:1970-01-01T00:00:00Z|5", 1.0),
        (CLASSES, {"prediction_id": f"{ID}/0", "value": "UP"}, f"id:{ID}/0", "UP"),
        (CLASSES, {"prediction_id": f"{ID}/0", "value": 1}, f"id:{ID}/0", "1"),
        (CLASSES, {"prediction_id": f"{ID}/0", "value": 1.0}, f"id:{ID}/0", "1"),
        (CLASSES, {"prediction_id": f"{ID}/0", "value": True}, f"id:{ID}/0", "true"),
        (None, {"prediction_id": f"{ID}/0", "value": "any"}, f"id:{ID}/0", "any"),
    ],
)
def test_a_good_label_is_read(of: Signature | None, row: dict[str, Any], about: str, value: Any) -> None:
    """A number stays one, a class is its name however it is written, a forecast's label names its horizon."""
    checks = Checks("w", of)
    label = checks.label(checks.stated(row), {ID: Known(workload="w", rows=3)})
    assert (label.about, label.value) == (about, value)


@pytest.mark.parametrize(
    ("of", "row", "said"),
    [
        (NUMBER, {"prediction_id": f"{ID}/0"}, "no value"),
        (NUMBER, {"prediction_id": f"{ID}/0", "value": True}, "not a number"),
        (NUMBER, {"prediction_id": f"{ID}/0", "value": "nan"}, "not a number"),
        (NUMBER, {"prediction_id": f"{ID}/0", "value": 10**400}, "not a number"),
        (NUMBER, {"prediction_id": ID, "value": 1}, "has 3 rows"),
        (NUMBER, {"prediction_id": "5", "value": 1}, "no prediction id"),
        (NUMBER, {"prediction_id": f"{ID}/-1", "value": 1}, "no prediction id"),
        (NUMBER, {"prediction_id": f"{ID}/²", "value": 1}, "no prediction id"),
        (NUMBER, {"prediction_id": 7, "value": 1}, "no prediction id"),
        (NUMBER, {"value": 1}, "nothing"),
        (NUMBER, {"prediction_id": f"{ID}/0", "time": 5, "value": 1}, "two things"),
        (NUMBER, {"prediction_id": f"{ID}/0", "entity": 5, "value": 1}, "two things"),
        (NUMBER, {"prediction_id": f"{ID}/0", "value": 1, "weight": 2}, "'weight'"),
        (NUMBER, {"prediction_id": f"{ID}/0", "value": 1, "horizon": 2}, "horizon 2"),
        (NUMBER, {"prediction_id": f"{ID}/0", "value": 1, "workload": "v"}, "about 'v'"),
        (NUMBER, [], "not an object"),
        (FORECAST, {"prediction_id": f"{ID}/0", "value": 1}, "no horizon"),
        (FORECAST, {"prediction_id": f"{ID}/0", "horizon": 2, "value": 1}, "horizon 2"),
        (FORECAST, {"entity": "a", "time": "yesterday", "value": 1}, "no time"),
        (FORECAST, {"entity": "a", "time": True, "value": 1}, "no time"),
        (FORECAST, {"entity": "a", "time": "²", "value": 1}, "no time"),
        (FORECAST, {"entity": ["a"], "time": 5, "value": 1}, "no name"),
        (FORECAST, {"entity": "a", "time": 5, "horizon": 1, "value": 1}, "horizon without"),
        (CLASSES, {"prediction_id": f"{ID}/0", "value": "up"}, "none of the classes"),
    ],
)
def test_a_bad_label_says_what_is_wrong(of: Signature, row: Any, said: str) -> None:
    """Every mistake is named, with a next step."""
    checks = Checks("w", of)
    with pytest.raises(Wrong) as wrong:
        checks.label(checks.stated(row), {ID: Known(workload="w", rows=3)})
    assert said in wrong.value.what
    assert wrong.value.next_step


@pytest.mark.parametrize("path", ["/v1/labels", "/v1/models/w:predict", "/-/reload"])
def test_a_page_of_another_site_cannot_post(gateway: Running, path: str) -> None:
    """What a browser sends from elsewhere is refused before it is read: labels are learnt from."""
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert gateway.ask("POST", path, b"{}", headers={"Origin": origin}).status == 403
    own = {"Origin": f"http://127.0.0.1:{gateway.port}", "Host": f"127.0.0.1:{gateway.port}"}
    assert gateway.ask("POST", path, b"{}", headers=own).status != 403


def test_the_guide_s_lines_work(gateway: Running, tmp_path: Path) -> None:
    """Every line of docs/guide/labels.md does what the guide says, against a gateway as it is."""
    text = (ROOT / "docs" / "guide" / "labels.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    script = "\n".join(line for line in lines if not line.startswith("GATEWAY="))
    table = pa.table({"time": ["2001-01-27", "2001-02-03"], "value": [370.8, 371.0]})
    (tmp_path / "labels.parquet").write_bytes(parquet(table))
    with ModelServer(says('{"predictions":[{"forecast":[]}]}')) as server:
        Door(gateway, server, "co2", signature("forecasting", horizons=(4, 52), step_seconds=604800, time="time"))
        setting = {"GATEWAY": f"http://127.0.0.1:{gateway.port}", "PATH": os.environ["PATH"]}
        found = subprocess.run(
            ["sh", "-ec", script.replace("\ncurl", "\necho; curl")],
            cwd=tmp_path,
            env=setting,
            capture_output=True,
            text=True,
            check=True,
        )
    looked_up, *labelled = [json.loads(line) for line in found.stdout.splitlines() if line]
    assert looked_up["answers"][0]["request"] == {"instances": [{"station": "mauna-loa"}]}
    assert labelled == [counts(new=1), counts(new=1), counts(new=2), counts(new=2), counts(same=2)]


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
