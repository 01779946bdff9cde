"""Whether there is traffic to try a version on."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets import evidence, rollout
from data.places import Places
from serving.records import Label, Records, by_id
from serving.release import Release
from tests.assets.judged import Here
from tests.assets.test_loop import spec
from tests.serving.model_folders import numbers
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
    records.append([one._replace(workload="hand") for one in rows])
    of = spec().model_copy(update={"monitor": spec().monitor.model_copy(update={"kept": kept})})
    why = rollout._nothing_to_try_on(of, here, RELEASE)  # pyright: ignore[reportArgumentType]
    assert (why == "") == tried


def shadowed(records: Records, count: int) -> None:
    """Requests that champion 1 and its shadow 2 answered, each with its truth, 3: the champion is off by 2, the shadow by 1."""
    for n in range(count):
        one = answered(PLAIN, [n], [1.0], at=float(n))._replace(workload="hand")
        other = answered(PLAIN, [n], [2.0], at=float(n))._replace(workload="hand", id=one.id, version="2", role="shadow")
        records.append([one, other])
        records.label([Label(workload="hand", about=by_id(one.id, 0), value=3.0)])


@pytest.mark.parametrize("begun", [0, 20])
def test_a_long_rollout_is_judged_by_its_newest_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: int) -> None:
    """Losses read no more labelled quantities than the bound, however many there are; within it all since the rollout began."""
    here = Here(Places(root=tmp_path, home=tmp_path))
    records = Records.at(here.places.home)
    numbers(here.places.models("hand", "1"))
    shadowed(records, 40)
    read = []
    original = Records.outcomes

    def counted(self: Records, *args: Any, **more: Any) -> Any:
        table = original(self, *args, **more)
        read.append(table.num_rows)
        return table

    monkeypatch.setattr(Records, "outcomes", counted)
    release = dataclasses.replace(RELEASE, challenger="2", shadow=True, begun=begun)
    whole = evidence._losses(spec(), here.places, records, release)[0]
    monkeypatch.setattr(evidence, "_JUDGED", 30)
    bounded = evidence._losses(spec(), here.places, records, release)[0]
    assert whole is not None
    assert bounded is not None
    assert read == [80 - begun, 30]
    assert (whole.n, whole.candidate, whole.reference) == (40 - begun // 2, 1.0, 2.0)
    assert (bounded.n, bounded.candidate, bounded.reference) == (15, 1.0, 2.0)


@pytest.mark.parametrize(("stated", "missing"), [(None, 166), (20, 0)])
def test_a_hundred_shops_for_two_hours_are_no_week(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: int | None, missing: int
) -> None:
    """Steps are counted, not rows: 200 pairs of two hours leave 166 of a week's; whoever states the labels knows the season."""
    here, records = Here(Places(root=tmp_path, home=tmp_path)), Records.at(tmp_path)
    numbers(here.places.models("hand", "1"))
    of = spec()
    features, rollout = of.features.model_copy(update={"season": 168}), of.rollout.model_copy(update={"min_labels": stated})
    rows = [
        {
            "version": version,
            "id": f"{hour}/{shop}",
            "row": 0,
            "horizon": 1,
            "prediction": 1.0,
            "truth": 2.0,
            "target_time": hour,
        }
        for version in "12"
        for hour in (0, 3600)
        for shop in range(100)
    ]
    monkeypatch.setattr(Records, "labelled_until", lambda *_: 3600.0)
    monkeypatch.setattr(Records, "outcomes", lambda *_, **__: pa.Table.from_pylist(rows))
    found = evidence.gather(
        of.model_copy(update={"features": features, "rollout": rollout}),
        here.places,
        records,
        dataclasses.replace(RELEASE, challenger="2", shadow=True),
    )
    assert found.losses is not None
    assert (found.losses.n, found.missing) == (200, missing)
