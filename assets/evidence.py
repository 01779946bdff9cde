"""What the records say of a challenger and its champion: traffic, agreement, and losses on the same labelled requests.

Reads and counts; what follows from it is `serving.rollout.judge`'s.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from assets.spec import Spec
from data.places import Places
from serving.release import Release
from serving.rollout import Traffic
from training.promote import Comparison, metric_of
from training.signature import Signature

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from serving.records.prediction import Prediction, Role
    from serving.records.store import Records

DAY_S = 86_400
_WINDOW = "labelled requests"
_SAME = ["id", "row", "horizon", "entity", "time", "target_time"]  # what names one predicted quantity, whoever predicts it
_FAR = 1_000_000  # records that are looked back through for the last few of one workload


@dataclass(frozen=True, kw_only=True)
class NoTraffic:
    """Nothing was seen."""

    requests: int = 0
    errors: int = 0
    p99_ms: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a step is judged on."""

    champion: Traffic
    challenger: Traffic
    losses: Comparison | None
    agreement: float | None

    def plain(self) -> dict[str, Any]:
        """For a record: what is not a number is None."""
        figures = {
            name: {"requests": one.requests, "errors": one.errors, "p99_ms": _finite(one.p99_ms)}
            for name, one in (("champion", self.champion), ("challenger", self.challenger))
        }
        losses = None if self.losses is None else self.losses.row()
        return {**figures, "losses": losses, "agreement": None if self.agreement is None else _finite(self.agreement)}


def gather(spec: Spec, places: Places, records: Records, release: Release) -> Evidence:
    """The evidence on the release's challenger: traffic since its step began, labelled pairs since its first."""
    seen = records.traffic(spec.name, after=release.after)
    role = "shadow" if release.shadow else "challenger"
    agreement = None
    if release.shadow:
        found = records.agreement(spec.name, after=release.after)
        agreement = found.share if found.pairs else None
    return Evidence(
        champion=seen.get((release.champion or "", "champion"), NoTraffic()),
        challenger=seen.get((release.challenger or "", role), NoTraffic()),
        losses=_losses(spec, places, records, release),
        agreement=agreement,
    )


def last(records: Records, workload: str, count: int, role: Role = "champion") -> list[Prediction]:
    """The workload's last `count` kept predictions in a role, oldest first."""
    newest, back = records.newest(workload), 4 * count
    while True:
        after = max(0, newest - back)
        found = deque(records.predictions(workload, after=after, role=role), maxlen=count)
        if len(found) == count or after == 0 or back > _FAR:
            return list(found)
        back *= 4


def answered_lately(records: Records, workload: str, enough: int) -> int:
    """How many requests the champion answered in the last 24 hours, counted up to `enough`."""
    since = time.time() - DAY_S
    return sum(one.at >= since for one in last(records, workload, enough))


def _losses(spec: Spec, places: Places, records: Records, release: Release) -> Comparison | None:
    """Champion and challenger on the same labelled requests; None where the workload's requests get no labels.

    A rollout that never shadows has no two answers to one request: then the two arms' means are compared.
    """
    versions = [release.champion or "", release.challenger or ""]
    records.absorb(Signature.read(places.models(spec.name, versions[0])))
    if not records.watermark(spec.name).labelled:
        return None
    roles = ("champion", "challenger", "shadow")
    table = records.outcomes(
        spec.name, since=None, until=None, roles=roles, versions=versions, labelled=True, after=release.begun
    )
    metric = metric_of(spec.promote, spec.task, series=bool(spec.features.horizons))
    rows = table.to_pandas()
    rows["loss"] = losses(table, spec, metric)
    sides = [rows[rows["version"] == version] for version in reversed(versions)]
    named = {"confidence": spec.rollout.confidence, "window": _WINDOW, "metric": "mae" if metric == "pinball" else metric}
    if "shadow" in spec.rollout.steps:
        return _paired(*sides, **named)
    return _apart(*(side["loss"].dropna().tolist() for side in sides), **named)


def losses(table: pa.Table, spec: Spec, metric: str) -> Any:
    """The loss of each outcome, an array: absolute error for numbers, wrong or not for `accuracy`, else minus the log of the truth's
    probability."""
    import numpy as np

    rows = table.to_pandas()
    if spec.task != "classification":
        return (rows["prediction"].astype(float) - rows["truth"].astype(float)).abs().to_numpy()
    if metric == "accuracy":
        return (rows["label"].astype(str) != rows["truth"].astype(str)).to_numpy(dtype=float)
    return -np.log(rows["probability"].to_numpy(dtype=float).clip(1e-15, 1.0))


def _paired(candidate: pd.DataFrame, reference: pd.DataFrame, **named: Any) -> Comparison:
    """One pair for each request's row, the mean of its horizons where it has several, in the order of time."""
    from training.bootstrap import paired_bootstrap

    keys = [name for name in _SAME if name in candidate.columns]
    both = candidate.drop_duplicates(keys, keep="last").merge(
        reference.drop_duplicates(keys, keep="last"), on=keys, suffixes=("_candidate", "_reference")
    )
    of_a_row = [name for name in keys if name not in {"horizon", "target_time"}]
    pairs = both.groupby(of_a_row, dropna=False, sort=False)[["loss_candidate", "loss_reference", "target_time"]].mean()
    pairs = pairs.sort_values("target_time", kind="stable")
    return paired_bootstrap(
        pairs["loss_candidate"].to_numpy(dtype=float), pairs["loss_reference"].to_numpy(dtype=float), ordered=True, **named
    )


def _apart(candidate: list[float], reference: list[float], *, confidence: float, **named: Any) -> Comparison:
    """Two samples' means and Welch's interval of their difference (Welch 1947, in the large-sample form)."""
    n = min(len(candidate), len(reference))
    if n < 2:
        nan = dict.fromkeys(("candidate", "reference", "difference", "low", "high"), math.nan)
        return Comparison(n=n, confidence=confidence, **nan, **named)
    means = [math.fsum(side) / len(side) for side in (candidate, reference)]
    sides = zip((candidate, reference), means, strict=True)
    spread = math.sqrt(sum(math.fsum((x - mean) ** 2 for x in side) / (len(side) - 1) / len(side) for side, mean in sides))
    half, difference = NormalDist().inv_cdf((1 + confidence) / 2) * spread, means[0] - means[1]
    return Comparison(
        n=n,
        candidate=means[0],
        reference=means[1],
        difference=difference,
        low=difference - half,
        high=difference + half,
        confidence=confidence,
        **named,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
