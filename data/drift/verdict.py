"""What a comparison found, in plain values: per feature, the findings that are red by themselves, and whether to raise the alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

FindingKind = Literal["no data", "missing column", "all missing", "new category", "too few values", "not compared"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Red, whatever the distances say."""

    kind: FindingKind
    column: str | None
    said: str


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One measure of one column. `statistic` and `threshold` are Evidently's, `scaled` their ratio: 1 is the threshold.

    `effect` is the mean's move in std of the reference, for classes the share of rows that moved. None: it could not be computed.
    """

    name: str
    column: str
    kind: str
    method: str
    statistic: float | None
    threshold: float | None
    scaled: float | None
    usual: float | None
    effect: float | None
    said: str
    missing: float | None
    missing_reference: float
    missing_threshold: float | None
    unseen: float
    drifted: bool
    missing_drifted: bool
    trending: bool

    @property
    def alarming(self) -> bool:
        """Whether it raises the alarm: a column that always moves does not by having moved."""
        return self.missing_drifted or (self.drifted and not self.trending)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One window against the reference. The samples' sizes and the seed say how it can be repeated."""

    alarm: bool
    worst: str | None  # the column that alarms most, else the one nearest to its limit
    said: str
    features: tuple[Feature, ...]
    findings: tuple[Finding, ...]
    rows: int
    sampled: int
    reference_rows: int
    sample: int
    seed: int
    window: int
    false_alarms: float
    widened: float  # how much wider the limits were, because the window was smaller than calibrated

    def to_json(self) -> dict[str, Any]:
        """Plain values; no NaN."""
        features = [asdict(feature) | {"alarming": feature.alarming} for feature in self.features]
        return asdict(self) | {"features": features, "findings": [asdict(finding) for finding in self.findings]}


def conclude(features: Sequence[Feature], findings: Sequence[Finding]) -> tuple[bool, str | None, str]:
    """The alarm, the worst column, and one sentence for a person."""
    alarming = [feature for feature in features if feature.alarming]
    ranked = sorted(alarming or [f for f in features if not f.trending] or features, key=_size, reverse=True)
    worst = findings[0].column if findings and not alarming else (ranked[0].name if ranked else None)
    reasons = [finding.said for finding in findings] + [feature.said for feature in sorted(alarming, key=_size, reverse=True)]
    trending = sum(feature.trending and feature.drifted for feature in features)
    if reasons:
        more = f", and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        return True, worst, "; ".join(reasons[:3]) + more
    beside = f" ({trending} trending columns moved on, as they always do)" if trending else ""
    return False, worst, f"none of {len(features)} columns drifted{beside}"


def _size(feature: Feature) -> float:
    missing = 0.0
    if feature.missing is not None and feature.missing_threshold:
        missing = abs(feature.missing - feature.missing_reference) / feature.missing_threshold
    return max(feature.scaled or 0.0, missing)
