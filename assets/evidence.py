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

from assets import inputs
from assets.spec import Spec
from data.files import finite
from data.places import Places
from serving.release import Release
from serving.rollout import Traffic
from training.promote import Comparison, metric_of
from training.signature import Signature

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from serving.records.prediction import Prediction, Role
    from serving.records.store import Records

DAY_S = 86_400
_WINDOW = "labelled requests"
_SAME = ["id", "row", "horizon"]  # one quantity, predicted by both
# Of the workload's newest records, or labelled quantities, at the most: a tick must not take longer with each day.
_JUDGED = 100_000


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
    missing: int  # steps of a season that are without labels, where a whole one is to be judged on
    agreement: float | None

    def plain(self) -> dict[str, Any]:
        """For a record: what is not a number is None."""
        figures = {
            name: {"requests": one.requests, "errors": one.errors, "p99_ms": finite(one.p99_ms)}
            for name, one in (("champion", self.champion), ("challenger", self.challenger))
        }
        losses = None if self.losses is None else self.losses.row()
        return {**figures, "losses": losses, "agreement": None if self.agreement is None else finite(self.agreement)}


def gather(spec: Spec, places: Places, records: Records, release: Release) -> Evidence:
    """The evidence on the release's challenger: traffic since its step began, labelled pairs since its first."""
    after = max(release.after, records.newest(spec.name, back=_JUDGED))
    seen = records.traffic(spec.name, after=after)
    role = "shadow" if release.shadow else "challenger"
    compared, steps = _losses(spec, places, records, release)
    season = (spec.features.season or 0) if spec.rollout.min_labels is None else 0
    return Evidence(
        champion=seen.get((release.champion or "", "champion"), NoTraffic()),
        challenger=seen.get((release.challenger or "", role), NoTraffic()),
        losses=compared,
        missing=max(0, season - steps),
        agreement=_agreement(records, release, after) if release.shadow else None,
    )


def last(records: Records, workload: str, count: int, role: Role = "champion") -> list[Prediction]:
    """The workload's last `count` kept predictions in a role, oldest first."""
    back = 2 * count
    while True:
        after = records.newest(workload, back=back)
        found = deque(records.predictions(workload, after=after, role=role), maxlen=count)
        if len(found) == count or after == 0 or back > _JUDGED:
            return list(found)
        back *= 4


def answered_lately(records: Records, workload: str, enough: int) -> int:
    """How many requests the champion answered in the last 24 hours, counted up to `enough`."""
    since = time.time() - DAY_S
    return sum(one.at >= since for one in last(records, workload, enough))


def _agreement(records: Records, release: Release, after: int) -> float | None:
    """Equal labels' share; for numbers 1 less the mean difference in units of the champion's own interval. None where none was compared."""
    found = records.agreement(release.workload, after=after, version=release.challenger)
    if found.equal is not None:
        return found.equal
    return None if found.difference is None else max(0.0, 1 - found.difference)


def _losses(spec: Spec, places: Places, records: Records, release: Release) -> tuple[Comparison | None, int]:
    """Champion and challenger on the same labelled requests, and of how many steps (target times) those are; None where the workload's
    requests get no labels.

    A rollout that never shadows has no two answers to one request: then the two arms' means are compared. Of a long rollout the
    newest `_JUDGED` labelled quantities count.
    """
    versions = [release.champion or "", release.challenger or ""]
    signature = Signature.read(places.models(spec.name, versions[0]))
    records.absorb(signature, inputs.sole_entity(places, spec, signature))
    if records.labelled_until(spec.name) is None:
        return None, 0
    table = records.outcomes(
        spec.name,
        since=None,
        until=None,
        roles=("champion", "challenger", "shadow"),
        versions=versions,
        labelled=True,
        after=release.begun,
        most=_JUDGED,
    )
    metric = metric_of(spec.promote, spec.task, series=bool(spec.features.horizons))
    rows = table.to_pandas()
    rows["loss"] = losses(rows, spec, metric)
    sides = [rows[rows["version"] == version] for version in reversed(versions)]
    named = {"confidence": spec.rollout.confidence, "window": _WINDOW, "metric": "mae" if metric == "pinball" else metric}
    if "shadow" in spec.rollout.steps:
        pairs = _pairs(*sides)
        return _paired(pairs, **named), pairs["target_time_candidate"].nunique()
    return _apart(*(side["loss"].dropna().tolist() for side in sides), **named), sides[0]["target_time"].nunique()


def losses(rows: pd.DataFrame, spec: Spec, metric: str) -> np.ndarray:
    """The loss of each outcome: the absolute error of a number, right or wrong for `accuracy`, else minus the log of what the truth
    was given."""
    import numpy as np

    if spec.task != "classification":
        return (rows["prediction"] - rows["truth"]).abs().to_numpy(dtype=float)
    if metric == "accuracy":
        return (rows["label"] != rows["truth"]).to_numpy(dtype=float)
    return -np.log(rows["p_true"].to_numpy(dtype=float).clip(1e-15, 1.0))


def _pairs(candidate: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """One pair for each request's row, the mean of its horizons where it has several, in the order of time."""
    both = candidate.merge(reference, on=_SAME, suffixes=("_candidate", "_reference"))
    figures = both[["id", "row", "loss_candidate", "loss_reference", "target_time_candidate"]]
    return figures.groupby(["id", "row"], sort=False).mean().sort_values("target_time_candidate", kind="stable")


def _paired(pairs: pd.DataFrame, **named: Any) -> Comparison:
    from training.bootstrap import paired_bootstrap

    sides = (pairs[f"loss_{side}"].to_numpy(dtype=float) for side in ("candidate", "reference"))
    return paired_bootstrap(*sides, ordered=True, **named)


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
