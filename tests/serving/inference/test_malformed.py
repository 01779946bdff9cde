"""Malformed requests: always a 400 (or 4xx) with `{"error": ...}` that names the input and what was expected, on a connection that lives on."""

from __future__ import annotations

import copy
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.serving.requests import IMAGE, NAN, OTHER, ROW, binary, grpc_request, outputs, tensors
from tests.serving.served import Answer, Served, messages

Change = Callable[[dict[str, Any]], Any]


def with_input(name: str, **changed: Any) -> Change:
    """Change one tensor; None removes the key."""

    def change(document: dict[str, Any]) -> Any:
        tensor = next(t for t in document["inputs"] if t["name"] == name)
        tensor.update(changed)
        for key in [k for k, v in changed.items() if v is None]:
            del tensor[key]
        return document

    return change


def replaced(old: str, new: str) -> Change:
    """Change the JSON's text."""
    return lambda document: json.dumps(document, ensure_ascii=False).replace(old, new, 1).encode("utf-8", "surrogatepass")


def without(name: str) -> Change:
    return lambda document: document | {"inputs": [t for t in document["inputs"] if t["name"] != name]}


def plus(*tensors_: Any, **more: Any) -> Change:
    return lambda document: document | {"inputs": [*document["inputs"], *tensors_]} | more


def instead(value: Any) -> Change:
    return lambda _: value


EXTRA = {"name": "height", "shape": [1], "datatype": "FP64", "data": [1.0]}
V2: dict[str, tuple[Change, tuple[str, ...]]] = {
    # the body
    "no body": (instead(b""), ("JSON",)),
    "not JSON": (instead(b"hello"), ("JSON",)),
    "cut short": (lambda d: json.dumps(d).encode()[:-9], ("JSON",)),
    "trailing garbage": (lambda d: json.dumps(d).encode() + b"}", ("JSON",)),
    "byte order mark": (lambda d: b"\xef\xbb\xbf" + json.dumps(d).encode(), ("JSON",)),
    "not UTF-8": (replaced("東京", "\udcff"), ("JSON",)),
    "lone surrogate": (replaced("東京", "\\ud800"), ("JSON",)),
    "NaN in JSON": (replaced("1.5", "NaN"), ("JSON",)),
    "Infinity in JSON": (replaced("1.5", "-Infinity"), ("JSON",)),
    "1e999": (replaced("1.5", "1e999"), ("JSON",)),
    "5,000 digits": (replaced("1.5", "9" * 5000), ("JSON",)),
    "nested 200,000 deep": (instead(b'{"inputs":' + b"[" * 200_000 + b"]" * 200_000 + b"}"), ("JSON",)),
    "nested data 20 deep": (with_input("Größe", data=json.loads("[" * 20 + "1" + "]" * 20)), ("Größe",)),
    "nested data 500 deep": (with_input("Größe", data=json.loads("[" * 500 + "1" + "]" * 500)), ("deeper than 32",)),
    "nested 33 deep where nothing looks": (plus(parameters={"x": json.loads("[" * 31 + "]" * 31)}), ("deeper than 32",)),
    "a key twice": (replaced('"id": "mine"', '"id": "mine", "id": "yours"'), ("'id'", "twice")),
    "a key twice, written otherwise": (replaced('"shape"', '"shap\\u0065" : [9], "shape"'), ("'shape'", "twice")),
    "a key twice in parameters": (replaced('"id"', '"parameters": {"a": {"b": 1, "b": 1}}, "id"'), ("'b'", "twice")),
    "a list": (instead([1]), ("inputs",)),
    "a number": (instead(5), ("inputs",)),
    "null": (instead(b"null"), ("inputs",)),
    "an empty object": (instead({}), ("inputs", "Größe")),
    "v1's form": (instead({"instances": [ROW]}), ("inputs",)),
    # the request
    "inputs is an object": (lambda d: d | {"inputs": {}}, ("inputs",)),
    "inputs is empty": (lambda d: d | {"inputs": []}, ("Größe", "missing")),
    "an input is null": (plus(None), ("inputs[10]", "name")),
    "an input is a number": (plus(3), ("inputs[10]", "name")),
    "an input without name": (plus({"shape": [1], "datatype": "FP64", "data": [1]}), ("inputs[10]", "name")),
    "a name that is a list": (plus(EXTRA | {"name": ["Größe"]}), ("inputs[10]", "name")),
    "unknown input": (plus(EXTRA), ("height", "unknown", "Größe")),
    "missing input": (without("city"), ("city", "missing", "text")),
    "missing nullable input": (without("wind"), ("wind", "missing", "null")),
    "an input twice": (plus({"name": "count", "shape": [1], "datatype": "INT64", "data": [1]}), ("count", "twice")),
    "id is a number": (lambda d: d | {"id": 5}, ("id", "text")),
    "parameters is a list": (plus(parameters=[]), ("parameters", "object")),
    "binary_data_output is text": (plus(parameters={"binary_data_output": "yes"}), ("binary_data_output", "true or false")),
    "outputs is an object": (plus(outputs={}), ("outputs",)),
    "outputs of numbers": (plus(outputs=[1]), ("outputs", "name")),
    "unknown output": (plus(outputs=[{"name": "price"}]), ("price", "prediction")),
    "an output twice": (plus(outputs=[{"name": "prediction"}] * 2), ("twice",)),
    "an output's binary_data is a number": (
        plus(outputs=[{"name": "prediction", "parameters": {"binary_data": 1}}]),
        ("prediction", "true or false"),
    ),
    # datatypes
    "another datatype": (with_input("Größe", datatype="FP32"), ("Größe", "FP32", "FP64")),
    "datatype in lower case": (with_input("Größe", datatype="fp64"), ("Größe", "fp64", "FP64")),
    "an invented datatype": (with_input("Größe", datatype="FLOAT128"), ("Größe", "FP64")),
    "datatype is a number": (with_input("Größe", datatype=64), ("Größe", "FP64")),
    "no datatype": (with_input("Größe", datatype=None), ("Größe", "FP64")),
    # shapes
    "no shape": (with_input("Größe", shape=None), ("Größe", "shape", "[N]")),
    "shape is a number": (with_input("Größe", shape=1), ("Größe", "shape", "[N]")),
    "scalar shape": (with_input("Größe", shape=[]), ("Größe", "shape", "[N]")),
    "negative shape": (with_input("Größe", shape=[-1]), ("Größe", "shape")),
    "negative shapes": (with_input("Größe", shape=[-1, -1]), ("Größe", "shape")),
    "no rows": (lambda d: d | {"inputs": [t | {"shape": [0], "data": []} for t in d["inputs"]]}, ("shape", "N of 1 or more")),
    "a fraction": (with_input("Größe", shape=[1.0]), ("Größe", "shape")),
    "a boolean": (with_input("Größe", shape=[True]), ("Größe", "shape")),
    "a text": (with_input("Größe", shape=["1"]), ("Größe", "shape")),
    "rank 3": (with_input("Größe", shape=[1, 1, 1]), ("Größe", "shape")),
    "two columns in one": (with_input("Größe", shape=[1, 2], data=[1.0, 2.0]), ("Größe", "shape")),
    "huge shape": (with_input("Größe", shape=[10**18]), ("Größe",)),
    "overflowing shape": (with_input("Größe", shape=[2**63, 2]), ("Größe", "shape")),
    "rows that differ": (with_input("count", shape=[2], data=[1, 2]), ("count", "2 rows", "1", "Größe")),
    # data
    "no data": (with_input("Größe", data=None), ("Größe", "data")),
    "data is null": (with_input("Größe", data=False), ("Größe", "list")),
    "data is a number": (with_input("Größe", data=1.5), ("Größe", "list")),
    "data is text": (with_input("Größe", data="1.5"), ("Größe", "list")),
    "data is an object": (with_input("Größe", data={"0": 1}), ("Größe", "list")),
    "no values": (with_input("Größe", data=[]), ("Größe", "0 values", "1")),
    "too many values": (with_input("Größe", data=[1, 2]), ("Größe", "2 values", "1")),
    "ragged": (with_input("Größe", shape=[1, 1], data=[[1, 2]]), ("Größe", "nested")),
    "half nested": (
        lambda d: (
            tensors(ROW, OTHER)
            | {"inputs": [t | ({"data": [[1], 2]} if t["name"] == "Größe" else {}) for t in tensors(ROW, OTHER)["inputs"]]}
        ),
        ("Größe",),
    ),
    "null in a number": (with_input("Größe", data=[json.loads("null")]), ("Größe", "null", "number")),
    "text in a number": (with_input("Größe", data=["1.5"]), ("Größe", "text", "number")),
    "a boolean in a number": (with_input("Größe", data=[True]), ("Größe", "boolean", "number")),
    "an object in a number": (with_input("Größe", data=[{}]), ("Größe", "object", "number")),
    "text in a nullable number": (with_input("wind", data=["NaN"]), ("wind", "text", "number or null")),
    "null in an integer": (with_input("count", data=[json.loads("null")]), ("count", "null", "whole number")),
    "a fraction in an integer": (with_input("count", data=[1.5]), ("count", "1.5", "whole number")),
    "2**63 in an integer": (with_input("count", data=[2**63]), ("count", "whole number of 64 bits")),
    "10**30 in an integer": (with_input("count", data=[10**30]), ("count", "whole number")),
    "a fraction in a nullable integer": (with_input("rooms", data=[1.5]), ("rooms", "1.5", "whole number")),
    "a number in a boolean": (with_input("open", data=[1]), ("open", "number", "true or false")),
    "a text in a boolean": (with_input("open", data=["true"]), ("open", "text", "true or false")),
    "2 in a nullable boolean": (with_input("sunny", data=[2]), ("sunny", "2", "0 or 1")),
    "null in a category": (with_input("city", data=[json.loads("null")]), ("city", "null", "text")),
    "a number in a category": (with_input("city", data=[7]), ("city", "number", "text")),
    "null in a time": (with_input("at", data=[json.loads("null")]), ("at", "null", "ISO 8601")),
    "a number in a time": (with_input("at", data=[1e9]), ("at", "number", "ISO 8601")),
    "no time": (with_input("at", data=["yesterday"]), ("at", "yesterday", "ISO 8601")),
    "an impossible date": (with_input("until", data=["2026-02-30"]), ("until", "2026-02-30", "ISO 8601")),
    "a long text as time": (with_input("at", data=["x" * 10_000]), ("at", "ISO 8601")),
    "binary data without its header": (
        with_input("Größe", data=None, parameters={"binary_data_size": 8}),
        ("Größe", "Inference-Header-Content-Length"),
    ),
    "an input's parameters is a list": (with_input("Größe", parameters=[1]), ("Größe", "parameters")),
}


def refused(answer: Answer, words: tuple[str, ...]) -> None:
    """A 400 in the protocol's error shape that says the words, and nothing of our insides."""
    assert answer.status == 400, (answer.status, answer.content[:300])
    assert list(answer.json) == ["error"]
    assert [word for word in words if word not in answer.json["error"]] == [], answer.json
    assert len(answer.json["error"]) < 600
    assert not any(inside in answer.json["error"] for inside in ("Traceback", "Error(", ".py", "numpy", "onnx", "x0"))


@pytest.mark.parametrize("case", V2)
def test_a_malformed_v2_request_is_a_400(case: str, servers: dict[str, Served]):
    """The error names the input and what was expected; the same connection answers the next request."""
    change, words = V2[case]
    served = servers["kinds"]
    body = change(copy.deepcopy(tensors(ROW)))
    connection = served.connection()
    started = time.perf_counter()
    answer = served.request(
        "POST", "/v2/models/hand/infer", body if isinstance(body, bytes) else json.dumps(body), on=connection
    )
    assert time.perf_counter() - started < 1
    refused(answer, words)
    assert served.request("POST", "/v2/models/hand/infer", json.dumps(tensors(ROW)), on=connection).status == 200


def test_a_wrong_row_among_many_is_named(servers: dict[str, Served]):
    """In a batch the error says which row."""
    document = tensors(ROW, OTHER, ROW)
    document["inputs"][0]["data"][2] = None
    refused(servers["kinds"].infer(document), ("Größe", "row 2", "null"))


def raw(name: str, content: bytes, size: Any = None) -> Callable[[dict[str, Any], bytes], tuple[Any, bytes]]:
    """Replace one input's binary data; `size` is what the request claims."""

    def change(document: dict[str, Any], tail: bytes) -> tuple[Any, bytes]:
        at = 0
        for tensor in document["inputs"]:
            length = tensor["parameters"]["binary_data_size"]
            if tensor["name"] == name:
                tensor["parameters"]["binary_data_size"] = len(content) if size is None else size
                return document, tail[:at] + content + tail[at + length :]
            at += length
        raise AssertionError(name)

    return change


BINARY: dict[str, tuple[Callable[[dict[str, Any], bytes], tuple[Any, bytes]], tuple[str, ...]]] = {
    "too short": (raw("Größe", b"1234"), ("Größe", "4 bytes", "8")),
    "too long": (raw("Größe", b"1" * 15), ("Größe", "15 bytes", "8")),
    "nothing": (raw("Größe", b""), ("Größe", "0 bytes", "8")),
    "negative size": (raw("Größe", b"12345678", -8), ("Größe", "binary_data_size -8")),
    "size is text": (raw("Größe", b"12345678", "8"), ("Größe", "binary_data_size")),
    "size is true": (raw("Größe", b"1", True), ("Größe", "binary_data_size")),
    "size past the end": (raw("until", b"", 10**6), ("until", "binary_data_size")),
    "bytes left over": (lambda d, t: (d, t + b"more"), ("4 bytes follow",)),
    "NaN in a number": (raw("Größe", b"\x00" * 6 + b"\xf8\x7f"), ("Größe", "nan", "finite")),
    "infinity in a number": (raw("Größe", b"\x00" * 6 + b"\xf0\x7f"), ("Größe", "inf", "finite")),
    "infinity in a nullable number": (raw("wind", b"\x00" * 6 + b"\xf0\xff"), ("wind", "-inf", "finite")),
    "2 in a boolean": (raw("open", b"\x02"), ("open", "2", "true or false")),
    "a length past the end": (raw("city", b"\xff\xff\xff\xff"), ("city", "length")),
    "half a length": (raw("city", b"\x01\x00"), ("city", "length")),
    "two texts for one row": (raw("city", b"\x01\x00\x00\x00a" * 2), ("city", "more", "1")),
    "no text": (raw("city", b""), ("city", "0 elements", "1")),
    "not UTF-8": (raw("city", b"\x02\x00\x00\x00\xff\xfe"), ("city", "UTF-8")),
    "a time that is none": (raw("at", b"\x03\x00\x00\x00now"), ("at", "now", "ISO 8601")),
    "both data and binary": (
        lambda d, t: (d | {"inputs": [d["inputs"][0] | {"data": [1.5]}, *d["inputs"][1:]]}, t),
        ("Größe", "one of them"),
    ),
}


@pytest.mark.parametrize("case", BINARY)
def test_malformed_binary_data_is_a_400(case: str, servers: dict[str, Served]):
    """Sizes, lengths and values of raw tensors are checked before they are read."""
    change, words = BINARY[case]
    head, tail = change(*copy.deepcopy(binary(tensors(ROW))))
    refused(servers["kinds"].infer(head, tail=tail), words)


@pytest.mark.parametrize("length", ["0", "-1", "many", "1e3", "9" * 30, "9" * 5000, "\u00b2", ""])
def test_a_wrong_json_length_is_a_400(length: str, servers: dict[str, Served]):
    """Inference-Header-Content-Length is a number of bytes within the body."""
    answer = servers["kinds"].request(
        "POST", "/v2/models/hand/infer", json.dumps(tensors(ROW)), {"inference-header-content-length": length}
    )
    refused(answer, ("Inference-Header-Content-Length",))


V1: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a list": ([ROW], ("instances",)),
    "no instances": ({"inputs": [ROW]}, ("instances",)),
    "instances is an object": ({"instances": ROW}, ("instances",)),
    "none": ({"instances": []}, ("instances",)),
    "a row is a list": ({"instances": [[1, 2, 3]]}, ("instance 0", "list", "object")),
    "a row is null": ({"instances": [ROW, None]}, ("instance 1", "null", "object")),
    "a column is missing": (
        {"instances": [ROW, {k: v for k, v in OTHER.items() if k != "city"}]},
        ("instance 1", "city", "missing"),
    ),
    "a column is unknown": ({"instances": [ROW | {"height": 1}]}, ("instance 0", "height", "unknown")),
    "a misspelt column": ({"instances": [{k.upper(): v for k, v in ROW.items()}]}, ("instance 0", "unknown")),
    "null": ({"instances": [ROW | {"count": None}]}, ("count", "null")),
    "text": ({"instances": [OTHER, ROW | {"Größe": "tall"}]}, ("Größe", "row 1", "tall", "number")),
    "a list in a cell": ({"instances": [ROW | {"city": ["a"]}]}, ("city", "list", "text")),
}


@pytest.mark.parametrize("case", V1)
def test_a_malformed_v1_request_is_a_400(case: str, servers: dict[str, Served]):
    """The error names the instance, the column and what was expected."""
    document, words = V1[case]
    refused(servers["kinds"].predict(document), words)


IMAGES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "another shape": ({"shape": [1, 3, 4]}, ("image", "[N, 4, 3]")),
    "flat shape": ({"shape": [1, 12]}, ("image", "[N, 4, 3]")),
    "no row axis": ({"shape": [4, 3]}, ("image", "[N, 4, 3]")),
    "too few pixels": ({"data": [1.0] * 11}, ("image", "11 values", "12")),
    "ragged": ({"data": [[[0, 1, 2], [3, 4], [6, 7, 8], [9, 10, 11]]]}, ("image", "nested")),
    "too deep": ({"data": [[[[v] for v in r] for r in IMAGE[0]]]}, ("image",)),
    "beyond FP32": ({"data": [1e300] * 12}, ("image", "FP32")),
    "null": ({"data": [None] * 12}, ("image", "null")),
}


@pytest.mark.parametrize("case", IMAGES)
def test_a_malformed_image_is_a_400(case: str, servers: dict[str, Served]):
    """Images are held to the signature's shape and to FP32."""
    changed, words = IMAGES[case]
    refused(
        servers["pictures"].infer(
            {"inputs": [{"name": "image", "shape": [1, 4, 3], "datatype": "FP32", "data": IMAGE} | changed]}
        ),
        words,
    )
    if "data" in changed and changed["data"] and isinstance(changed["data"][0], list):
        refused(servers["pictures"].predict({"instances": [{"image": changed["data"][0]}]}), words)


GRPC: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "unknown input": (lambda r: setattr(r.inputs[0], "name", "height"), ("height", "unknown")),
    "missing input": (lambda r: (r.inputs.pop(), r.raw_input_contents.pop()), ("until", "missing")),
    "another datatype": (lambda r: setattr(r.inputs[0], "datatype", "FP32"), ("Größe", "FP64")),
    "another shape": (lambda r: r.inputs[0].shape.append(2), ("Größe", "shape")),
    "short content": (lambda r: r.raw_input_contents.__setitem__(0, b"123"), ("Größe", "3 bytes")),
    "NaN": (lambda r: r.raw_input_contents.__setitem__(0, b"\x00" * 6 + b"\xf8\x7f"), ("Größe", "finite")),
    "fewer contents than inputs": (lambda r: r.raw_input_contents.pop(), ("raw input contents",)),
    "unknown output": (lambda r: r.outputs.add(name="price"), ("price", "prediction")),
    "another version": (lambda r: setattr(r, "model_version", "8"), ("version 7", "8")),
}


@pytest.mark.parametrize("case", GRPC)
def test_a_malformed_grpc_request_is_an_invalid_argument(case: str, servers: dict[str, Served]):
    """gRPC says INVALID_ARGUMENT with the same words."""
    change, words = GRPC[case]
    request = grpc_request(tensors(ROW), raw=True)
    change(request)
    with pytest.raises(grpc.RpcError) as error:
        servers["kinds"].calls().ModelInfer(request)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [word for word in words if word not in error.value.details()] == []


def test_grpc_says_what_there_is_not(servers: dict[str, Served]):
    """An unknown model is NOT_FOUND, loading and unloading is PERMISSION_DENIED."""
    calls = servers["kinds"].calls()
    for call, code in (
        (lambda: calls.ModelInfer(grpc_request(tensors(ROW), raw=True, model="other")), grpc.StatusCode.NOT_FOUND),
        (lambda: calls.ModelReady(messages().ModelReadyRequest(name="other")), grpc.StatusCode.NOT_FOUND),
        (lambda: calls.ModelMetadata(messages().ModelMetadataRequest(name="other")), grpc.StatusCode.NOT_FOUND),
        (
            lambda: calls.RepositoryModelUnload(messages().RepositoryModelUnloadRequest(model_name="hand")),
            grpc.StatusCode.PERMISSION_DENIED,
        ),
        (
            lambda: calls.RepositoryModelLoad(messages().RepositoryModelLoadRequest(model_name="hand")),
            grpc.StatusCode.PERMISSION_DENIED,
        ),
    ):
        with pytest.raises(grpc.RpcError) as error:
            call()
        assert error.value.code() is code


def test_any_text_is_taken_as_a_category(servers: dict[str, Served]):
    """Unseen, empty, very long and odd texts are values like others, not errors."""
    for text in ("", "\x00", "x" * 100_000, "𝕌𝕟𝕚", "a\nb", "' OR 1=1"):
        assert outputs(servers["kinds"].infer(tensors(ROW | {"city": text})))["prediction"][0] == [1, 2]


def test_times_far_away_are_answered(servers: dict[str, Served]):
    """A horizon past the year 9999 has no time, and is no failure."""
    for at in ("9999-12-31T23:59:59Z", "0001-01-01"):
        answer = servers["kinds"].predict({"instances": [ROW | {"at": at}]})
        assert answer.status == 200, answer.content
    assert (
        servers["kinds"].predict({"instances": [ROW | {"at": "9999-12-31"}]}).json["predictions"][0]["forecast"][0]["time"]
        is None
    )


def test_a_compressed_body_is_a_415(servers: dict[str, Served]):
    """Nothing is unpacked: there is no zip bomb."""
    answer = servers["kinds"].request("POST", "/v2/models/hand/infer", b"\x1f\x8b", {"content-encoding": "gzip"})
    assert (answer.status, "content-encoding" in answer.json["error"]) == (415, True)


def test_broken_http_does_not_reach_the_model(servers: dict[str, Served]):
    """Two lengths, a bad chunk and a torn header end the connection; the server lives."""
    for text in (
        b"POST /v2/models/hand/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v2/models/hand/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v2/models/hand/infer HTTP/1.1\r\nHost\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ):
        with socket.create_connection(("127.0.0.1", servers["kinds"].http_port), timeout=10) as raw_socket:
            raw_socket.sendall(text)
            told = raw_socket.makefile("rb").read()  # until the server closes
        assert told.startswith(b"HTTP/1.1 400"), text
    assert servers["kinds"].get("/v2/health/live").json == {"live": True}


def test_nan_is_missing_only_where_missing_may_be(servers: dict[str, Served]):
    """A binary NaN in a nullable column is the same as null."""
    head, tail = binary(tensors(ROW | {"wind": NAN}))
    assert outputs(servers["kinds"].infer(head, tail=tail)) == outputs(servers["kinds"].infer(tensors(ROW)))
