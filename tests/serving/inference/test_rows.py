"""The short way for one row never answers otherwise than the careful way."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.inference.batch import Batch
from serving.inference.columns import InvalidRequest
from serving.inference.requests import Requests
from serving.inference.session import Session
from tests.serving import model_folders
from tests.serving.requests import DATATYPES, ROW, tensors

GOOD = (
    st.floats(-1e6, 1e6) | st.integers(-1000, 1000),
    st.none() | st.floats(-1e6, 1e6),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.integers(-1000, 1000) | st.just(4.0),
    st.booleans(),
    st.none() | st.booleans() | st.just(1),
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
    st.datetimes().map(lambda t: t.isoformat()),
    st.none() | st.datetimes().map(lambda t: f"{t.isoformat()}Z"),
)
ODD = st.sampled_from([None, True, 1, 1.5, 2**63, -(2**63), 10**30, "", "x", "2026-01-01", "2026-13-01", [], [1], {}, {"a": 1}])


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(model_folders.every_kind(tmp_path_factory.mktemp("models") / "kinds"))


def results(session: Session, batch: Batch) -> list[Any]:
    found = session.run_row(batch.row) if batch.row is not None else session.run(batch.feeds)
    return [array.tolist() for array in found]


def answered(session: Session, requests: Requests, kind: str, body: bytes) -> Any:
    """The results, or the refusal's words."""
    try:
        return results(session, requests.v1(body) if kind == "v1" else requests.v2(body))
    except InvalidRequest as refusal:
        return str(refusal)


def both(session: Session) -> tuple[Requests, Requests]:
    """With and without the short way."""
    return Requests(session.signature), Requests(session.signature, short_way=False)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    good=st.tuples(*GOOD),
    odd=st.dictionaries(st.integers(0, len(GOOD) - 1), ODD, max_size=2),
    shape=st.sampled_from([[1], [1, 1], [True], [1.0], [2], []]),
)
def test_the_short_way_is_the_careful_way(session: Session, good: tuple[Any, ...], odd: dict[int, Any], shape: list[Any]):
    """Whatever one row holds, v1 and v2 give the same result or the same refusal with and without the short way."""
    row = [odd.get(i, value) for i, value in enumerate(good)]
    v1 = json.dumps({"instances": [dict(zip(model_folders.NAMES, row, strict=True))]}).encode()
    inputs = [
        {"name": n, "shape": [1], "datatype": t, "data": [v]}
        for n, t, v in zip(model_folders.NAMES, DATATYPES, row, strict=True)
    ]
    inputs[0]["shape"] = shape
    short, careful = both(session)
    assert answered(session, short, "v1", v1) == answered(session, careful, "v1", v1)
    body = json.dumps({"inputs": inputs}).encode()
    assert answered(session, short, "v2", body) == answered(session, careful, "v2", body)


def test_the_short_way_is_taken(tmp_path: Any):
    """Plain requests of one row take it: it is where most of the speed lies."""
    requests = Requests(Session(model_folders.numbers(tmp_path / "m")).signature)
    inputs = [{"name": f"n{i}", "shape": [1], "datatype": "FP64", "data": [float(i)]} for i in range(3)]
    assert requests.v2(orjson.dumps({"inputs": inputs})).row == [0.0, 1.0, 2.0]
    assert requests.v1(orjson.dumps({"instances": [{f"n{i}": i for i in range(3)}]})).row == (0, 1, 2)


def test_every_kind_has_a_short_way(session: Session):
    """A plain row of every kind takes it."""
    requests = Requests(session.signature)
    assert requests.v1(orjson.dumps({"instances": [ROW]})).row is not None
    assert requests.v2(orjson.dumps(tensors(ROW))).row is not None


def test_a_vector_is_written_as_it_came(tmp_path: Any):
    """One image goes the short way too, and gives what a batch gives."""
    session = Session(model_folders.pictures(tmp_path / "m"))
    values = np.random.default_rng(1).normal(size=12).tolist()
    body = orjson.dumps({"inputs": [{"name": "image", "shape": [1, 4, 3], "datatype": "FP32", "data": values}]})
    short, careful = both(session)
    assert short.v2(body).row == values
    assert answered(session, short, "v2", body) == answered(session, careful, "v2", body)
