"""The id goes into an answer's parameters, and nothing else of the answer changes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.stamp import stamped

ID = "0198-id"
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
PARAMETERS = st.dictionaries(st.sampled_from(["model_version", "a", '"parameters":{', "\\"]) | st.text(), VALUES, max_size=3)
NAMES = st.sampled_from(["parameters", "outputs", "predictions", "id", '","parameters":{"a":"b"}}', "\\"]) | st.text()


@given(st.dictionaries(NAMES, VALUES, max_size=4), PARAMETERS | st.none(), st.sampled_from(["v1", "v2"]), st.booleans())
def test_only_the_id_is_added(members: dict[str, Any], parameters: Any, protocol: str, last: bool) -> None:
    """Whatever an answer holds and wherever its parameters stand, it is the same but for the id among them."""
    key = {"v1": "predictions", "v2": "outputs"}[protocol]
    own = {} if parameters is None else {"parameters": parameters}
    rest = {name: value for name, value in members.items() if name not in ("parameters", key)}
    answer = {key: members.get(key), **rest, **own} if last else {**own, key: members.get(key), **rest}
    found = orjson.loads(stamped(orjson.dumps(answer), protocol, ID))
    assert found == answer | {"parameters": (parameters or {}) | {"prediction_id": ID}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            '{"predictions":[1],"model_version":"3"}',
            '{"predictions":[1],"model_version":"3","parameters":{"prediction_id":"0198-id"}}',
        ),
        (
            '{"id":"7","outputs":[],"model_version":"3","parameters":{"model_version":"3"}}',
            '{"id":"7","outputs":[],"model_version":"3","parameters":{"prediction_id":"0198-id","model_version":"3"}}',
        ),
        ('{"outputs":[],"parameters":{}}', '{"outputs":[],"parameters":{"prediction_id":"0198-id"}}'),
    ],
)
def test_our_servers_answers_are_spliced(body: str, expected: str) -> None:
    """The answers of our own model servers keep every byte around the id."""
    assert stamped(body.encode(), "v1" if "predictions" in body else "v2", ID).decode() == expected


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"error": "x"}', b'{"instances": [1]}', b'"predictions"', b'{"outputs": parameters"parameters"'],
)
def test_what_is_no_answer_stays(body: bytes) -> None:
    """An error, another document, and what is no JSON at all come back byte for byte."""
    assert stamped(body, "v1", ID) == body
    assert stamped(body, "v2", ID) == body
