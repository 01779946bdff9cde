"""Prediction ids are UUIDv7: unique, in order of time, and they decide by themselves whether they are kept."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from serving.gateway.ids import kept, new_id


def test_they_are_uuids_of_version_7() -> None:
    """Version 7, the RFC's variant, the time of now in milliseconds, and text in the canonical form."""
    before = time.time_ns() // 1_000_000
    text = new_id()
    found = UUID(text)
    assert (found.version, found.variant, str(found)) == (7, "specified in RFC 4122", text)
    assert before <= found.int >> 80 <= time.time_ns() // 1_000_000


def test_they_are_in_order_and_differ() -> None:
    """Of 20,000 made in a row none is there twice, and a later millisecond never sorts before an earlier one."""
    ids = [new_id() for _ in range(20_000)]
    assert len(set(ids)) == 20_000
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)


@pytest.mark.parametrize("sample", [0.0, 0.25, 1.0])
def test_a_sample_is_its_share(sample: float) -> None:
    """A sample keeps its share of the ids, and the same ones each time."""
    ids = [new_id() for _ in range(10_000)]
    found = [one for one in ids if kept(one, sample)]
    assert abs(len(found) - 10_000 * sample) < 200
    assert found == [one for one in ids if kept(one, sample)]
