"""Retrains, folded from their records."""

from __future__ import annotations

from typing import Any

import pytest

from serving.chain import Decision, Kind
from serving.retrains import fold


def decision(sequence: int, kind: Kind, version: str = "", **payload: Any) -> Decision:
    at = "2026-01-01T00:00:00+00:00"
    return Decision(
        kind=kind, workload="w", version=version, payload=payload, actor="loop", key=str(sequence), sequence=sequence, at=at
    )


ASKED = decision(2, "retrain", cutoff={"until": "1970-01-01T00:01:00+00:00", "sequence": 1}, by_person=False)
PASSED = decision(3, "retrain", "7", of=2, state="passed", cpu_s=4)


def test_one_without_an_end_has_no_state() -> None:
    """Whether it runs is not on record; it happened when the window that asked ended, or where that is not known, at its watermark."""
    (one,) = fold([ASKED], {1: 90.0})
    assert (one.state, one.at, one.version, one.known_until) == (None, 90.0, "", 60.0)
    assert [one.at for one in fold([ASKED], {})] == [60.0]


@pytest.mark.parametrize(("later", "state"), [("rolled_back", "rolled back"), ("refused", "refused"), ("promoted", "passed")])
def test_a_version_that_went_back_did_not_pass(later: Kind, state: str) -> None:
    """What passed the gate and then was rolled back, or did not answer the logged requests, counts as failed, for the breaker too."""
    (one,) = fold([ASKED, PASSED, decision(4, later, "7")], {})
    assert (one.state, one.version, one.cpu_s) == (state, "7", 4.0)


def test_an_older_record_is_read() -> None:
    """Without a cutoff or a cost, it happened when it was recorded, and cost nothing that is known."""
    (one,) = fold([decision(2, "retrain", by_person=True), decision(3, "retrain", of=2, state="failed", cpu_s=None)], {})
    assert (one.at, one.state, one.cpu_s, one.by_person) == (1767225600.0, "failed", 0.0, True)
