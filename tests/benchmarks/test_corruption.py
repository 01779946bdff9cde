"""A damaged output is never used, wherever it was damaged; what plain DVC gives out is damaged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.corruption import as_we_do, campaign, damaged
from tests.data import project
from tests.data.door import Door


@pytest.mark.slow
def test_no_damaged_output_is_used(tmp_path: Path):
    """Flips, truncations and blocks of zeros in the store and in the cache: all are refused or made anew, none is used or passed over."""
    door = Door(project.make(tmp_path / "project"))
    door.up()
    done = campaign(door.root, "w", 24, as_we_do(door.root, "w", lambda stage: door.stages.run(door.root, stage, "w")))
    assert done.used == []
    assert sum(done.counts.values()) == 24
    assert {name.partition(" ")[2] for name in done.counts} <= {"refused", "made anew"}
    assert {name.partition(" ")[0] for name in done.counts} == {"cache", "store"}


def test_the_campaign_would_notice(tmp_path: Path):
    """A reader that hashes nothing uses damaged bytes, and the campaign says so."""
    door = Door(project.make(tmp_path / "project"))
    door.up()
    done = campaign(door.root, "w", 6, lambda _, path: path.read_bytes() if path.exists() else None)
    assert len(done.used) == 3
    rng = random.Random(1)
    assert all(damaged(b"0" * 100, how, rng) != b"0" * 100 for how in ("flip", "truncate", "zeros"))
