"""Made-up requests: schemathesis on the protocol's OpenAPI document, hypothesis on tensors, and a verdict on each answer by the oracle.

The same seed makes the same requests.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.oip.oracle import valid
from tests.oip.target import Target
from tests.oip.wire import Told

DOCUMENT = Path(__file__).with_name("openapi.yaml")


class Asked(NamedTuple):
    """One request; `body` is None where it has none."""

    method: str
    path: str
    body: bytes | None


def send(asked: Asked, target: Target) -> Told:
    return target.wire.ask(*asked)


def verdict(asked: Asked, told: Told, target: Target) -> str:
    """ "" where all is well; else what is wrong: reset, silence, 5xx, accepted, refused, shape."""
    if told.status == 0:
        return "reset" if told.reset else "silence"
    if told.status >= 500:
        return "5xx"
    infers = asked.method == "POST" and asked.path == f"{target.path}/infer"
    right = valid(asked.body or b"", target.metadata) if infers else None
    if told.status == 200 and right is False:
        return "accepted"
    if told.status >= 400 and right is True:
        return "refused"
    return "" if told.status < 400 or asked.method == "HEAD" or told.error_shaped else "shape"


def from_schema(target: Target, count: int, number: int = 0) -> list[Asked]:
    """What schemathesis makes of the document: half of it breaks the schema, half keeps to it and knows nothing of the model."""
    import schemathesis
    from schemathesis import GenerationMode

    document = yaml.safe_load(DOCUMENT.read_text("utf-8"))
    names = document["components"]["schemas"]["tensor"]["properties"]
    names["name"]["enum"] = [one["name"] for one in target.metadata["inputs"]] + ["other"]
    document["components"]["parameters"]["model"]["schema"]["enum"] = [target.model, target.model, "other"]
    schema = schemathesis.openapi.from_dict(document)
    found: list[Asked] = []

    def keep(case: Any) -> None:
        made = case.as_transport_kwargs(base_url="http://x")
        body = made.get("data")
        if "json" in made:
            body = json.dumps(made["json"]).encode()
        path = made["url"].removeprefix("http://x")
        if isinstance(body, bytes | None) and path.isascii() and path.startswith("/"):
            found.append(Asked(made["method"], path, body))

    operations = [(path, method) for path, methods in document["paths"].items() for method in methods if method != "parameters"]
    for path, method in operations:
        for mode in (GenerationMode.NEGATIVE, GenerationMode.POSITIVE):
            if method == "get" and (mode is GenerationMode.NEGATIVE or "{" not in path):
                continue  # nothing of it can be broken
            share = count // 2 if method == "post" else 5
            _drawn(schema[path][method.upper()].as_strategy(generation_mode=mode), keep, share, number)
    return found


def from_tensors(target: Target, count: int, number: int = 0) -> list[Asked]:
    """The valid request with one to three things changed: some changes keep it valid."""
    found: list[Asked] = []
    _drawn(_changed(target), lambda body: found.append(Asked("POST", f"{target.path}/infer", body)), count, number)
    return found


def _drawn(strategy: Any, keep: Callable[[Any], None], count: int, number: int) -> None:
    @seed(number)
    @settings(
        max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(strategy)
    def draw(one: Any) -> None:
        keep(one)

    draw()


_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**31, 2**53, 2**63, -(2**63) - 1, 10**30, 10**300, 0, -1]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([3.4028235e38, 3.5e38, 1e308, -0.0, 5e-324]),
    st.text(max_size=5),
    st.sampled_from(["NaN", "Infinity", "1.5", "true", "\x00", "FP32", "é", "x" * 300]),
    st.lists(st.none() | st.floats(-2, 2) | st.integers(-3, 3), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@st.composite
def _changed(draw: Any, target: Target) -> bytes:
    document = copy.deepcopy(target.request(draw(st.sampled_from([1, 1, 1, 2, 7]))))
    if draw(st.booleans()):
        document.pop("id")
    for _ in range(draw(st.integers(0, 3))):
        tensor = document["inputs"][draw(st.integers(0, len(document["inputs"]) - 1))] if document.get("inputs") else {}
        if not isinstance(tensor, dict):
            continue
        what = draw(
            st.sampled_from(
                ["value", "value", "value", "data", "shape", "size", "datatype", "name", "drop", "more", "nest", "top", "twice"]
            )
        )
        data, shape = tensor.get("data"), tensor.get("shape")
        if what == "value" and isinstance(data, list) and data:
            data[draw(st.integers(0, len(data) - 1))] = draw(_ODD)
        elif what == "size" and isinstance(shape, list) and shape:
            shape[draw(st.integers(0, len(shape) - 1))] = draw(
                st.integers(-2, 40) | st.sampled_from([2**31, 2**63, 1.0, True, "1", None])
            )
        elif what in ("data", "shape", "datatype", "name"):
            tensor[what] = draw(_ODD)
        elif what == "drop" and tensor:
            del tensor[draw(st.sampled_from(sorted(tensor)))]
        elif what == "more":
            tensor[draw(st.sampled_from(["parameters", "extra", "data "]))] = draw(_ODD)
        elif what == "nest" and isinstance(data, list):
            width = draw(st.integers(1, 20))
            tensor["data"] = [data[at : at + width] for at in range(0, len(data), width)]
        elif what == "top":
            document[draw(st.sampled_from(["id", "parameters", "outputs", "extra", "inputs"]))] = draw(_ODD)
        elif what == "twice" and isinstance(document.get("inputs"), list):
            document["inputs"].append(copy.deepcopy(tensor))
    return _written(draw, document)


def _written(draw: Any, document: Any) -> bytes:
    """As JSON, in one of its spellings, now and then with a member twice or a byte changed."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:")]))
    body = json.dumps(document, separators=separators, ensure_ascii=draw(st.booleans())).encode()
    spoilt = draw(st.integers(0, 11))
    if spoilt == 0 and body.startswith(b"{") and len(body) > 2:
        member = draw(st.sampled_from([b'"id":"a"', b'"inputs":[]', b'"x" : 1', b'"x":1,"x":2']))
        body = b"{" + member + b"," + body[1:]
    elif spoilt == 1:
        at = draw(st.integers(0, len(body) - 1))
        body = body[:at] + draw(st.binary(max_size=2)) + body[at + 1 :]
    return body
