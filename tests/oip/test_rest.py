"""The protocol over REST: health, metadata and inference answer as specification/protocol/inference_rest.md says."""

from __future__ import annotations

import json
from math import prod
from typing import Any

import pytest

from tests.oip.target import Target

DATATYPES = (
    {"BOOL", "BYTES"} | {f"{kind}{bits}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)} | {"FP16", "FP32", "FP64"}
)


def without_none(document: Any) -> bool:
    """Whether no member is null: the schemas know members that are there, and members that are not."""
    if isinstance(document, dict):
        return all(value is not None and without_none(value) for value in document.values())
    return not isinstance(document, list) or all(without_none(one) for one in document)


def outputs(document: Any) -> dict[str, Any]:
    return {one["name"]: one for one in document["outputs"]}


def test_the_server_is_live(target: Target) -> None:
    """GET /v2/health/live is a 200 with `live`."""
    told = target.wire.ask("GET", "/v2/health/live")
    assert (told.status, told.json) == (200, {"live": True})


def test_the_server_is_ready(target: Target) -> None:
    """GET /v2/health/ready is a 200."""
    told = target.wire.ask("GET", "/v2/health/ready")
    assert told.status == 200
    assert told.json.get("ready", told.json.get("live")) is True


def test_the_model_is_ready(target: Target) -> None:
    """GET of the model's /ready is a 200 with its name and `ready`."""
    told = target.wire.ask("GET", f"{target.path}/ready")
    assert told.status == 200
    assert told.json["name"] == target.model
    assert told.json["ready"] is True


def test_the_server_says_who_it_is(target: Target) -> None:
    """GET /v2: name, version, extensions, and no nulls."""
    told = target.wire.ask("GET", "/v2")
    assert told.status == 200
    assert isinstance(told.json["name"], str)
    assert isinstance(told.json["version"], str)
    assert all(isinstance(one, str) for one in told.json["extensions"])


def test_the_model_says_what_it_takes_and_gives(target: Target) -> None:
    """The model's metadata: name, versions as texts, platform, tensors with a datatype of the protocol and whole sizes."""
    told = target.wire.ask("GET", target.path)
    assert told.status == 200
    assert told.json["name"] == target.model
    assert isinstance(told.json["platform"], str)
    assert all(isinstance(one, str) for one in told.json.get("versions", []))
    assert told.json["inputs"]
    assert told.json["outputs"]
    for tensor in told.json["inputs"] + told.json["outputs"]:
        assert isinstance(tensor["name"], str)
        assert tensor["datatype"] in DATATYPES
        assert all(type(size) is int and size >= -1 for size in tensor["shape"])
    assert without_none(told.json)


def test_a_version_has_urls_of_its_own(target: Target) -> None:
    """A version that the metadata names is asked under /versions/VERSION."""
    if target.version is None:
        pytest.skip("not run: the model has no versions")
    path = f"{target.path}/versions/{target.version}"
    assert target.wire.ask("GET", path).json["name"] == target.model
    assert target.wire.ask("GET", f"{path}/ready").status == 200
    assert (
        target.wire.ask("POST", f"{path}/infer", json.dumps(target.request()).encode()).json["model_version"] == target.version
    )


def test_a_valid_request_is_answered(target: Target) -> None:
    """Name, the request's id, and outputs whose data has as many values as the shape says; no member is null."""
    told = target.infer(target.request())
    assert told.status == 200, told.body[:300]
    assert told.headers["content-type"].startswith("application/json")
    assert told.json["model_name"] == target.model
    assert told.json["id"] == "mine"
    assert told.json["outputs"]
    for one in told.json["outputs"]:
        assert one["datatype"] in DATATYPES
        assert all(type(size) is int and size >= 0 for size in one["shape"])
        assert len(one["data"]) == prod(one["shape"])
    assert without_none(told.json)


def test_outputs_are_those_of_the_metadata(target: Target) -> None:
    """Each output that the metadata names comes, with its datatype and its rank."""
    given = outputs(target.infer(target.request()).json)
    stated = {one["name"]: one for one in target.metadata["outputs"]}
    assert stated
    assert {name: one["datatype"] for name, one in given.items()} == {name: one["datatype"] for name, one in stated.items()}
    assert {name: len(one["shape"]) for name, one in given.items()} == {name: len(one["shape"]) for name, one in stated.items()}


def test_an_id_is_not_needed(target: Target) -> None:
    """A request without id is answered, and an id in the answer is a text."""
    document = target.request()
    del document["id"]
    told = target.infer(document)
    assert told.status == 200, told.body[:300]
    assert isinstance(told.json.get("id", ""), str)


@pytest.mark.parametrize("given", ["", "1", "ü 東京", "x" * 1000, '"\\'])
def test_any_text_is_an_id(target: Target, given: str) -> None:
    """The id that was given comes back as it is."""
    told = target.infer(target.request() | {"id": given})
    assert told.status == 200, told.body[:300]
    if given:
        assert told.json["id"] == given


def test_rows_are_answered_together(target: Target) -> None:
    """Three rows give three rows in each output."""
    if -1 not in target.metadata["inputs"][0]["shape"]:
        pytest.skip("not run: the model takes no batch")
    told = target.infer(target.request(rows=3))
    assert told.status == 200, told.body[:300]
    assert {one["shape"][0] for one in told.json["outputs"]} == {3}


def test_nested_data_is_the_same_as_flat(target: Target) -> None:
    """Data in the shape's nesting gives the answer of the flat data."""
    flat = target.request()
    nested = target.request()
    for tensor in nested["inputs"]:
        for size in reversed(tensor["shape"][1:]):
            tensor["data"] = [tensor["data"][at : at + size] for at in range(0, len(tensor["data"]), size)]
    assert target.infer(nested).json == target.infer(flat).json


def test_only_the_outputs_that_are_asked_for_come(target: Target) -> None:
    """`outputs` chooses, and keeps the order."""
    names = [one["name"] for one in target.metadata["outputs"]][::-1]
    told = target.infer(target.request() | {"outputs": [{"name": name} for name in names]})
    assert told.status == 200, told.body[:300]
    assert [one["name"] for one in told.json["outputs"]] == names


def test_unknown_parameters_are_no_mistake(target: Target) -> None:
    """Parameters are key and value, and a server need not know them."""
    document = target.request() | {"parameters": {"no_such_parameter": 1}}
    document["inputs"][0]["parameters"] = {"no_such_parameter": "a"}
    assert target.infer(document).status == 200


def test_the_same_request_has_the_same_answer(target: Target) -> None:
    """Nothing of one request is left for the next, a refused one in between included."""
    first = target.infer(target.request()).json
    assert target.infer(b"{").status == 400
    assert target.infer(target.request()).json == first


def test_space_in_the_json_is_no_mistake(target: Target) -> None:
    """Written with indents, or with keys in another order, it is the same request."""
    document = target.request()
    turned = dict(reversed(document.items())) | {"inputs": [dict(reversed(one.items())) for one in document["inputs"]]}
    expected = target.infer(document).json
    assert target.infer(json.dumps(document, indent=4).encode()).json == expected
    assert target.infer(json.dumps(turned, separators=(" ,\n", "\t: ")).encode()).json == expected


@pytest.mark.parametrize(
    "path", ["/v2/models/no_such_model", "/v2/models/no_such_model/ready", "/v2/models/no_such_model/infer"]
)
def test_an_unknown_model_is_an_error(target: Target, path: str) -> None:
    """An HTTP error status with `{"error": text}`."""
    infers = path.endswith("infer")
    told = target.wire.ask("POST" if infers else "GET", path, json.dumps(target.request()).encode() if infers else None)
    assert 400 <= told.status < 500
    assert told.error_shaped, told.body[:200]


def test_an_unknown_version_is_an_error(target: Target) -> None:
    """So is a version that there is not."""
    told = target.wire.ask("GET", f"{target.path}/versions/no_such_version")
    assert 400 <= told.status < 500
    assert told.error_shaped, told.body[:200]


def test_the_deployer_alone_loads_and_unloads(target: Target) -> None:
    """Triton's repository extension, where it is offered, is not open to whoever asks."""
    for verb in ("load", "unload"):
        told = target.wire.ask("POST", f"/v2/repository/models/no_such_model/{verb}", b"{}")
        assert told.status in (401, 403, 404, 405), verb
        assert b"loaded" not in told.body or told.status != 404 or b"not loaded" in told.body


def test_binary_tensors_give_the_same_answer(target: Target) -> None:
    """Where the server says that it has the extension: raw inputs and raw outputs are the JSON's values."""
    import numpy as np

    if "binary_tensor_data" not in target.wire.ask("GET", "/v2").json["extensions"]:
        pytest.skip("not run: the server does not offer binary tensors")
    wires = {"FP32": "<f4", "FP64": "<f8", "INT32": "<i4", "INT64": "<i8", "BOOL": "?"}
    document = target.request()
    if any(one["datatype"] not in wires for one in document["inputs"]):
        pytest.skip("not run: a text or a half among the inputs")
    expected = outputs(target.infer(document).json)
    tail = b""
    for one in document["inputs"]:
        raw = np.array(one.pop("data"), wires[one["datatype"]]).tobytes()
        one["parameters"] = {"binary_data_size": len(raw)}
        tail += raw
    document["parameters"] = {"binary_data_output": True}
    head = json.dumps(document).encode()
    told = target.infer(head + tail, **{"Inference-Header-Content-Length": str(len(head))})
    assert told.status == 200, told.body[:300]
    length = int(told.headers["inference-header-content-length"])
    at = length
    for one in json.loads(told.body[:length])["outputs"]:
        size = one["parameters"]["binary_data_size"]
        if one["datatype"] in wires:
            assert np.frombuffer(told.body[at : at + size], wires[one["datatype"]]).tolist() == expected[one["name"]]["data"]
        at += size
    assert at == len(told.body)
