"""The page of one answer, and KServe's `:explain`, at the gateway's door."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving.explainer import WAITING
from serving.gateway.pages.waterfall import picture, said, waterfall
from serving.gateway.pages.why import page
from tests.serving.gateway.conftest import Running, started
from tests.serving.gateway.model_server import Asked, ModelServer, response, says
from tests.serving.gateway.test_pages import Tags
from tests.serving.waiting import exists, until
from tests.serving.why.home import EVIL, WORKLOAD, Home

pytestmark = pytest.mark.xdist_group("why")  # one gateway
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("why")).sign()


@pytest.fixture(scope="module")
def gateway(home: Home) -> Iterator[Running]:
    running = started(home.home)
    yield running
    running.end()


def weight(label: str, shap: float, lime: float) -> dict[str, object]:
    return {"name": "n", "label": label, "value": EVIL, "usual": "1", "shap": shap, "lime": lime}


def explanation(label: str | None = None) -> dict[str, Any]:
    """Of 12 inputs, and of a picture."""
    inputs = [weight(f"input {i} {EVIL}", 12.0 - i if i % 2 else i - 12.0, 1.0) for i in range(12)]
    grid = [[0.0, 1.0], [0.5, -0.5]]
    answer = {"name": f"y {EVIL}", "horizon": None, "label": label, "base": 1.0, "answer": 7.0, "left": 0.0, "inputs": inputs}
    answer |= {"pictures": [{"name": "p", "pixels": grid, "shap": grid, "lime": grid}]}
    answer |= {"agreement": {"rank": 0.5, "top": 5, "shared": 3, "said": "Two methods mostly agree."}}
    return {"answers": [answer], "usual_rows": 100, "model_rows": 10, "method": "shap", "second": "lime", "seconds": 1.0}


def test_the_page_shows_every_step(gateway: Running, home: Home) -> None:
    """HTML for a browser: all steps, a link that explains, the exports; nothing runs, nothing is loaded from elsewhere."""
    reply = gateway.ask("GET", f"/why/{home.answered((1.0, 2.0, 3.0))}", headers=HTML)
    text = reply.body.decode()
    assert reply.status == 200
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    for title in (
        "What was asked",
        "Why this version answered",
        "Who vouches for its files",
        "With which code",
        "Why it was let in",
    ):
        assert title in text
    assert "explain=1" in text
    assert "as=prov-json" in text
    tags = Tags(text)
    assert not {"script", "iframe", "object", "embed", "form", "img"} & set(tags.names)
    assert EVIL not in text
    assert "style=" not in text


def test_a_client_gets_json(gateway: Running, home: Home) -> None:
    """The same facts, without the folders of this machine."""
    reply = gateway.ask("GET", f"/why/{home.answered((1.0, 2.0, 3.0))}")
    assert reply.json["workload"] == WORKLOAD
    assert reply.json["explanation"] is None
    assert str(home.home) not in reply.body.decode()


def test_the_prediction_and_the_model_lead_there(gateway: Running, home: Home) -> None:
    """Wherever an id is shown, a link leads to its page."""
    prediction_id = home.answered((1.0, 2.0, 3.0))
    assert gateway.ask("GET", f"/v1/predictions/{prediction_id}").json["why"] == f"/why/{prediction_id}"
    assert f'href="/why/{prediction_id}"' in gateway.ask("GET", f"/models/{WORKLOAD}", headers=HTML).body.decode()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/why/0190a000-0000-7000-8000-000000000000", 404),
        ("/why/abc", 404),
        ("/why/", 404),
        ("/why/..%2f..%2fetc%2fpasswd", 404),
        ("/why/ID/99", 404),
        ("/why/ID/99999999999", 404),
        ("/why/ID?role=king", 400),
        ("/why/ID?role=shadow", 404),
        ("/why/ID?as=pdf", 400),
    ],
)
def test_what_is_not_there_is_refused(gateway: Running, home: Home, path: str, status: int) -> None:
    """Unknown ids, rows, roles and kinds: an error in words, never a trace and never a guess."""
    reply = gateway.ask("GET", path.replace("ID", home.answered((1.0, 2.0, 3.0))), headers=HTML)
    assert reply.status == status
    assert "error" in reply.json


def test_only_reading_is_offered(gateway: Running, home: Home) -> None:
    """The page cannot be posted to, nor an explanation be got by GET."""
    assert gateway.ask("POST", f"/why/{home.answered((1.0, 2.0, 3.0))}", "{}").headers["allow"] == "GET"
    assert gateway.ask("GET", f"/v1/models/{WORKLOAD}:explain").headers["allow"] == "POST"


def test_explaining_is_refused_where_there_is_no_such_model(gateway: Running) -> None:
    """As predictions are."""
    assert gateway.ask("POST", "/v1/models/nobody:explain", '{"instances": []}').status == 404


def test_more_rows_than_are_explained_at_once_are_refused_before_they_are_predicted(gateway: Running) -> None:
    """413, and the model was not asked."""
    with ModelServer(says('{"predictions": []}')) as server:
        gateway.point(server.url, workload=WORKLOAD)
        reply = gateway.ask("POST", f"/v1/models/{WORKLOAD}:explain", json.dumps({"instances": [{}] * 9}))
        assert (reply.status, server.asked) == (413, [])


def test_what_the_model_refuses_is_passed_on(gateway: Running) -> None:
    """A request that is wrong is answered as `:predict` answers it."""
    with ModelServer(says('{"error": "no"}', status=400)) as server:
        gateway.point(server.url, workload=WORKLOAD)
        reply = gateway.ask("POST", f"/v1/models/{WORKLOAD}:explain", '{"instances": [{}]}')
        assert (reply.status, reply.json) == (400, {"error": "no"})


def test_who_finds_no_place_is_refused_before_anything_is_predicted(gateway: Running, home: Home) -> None:
    """Each `:explain` has its place for all of its rows before its prediction is made: one too many is a 429, and nothing of it is kept."""
    released = threading.Event()

    async def held(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(released.wait, 20)
        writer.write(response(b'{"error": "no"}', status=400))

    known = home.answered((1.0, 2.0, 3.0))
    with ModelServer(held) as server, ThreadPoolExecutor(WAITING) as clients:
        gateway.point(server.url, workload=WORKLOAD)
        verb = f"/v1/models/{WORKLOAD}:explain"
        try:
            first = [clients.submit(gateway.ask, "POST", verb, '{"instances": [{}, {}]}') for _ in range(WAITING)]
            until(lambda: len(server.asked) == WAITING)
            refused = gateway.ask("POST", verb, '{"instances": [{}]}')
            assert (refused.status, refused.headers["retry-after"]) == (429, "2")
            assert "x-aiprime-prediction-id" not in refused.headers
            walked = gateway.ask("GET", f"/why/{known}?explain=1")
            assert (walked.status, walked.headers["retry-after"], walked.json["prediction_id"]) == (429, "2", known)
            assert walked.json["error"] == walked.json["unexplained"] == "other answers are being explained; ask again"
        finally:
            released.set()
        assert {one.result().status for one in first} == {400}
        assert len(server.asked) == WAITING
    assert gateway.ask("POST", verb, '{"instances": [{}]}').status == 503  # the places are free again


def test_a_prediction_that_cannot_be_explained_is_given_all_the_same(gateway: Running, home: Home) -> None:
    """The refusal stands beside the predictions and the id by which they are kept."""
    with ModelServer(says('{"predictions": [{"prediction": 6.0}]}')) as server:
        gateway.point(server.url, workload=WORKLOAD, version="9")
        reply = gateway.ask("POST", f"/v1/models/{WORKLOAD}:explain", '{"instances": [{"n0": 1.0}]}')
    assert reply.status == 409
    assert "cannot be explained" in reply.json["error"]
    assert reply.json["predictions"] == [{"prediction": 6.0}]
    prediction_id = reply.json["parameters"]["prediction_id"]
    assert reply.headers["x-aiprime-prediction-id"] == prediction_id
    assert len(home.records.find(prediction_id)) == 1


@pytest.mark.slow
def test_the_explain_verb_answers_as_kserve_has_it(gateway: Running, home: Home) -> None:
    """Predictions and explanations, row by row; the sum of the weights is the answer less the usual one, and the answer is kept."""
    body = '{"predictions": [{"prediction": 6.0}, {"prediction": 15.0}], "model_version": "1"}'
    rows = [{"n0": 1.0, "n1": 2.0, "n2": 3.0}, {"n0": 4.0, "n1": 5.0, "n2": 6.0}]
    with ModelServer(says(body)) as server:
        gateway.point(server.url, workload=WORKLOAD, version="1", model=str(home.folder))
        connection = gateway.ask("POST", f"/v1/models/{WORKLOAD}:explain", json.dumps({"instances": rows}), timeout_s=120)
    assert connection.status == 200, connection.body
    answer = connection.json
    assert [one["prediction"] for one in answer["predictions"]] == [6.0, 15.0]
    for row, explained in zip(rows, answer["explanations"], strict=True):
        (one,) = explained["answers"]
        assert one["answer"] == sum(row.values())
        assert one["base"] == 4.5  # the mean of the usual rows
        assert {i["name"]: round(i["shap"], 9) for i in one["inputs"]} == {name: value - 1.5 for name, value in row.items()}
    kept = home.records.find(answer["parameters"]["prediction_id"])
    assert json.loads(kept[0].request) == {"instances": rows}

    # The page explains a kept answer by the same process, and exports it.
    page_ = gateway.ask(
        "GET", f"/why/{answer['parameters']['prediction_id']}/1?explain=1", headers=HTML, timeout_s=120
    ).body.decode()
    assert "What moved the y" in page_
    assert "row 1 of 2" in page_
    for kind in ("prov-json", "prov-n", "openlineage"):
        assert gateway.ask("GET", f"/why/{answer['parameters']['prediction_id']}?as={kind}", timeout_s=120).status == 200


@pytest.mark.slow
def test_the_explaining_process_ends_with_the_gateway(tmp_path_factory: pytest.TempPathFactory) -> None:
    """However the gateway ends, nothing of it is left."""
    home = Home(tmp_path_factory.mktemp("killed")).sign()
    running = started(home.home)
    try:
        reply = running.ask("GET", f"/why/{home.answered((1.0, 2.0, 3.0))}?explain=1", timeout_s=120)
        assert reply.json["explanation"]["answers"][0]["answer"] == 6.0
        (child,) = _children(running.process.pid)
    finally:
        running.process.kill()
        running.process.wait(10)
    until(lambda: not exists(child), 20)


def test_hostile_names_are_text_and_figures_are_rounded() -> None:
    """Labels, values and reasons may hold anything; every bar has a word beside its colour."""
    drawn = waterfall(explanation()["answers"][0]) + picture(explanation()["answers"][0]["pictures"][0])
    assert EVIL not in drawn
    assert "<script" not in drawn
    assert drawn.count("raises it by") + drawn.count("lowers it by") == 11  # ten inputs, and the others together
    assert "the other 2 inputs together" in drawn
    assert said(0.123456, False, signed=True) == "+0.1235"
    assert said(-0.25, True, signed=True) == "−25.0 points"
    assert said(0.9997, True) == "99.97 %"


def _children(pid: int) -> list[int]:
    found = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in found if b"training.explain" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_the_page_of_a_walk_escapes_all_of_it(home: Home) -> None:
    """With an explanation of hostile names the page still holds no markup but ours."""
    text = page(home.walk(home.answered((1.0, 2.0, 3.0))), explanation(), "")
    assert EVIL not in text
    assert "<script" not in text
    assert "Can this be relied on?" in text
