"""Whether there is traffic to try a version on."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from assets import rollout
from data.places import Places
from serving.records import Records
from serving.release import Release
from tests.assets.judged import Here
from tests.assets.test_loop import spec
from tests.serving.records.samples import PLAIN, answered

RELEASE = Release(workload="hand", champion="1")


@pytest.mark.parametrize(
    ("kept", "answers", "tried"), [(1.0, 99, False), (1.0, 100, True), (0.05, 4, False), (0.05, 5, True), (0.0, 0, False)]
)
def test_a_sample_of_the_requests_is_traffic_too(tmp_path: Path, kept: float, answers: int, tried: bool) -> None:
    """Where one request of twenty is kept, five of them stand for a hundred: a version is not promoted untried for that."""
    here = Here(Places(root=tmp_path, home=tmp_path))
    records = Records.at(here.places.home)
    rows = [answered(PLAIN, [n], [1.0], at=time.time()) for n in range(answers)]
    records.append([dataclasses.replace(one, workload="hand") for one in rows])
    of = spec().model_copy(update={"monitor": spec().monitor.model_copy(update={"kept": kept})})
    why = rollout._nothing_to_try_on(of, here, RELEASE)  # pyright: ignore[reportArgumentType]
    assert (why == "") == tried
