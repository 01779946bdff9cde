"""Malformed requests: each is refused with the protocol's error, soon, and the server goes on."""

from __future__ import annotations

import json

import pytest

from tests.oip import fuzz, oracle
from tests.oip.corpus import Case, cases
from tests.oip.target import Target

SOON_S = 0.5  # on a busy machine; benchmarks/malformed.py states the real times


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
def test_a_malformed_request_is_refused(case: Case, target: Target) -> None:
    """The status that the corpus states, `{"error": ...}`, no reset; and the next request is answered."""
    if not case.applies(target):
        pytest.skip(f"not run: the first input is {target.metadata['inputs'][0]['datatype']}")
    told = case.send(target)
    assert not told.reset, "the connection broke without an answer"
    assert case.kept(told), (case.expect, told.status, told.body[:200])
    assert told.error_shaped, told.body[:200]
    assert b"Traceback" not in told.body
    assert told.seconds < SOON_S
    assert target.wire.ask("GET", f"{target.path}/ready").status == 200


def test_the_corpus_is_large_enough() -> None:
    """At least a hundred cases, no two alike."""
    assert len(cases()) >= 100


@pytest.mark.parametrize("number", [1, 2])
def test_made_up_tensors_get_the_verdict_that_they_deserve(number: int, target: Target) -> None:
    """What the oracle calls valid is answered, all else is refused: no 5xx, nothing accepted, nothing reset."""
    wrong = [
        (fuzz.verdict(one, told, target), one, told)
        for one in fuzz.from_tensors(target, 150, number)
        if fuzz.verdict(one, told := fuzz.send(one, target), target)
    ]
    assert wrong == []


@pytest.mark.slow
def test_what_schemathesis_makes_of_the_document_is_withstood(target: Target) -> None:
    """Requests that keep to the protocol's schema, and requests that break it."""
    wrong = [
        (fuzz.verdict(one, told, target), one, told)
        for one in fuzz.from_schema(target, 60)
        if fuzz.verdict(one, told := fuzz.send(one, target), target)
    ]
    assert wrong == []


def test_the_oracle_knows_right_from_wrong(target: Target) -> None:
    """It was written apart from the server: the valid request is valid, and nothing of the corpus that goes to /infer as JSON is."""
    assert oracle.valid(json.dumps(target.request()).encode(), target.metadata)
    assert oracle.valid(json.dumps(target.request(2)).encode(), target.metadata)
    plain = [
        case for case in cases() if not {"wire", "path", "method", "headers"} & case.stated.keys() and case.applies(target)
    ]
    assert [case.name for case in plain if oracle.valid(case._body(target), target.metadata)] == []
