"""The answers of the model server to valid requests: equal to stock KServe's, and what the signature promises."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.serving.requests import IMAGE, OTHER, ROW, binary, grpc_outputs, grpc_request, outputs, tensors
from tests.serving.served import Served, messages


def without_nulls(value: Any) -> Any:
    """Stock KServe writes `parameters: null` where the schema knows only an object or nothing."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


VALID_V2: dict[str, tuple[str, dict[str, Any]]] = {
    "one row": ("kinds", tensors(ROW)),
    "one row, shape [1, 1]": ("kinds", tensors(ROW) | {"inputs": [t | {"shape": [1, 1]} for t in tensors(ROW)["inputs"]]}),
    "rows": ("kinds", tensors(ROW, OTHER, ROW)),
    "rows, nested": (
        "kinds",
        tensors(ROW, OTHER)
        | {"inputs": [t | {"shape": [2, 1], "data": [[v] for v in t["data"]]} for t in tensors(ROW, OTHER)["inputs"]]},
    ),
    "inputs in another order": ("kinds", tensors(OTHER) | {"inputs": tensors(OTHER)["inputs"][::-1]}),
    "one output": ("kinds", tensors(ROW, outputs=[{"name": "quantiles"}])),
    "outputs in another order": ("kinds", tensors(OTHER, ROW, outputs=[{"name": "quantiles"}, {"name": "prediction"}])),
    "parameters": ("kinds", tensors(OTHER, parameters={"binary_data_output": False, "x": 1})),
    "image, nested": (
        "pictures",
        {"id": "a", "inputs": [{"name": "image", "shape": [1, 4, 3], "datatype": "FP32", "data": IMAGE}]},
    ),
    "image, flat": (
        "pictures",
        {"id": "a", "inputs": [{"name": "image", "shape": [1, 4, 3], "datatype": "FP32", "data": np.ravel(IMAGE).tolist()}]},
    ),
    "images": (
        "pictures",
        {
            "id": "a",
            "inputs": [{"name": "image", "shape": [2, 4, 3], "datatype": "FP32", "data": np.ravel(IMAGE * 2).tolist()}],
        },
    ),
    "label only": (
        "pictures",
        {
            "id": "a",
            "inputs": [{"name": "image", "shape": [1, 4, 3], "datatype": "FP32", "data": IMAGE}],
            "outputs": [{"name": "label"}],
        },
    ),
}


@pytest.mark.parametrize("case", VALID_V2)
def test_v2_json_answers_as_stock_kserve_does(case: str, servers: dict[str, Served]):
    """The short route's JSON answer is stock KServe's, but for the nulls that the protocol's schema forbids."""
    model, document = VALID_V2[case]
    stock, ours = servers[f"{model}, stock"].infer(document), servers[model].infer(document)
    assert stock.status == 200, stock.content
    assert without_nulls(stock.json) == ours.json


@pytest.mark.parametrize("case", VALID_V2)
def test_v2_binary_answers_as_stock_kserve_does(case: str, servers: dict[str, Served]):
    """Binary inputs, and binary outputs where asked for, give stock KServe's tensors."""
    model, document = VALID_V2[case]
    for asked in (document, document | {"parameters": {"binary_data_output": True}}):
        head, tail = binary(asked)
        stock, ours = servers[f"{model}, stock"].infer(head, tail=tail), servers[model].infer(head, tail=tail)
        assert outputs(stock) == outputs(ours)
        assert outputs(ours) == outputs(servers[model].infer(document))
        assert stock.headers.get("inference-header-content-length") is None or ours.headers["inference-header-content-length"]


def test_an_output_asks_for_binary_on_its_own(servers: dict[str, Served]):
    """`binary_data` of one output makes that one binary, as stock KServe does it."""
    document = tensors(ROW, OTHER, outputs=[{"name": "prediction", "parameters": {"binary_data": True}}, {"name": "quantiles"}])
    stock, ours = servers["kinds, stock"].infer(document), servers["kinds"].infer(document)
    assert outputs(stock) == outputs(ours)
    length = int(ours.headers["inference-header-content-length"])
    assert [o.get("parameters") for o in json.loads(ours.content[:length])["outputs"]] == [{"binary_data_size": 32}, None]


@pytest.mark.parametrize("instances", [[ROW], [OTHER, ROW, OTHER]], ids=["one", "three"])
def test_v1_answers_as_stock_kserve_does(instances: list[Any], servers: dict[str, Served]):
    """The v1 answer is stock KServe's, byte for byte as JSON."""
    stock, ours = servers["kinds, stock"].predict({"instances": instances}), servers["kinds"].predict({"instances": instances})
    assert stock.status == 200, stock.content
    assert stock.json == ours.json


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("case", VALID_V2)
def test_grpc_answers_as_stock_kserve_and_rest_do(case: str, raw: bool, servers: dict[str, Served]):
    """gRPC's answer is stock KServe's servicer's, and holds the tensors that REST gives for the outputs asked for."""
    model, document = VALID_V2[case]
    request = grpc_request(document, raw)
    ours, stock = servers[model].calls().ModelInfer(request), servers[f"{model}, stock"].calls().ModelInfer(request)
    assert ours == stock
    assert ours.id == document["id"]
    assert grpc_outputs(ours) == outputs(servers[model].infer(document))


def test_values_reach_the_graph_as_the_signature_says(kinds: Served):
    """Every kind, missing or not, counts in the prediction as its value in the graph: the closed form of `every_kind`."""
    days = 20484.5  # 2026-01-31T12:00Z
    expected = 1.5 - 3 + 3 + 2 + 1 - 3 + 2 + 3 + days - 3
    found = outputs(kinds.infer(tensors(ROW)))
    assert found["prediction"] == ([1, 2], [expected, 2 * expected])
    assert found["quantiles"] == ([1, 2, 2], [expected - 0.5, expected + 0.5, 2 * expected - 0.5, 2 * expected + 0.5])


def test_v1_says_when_and_how_sure(kinds: Served):
    """A forecast names each horizon, its time in UTC, and its quantiles; a time without a timezone is UTC."""
    row = kinds.predict({"instances": [ROW | {"at": "2026-01-31 12:00"}]}).json["predictions"][0]["forecast"]
    assert [(f["horizon"], f["time"]) for f in row] == [(4, "2026-02-28T12:00:00Z"), (52, "2027-01-30T12:00:00Z")]
    assert row[0]["quantiles"] == {"0.05": row[0]["prediction"] - 0.5, "0.95": row[0]["prediction"] + 0.5}


def test_classification_names_the_label(pictures: Served):
    """v1 gives the label and a probability per class; v2 adds `label` as BYTES."""
    answer = pictures.predict({"instances": [{"image": IMAGE[0]}]}).json["predictions"][0]
    assert answer["label"] == "right"
    assert list(answer["probabilities"]) == ["left", "mitte ü", "right"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert outputs(pictures.infer(VALID_V2["images"][1]))["label"] == ([2], ["right", "right"])


def test_id_and_version_come_back(kinds: Served):
    """A request's id is echoed, one without gets its own; the version stands in the answer."""
    first, second = (kinds.infer({"inputs": tensors(ROW)["inputs"]}).json for _ in range(2))
    assert len({first["id"], second["id"], "mine"}) == 3
    assert kinds.infer(tensors(ROW)).json["id"] == "mine"
    assert first["model_version"] == "7"
    assert first["parameters"] == {"model_version": "7"}


def test_the_versions_path_is_the_same_model(kinds: Served):
    """/versions/7 answers for inference, metadata and readiness; another version is a 404 that names it."""
    path = "/v2/models/hand/versions/7"
    assert kinds.infer(tensors(ROW), path=f"{path}/infer").json == kinds.infer(tensors(ROW)).json
    assert kinds.get(path).json == kinds.get("/v2/models/hand").json
    assert kinds.get(f"{path}/ready").json == {"name": "hand", "ready": True}
    for wrong in (
        kinds.infer(tensors(ROW), path="/v2/models/hand/versions/8/infer"),
        kinds.get("/v2/models/hand/versions/8"),
        kinds.get("/v2/models/hand/versions/8/ready"),
    ):
        assert wrong.status == 404
        assert "version '7'" in wrong.json["error"]


def test_metadata_states_the_signature(kinds: Served, pictures: Served):
    """v2 metadata has a list of versions, every input with its nullable mark, and the horizons or classes."""
    found = kinds.get("/v2/models/hand").json
    assert found["versions"] == ["7"]
    assert [(i["name"], i["datatype"], i["shape"], i["parameters"]["nullable"]) for i in found["inputs"][:2]] == [
        ("Größe", "FP64", [-1], False),
        ("wind", "FP64", [-1], True),
    ]
    assert found["outputs"] == [
        {"name": "prediction", "datatype": "FP64", "shape": [-1, 2]},
        {"name": "quantiles", "datatype": "FP64", "shape": [-1, 2, 2]},
    ]
    assert found["parameters"]["horizons"] == [4, 52]
    pictured = pictures.get("/v2/models/hand").json
    assert pictured["versions"] == []
    assert pictured["inputs"][0]["shape"] == [-1, 4, 3]
    assert pictured["parameters"]["classes"] == ["left", "mitte ü", "right"]
    assert pictured["outputs"][-1] == {"name": "label", "datatype": "BYTES", "shape": [-1]}
    told = kinds.calls().ModelMetadata(messages().ModelMetadataRequest(name="hand"))
    assert list(told.versions) == ["7"]
    assert [(i.name, i.datatype, list(i.shape)) for i in told.inputs] == [
        (i["name"], i["datatype"], i["shape"]) for i in found["inputs"]
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/hand/ready", {"name": "hand", "ready": True}),
        ("/v2/models", {"models": ["hand"]}),
        ("/v1/models", {"models": ["hand"]}),
        ("/v1/models/hand", {"name": "hand", "ready": True}),
        ("/", {"status": "alive"}),
    ],
)
def test_health_is_told(path: str, expected: Any, kinds: Served):
    """Liveness, readiness and the list of models answer in v1 and v2."""
    assert kinds.get(path).json == expected


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/models/hand/unload"),
        ("POST", "/v2/repository/models/hand/load"),
        ("POST", "/v1/models/hand:explain"),
        ("POST", "/v1/models/other:predict"),
        ("POST", "/v2/models/other/infer"),
        ("POST", "/v2/models/hand/infer/"),
        ("POST", "/v2/models/..%2f..%2fetc/infer"),
        ("POST", "/v2/models/" + "x" * 9000 + "/infer"),
        ("POST", "/"),
        ("GET", "/v2/models/other"),
        ("GET", "/v2/models/other/ready"),
        ("GET", "/v1/models/other"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/nothing"),
        ("PUT", "/v2/models/hand/infer"),
        ("DELETE", "/v2/models/hand"),
        ("GET", "/v2/models/hand/infer"),
    ],
)
def test_other_doors_are_closed(method: str, path: str, kinds: Served):
    """What is not offered is a 404 or 405 with an error, and the model goes on serving."""
    answer = kinds.request(method, path, b"{}" if method != "GET" else None)
    assert answer.status in (404, 405)
    assert answer.json["error"]
    assert kinds.get("/v2/models/hand/ready").status == 200


def test_metrics_move_with_each_request(kinds: Served):
    """KServe's three histograms count the requests of every protocol."""
    before = counts(kinds)
    kinds.infer(tensors(ROW))
    kinds.infer(*binary(tensors(ROW))[:1], tail=binary(tensors(ROW))[1])
    kinds.predict({"instances": [ROW]})
    kinds.calls().ModelInfer(grpc_request(tensors(ROW), raw=True))
    after = counts(kinds)
    assert {stage: after[stage] - before[stage] for stage in after} == {"preprocess": 4, "predict": 4, "postprocess": 4}


def counts(served: Served) -> dict[str, float]:
    lines = served.get("/metrics").content.decode().splitlines()
    return {
        stage: float(line.rsplit(" ", 1)[1])
        for stage in ("preprocess", "predict", "postprocess")
        for line in lines
        if line.startswith(f"request_{stage}_seconds_count{{")
    }
