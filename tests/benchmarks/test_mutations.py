"""A sample of the 1,000 mutations of the ledger and the record chains (python -m benchmarks.mutations 1000)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.mutations import CHAINS, KINDS, campaign


@pytest.mark.fault(82)
def test_every_mutation_is_found(tmp_path: Path, track: Callable[..., None]) -> None:
    """Each kind, on each chain, sealed again or not, is found; the chain alone misses what was sealed again, and every swapped file."""
    count = 2 * len(KINDS) * len(CHAINS)
    tally = campaign(count, tmp_path, seed=1)
    track(injections=count, lost=len(tally.missed))
    assert tally.missed == []
    assert tally.found.total() == count
    assert tally.alone["swap"] == 0
    assert tally.alone["truncate"] == len(CHAINS)
