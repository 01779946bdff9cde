"""JSON from strangers: orjson, and the refusals that it leaves to its caller: a key given twice, nesting past `DEPTH`.

orjson itself refuses NaN, infinities, 1e999, lone surrogates, a byte order mark and what is not UTF-8 (RFC 8259). Whether a key was given
twice is not seen in what it returns, so members are counted: a colon outside a text ends a key. The proofs below cost microseconds; only
a body that none of them settles is parsed a second time.
"""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import orjson

from serving.limits import DEPTH

_SPACED = tuple((space, space + b":") for space in (b" ", b"\t", b"\n", b"\r"))


class NotStrict(ValueError):
    """The body is no JSON that may come in; the message may be shown to its sender."""


def parsed(body: bytes | bytearray | memoryview) -> Any:
    """The value; NotStrict where it is not JSON, gives a key twice or is nested deeper than `DEPTH`."""
    if type(body) is memoryview:
        body = bytes(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotStrict(f"the body is not JSON: {error}") from None
    if not _each_once(body, _members(document)):
        _refuse_twice(body)
    if body.count(b"[") + body.count(b"{") > DEPTH and _depth_exceeds(document):
        raise NotStrict(f"the body is not JSON that is read here: it is nested deeper than {DEPTH}")
    return document


def _members(document: Any) -> int:
    """The members of the objects that are where requests have them: the document, its members, the elements of its lists. At most all."""
    if type(document) is not dict:
        return 0
    members = len(document)
    for value in document.values():
        if type(value) is dict:
            members += len(value)
        elif type(value) is list and value and type(value[0]) is dict and set(map(type, value)) == {dict}:
            members += sum(map(len, value))
    return members


def _each_once(body: bytes | bytearray, members: int) -> bool:
    """Whether it is sure that the text has no more members than these, which were parsed.

    Each member has its own colon: as many colons as members, and none is hidden. Texts may hold colons, such as times do; but where no
    colon has space before it, each member has its own `":`, and as many of these as members says the same.
    """
    if body.count(b":") == members:
        return True
    # One byte is found much sooner than two.
    return body.count(b'":') == members and not any(space in body and spaced in body for space, spaced in _SPACED)


def _refuse_twice(body: bytes | bytearray) -> None:
    """Read again, looking only at keys."""
    try:
        json.loads(body, object_pairs_hook=_once, parse_float=_nothing, parse_int=_nothing)
    except RecursionError:
        raise NotStrict(f"the body is not JSON that is read here: it is nested deeper than {DEPTH}") from None


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) == len(pairs):
        return
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise NotStrict(f"the body is not JSON that is read here: the key {key[:60]!r} is given twice")
        seen.add(key)


def _nothing(_: str) -> None:
    return None


def _depth_exceeds(document: Any) -> bool:
    """Level by level: the document itself is the first. Brackets of the text prove nothing, for texts may hold them in pairs."""
    level = [document]
    for _ in range(DEPTH):
        kinds = set(map(type, level))
        if dict in kinds:
            level = [inner for value in level for inner in (value.values() if type(value) is dict else _elements(value))]
        elif list in kinds:
            lists = level if len(kinds) == 1 else [value for value in level if type(value) is list]
            level = list(chain.from_iterable(lists))
        else:
            return False
    return not {dict, list}.isdisjoint(map(type, level))


def _elements(value: Any) -> list[Any]:
    return value if type(value) is list else []
