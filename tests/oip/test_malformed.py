"""Malformed requests: each is refused with the protocol's error, soon, and the server goes on."""

from __future__ import annotations

import pytest

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
