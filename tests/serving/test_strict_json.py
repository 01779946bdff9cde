"""JSON from strangers: what may come in comes in unchanged; a key given twice and deep nesting never do, however they are written."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.limits import DEPTH
from serving.strict_json import NotStrict, parsed

TEXTS = st.text(st.sampled_from('ab:"\\{}[], \té0'), max_size=6)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=25
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: "), (",", " :")])


@given(VALUES, SEPARATORS, st.booleans())
def test_what_json_wrote_is_read(value: Any, separators: tuple[str, str], ascii_only: bool) -> None:
    """Any value without a key twice, in any spacing and escaping, comes back equal, whatever its texts look like."""
    assert parsed(json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode()) == value


@given(st.lists(st.tuples(TEXTS, VALUES), min_size=1, max_size=4), st.data(), SEPARATORS)
def test_a_key_twice_is_found_wherever_it_is(
    members: list[tuple[str, Any]], data: st.DataObject, separators: tuple[str, str]
) -> None:
    """One member written twice, at any depth, beside any texts, is refused."""
    comma, colon = separators
    key = data.draw(st.sampled_from([key for key, _ in members]))
    again = data.draw(st.sampled_from([json.dumps(key), "".join(f"\\u{ord(c):04x}" for c in key).join('""')]))
    written = [f"{json.dumps(name)}{colon}{json.dumps(value)}" for name, value in dict(members).items()]
    written.insert(data.draw(st.integers(0, len(written))), f"{again}{colon}{json.dumps(data.draw(VALUES))}")
    text = "{" + comma.join(written) + "}"
    for _ in range(data.draw(st.integers(0, 3))):
        text = data.draw(st.sampled_from(['{"a":%s}', "[%s]", '{"x":"a:b{","inputs":[{"name":1},%s]}', '{"p":[1,%s]}'])) % text
    with pytest.raises(NotStrict, match="twice"):
        parsed(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        b'{"x":":","a" :1,"a" :2}',
        b'{"x":":","a"\t:1,"a"\n:2}',
        b'{"x":{"a":1,"a":2},"y":[]}',
        b'{"x":{"a":1},"x":{"a":1}}',
        b'{"x":[[{"a":1,"a":1}]]}',
        b'{"x\\\\":1,"x\\\\":2}',
    ],
)
def test_texts_do_not_hide_a_key_that_is_given_twice(text: bytes) -> None:
    """Colons and quotes in texts may make the counts equal; the verdict stays."""
    with pytest.raises(NotStrict, match="twice"):
        parsed(text)


@pytest.mark.parametrize(("before", "after"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_either_bracket_nests(before: bytes, after: bytes) -> None:
    """Lists, objects, both: `DEPTH` comes in, one more does not."""
    times = DEPTH // len((before + after).translate(None, b'"a:]}'))
    parsed(before * times + b"1" + after * times)
    with pytest.raises(NotStrict, match="deeper"):
        parsed(before * (times + 1) + b"1" + after * (times + 1))


@given(st.integers(1, 60), st.data())
def test_nesting_is_counted_exactly(depth: int, data: st.DataObject) -> None:
    """A value nested `DEPTH` deep comes in, one level more does not; brackets in texts do not count."""
    text = '"[[[[[{{{{{"'
    for _ in range(depth):
        text = data.draw(st.sampled_from(["[%s]", '{"a":%s}', '["]]]",%s,{"b":[]}]'])) % text
    inner = text.count('{"b":[]}') and max_depth(json.loads(text))
    if (inner or depth) > DEPTH:
        with pytest.raises(NotStrict, match="deeper"):
            parsed(text.encode())
    else:
        assert parsed(text.encode()) == json.loads(text)


def max_depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(max_depth, inner), default=0)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nul",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e999]",
        b"9" * 5000,
        b'"\\ud800"',
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"[" * 200_000,
    ],
)
def test_what_is_no_json_is_said_so(text: bytes) -> None:
    """One sentence for a person."""
    with pytest.raises(NotStrict, match=re.escape("JSON")):
        parsed(text)


def test_brackets_in_texts_prove_nothing() -> None:
    """Texts that hold brackets in pairs hide no depth."""
    deep = b'["]",' * (DEPTH + 1) + b"1" + b',"["]' * (DEPTH + 1)
    with pytest.raises(NotStrict, match="deeper"):
        parsed(deep)
    assert parsed(b'["]",' * DEPTH + b"1" + b',"["]' * DEPTH)
