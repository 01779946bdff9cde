"""Evidently's one door (0.7.23): a window's rows against the reference, by fixed methods and our own calibrated thresholds.

Evidently's defaults are left aside on purpose: by itself it picks the test by the reference's size, which turns the value's meaning
round, and its threshold of 0.1 fires on small windows of the same distribution (20 rows: always; 200: one in eight). It raises on
empty columns and skips absent ones in silence; here both are findings. Nothing is sampled without saying so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.drift import measured
from data.drift.measured import Trait
from data.drift.reference import Reference, classes, column, places
from data.drift.replay import SAMPLE
from data.drift.statistics import handed, jensenshannon, share_moved, wasserstein
from data.drift.thresholds import Limit, Thresholds
from data.drift.verdict import Drift, Feature, Finding, conclude
from data.schema import spoken

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_TAKEN = {"index", "per", "mean", "std"}  # names that Evidently's pictures use for columns of their own
_LEAST = 5  # known values below this are no distribution


@dataclass(frozen=True)
class _Shares:
    """Of all rows of the window, not of the sample."""

    missing: float
    unseen: float
    new: tuple[str, ...]


def compare(
    current: pd.DataFrame,
    known: Reference,
    thresholds: Thresholds,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    html: Path | None = None,
    evidently: bool = True,
) -> Drift:
    """Compare a window's rows with the reference; Evidently's full page is written where `html` says so, unless there is nothing to draw.

    Never raises for what is wrong with the rows: no rows, absent columns, nothing but missing values and new classes are findings.
    Shares of missing and unseen values are those of all rows, distances those of at most `sample` of them. `evidently=False` takes the
    distances from data/drift/statistics.py, which equal Evidently's: 30 times as fast, no 7 s of import, and no page.
    """
    if current.empty:
        finding = Finding(kind="no data", column=None, said="the window has no rows")
        return _drift((), (finding,), 0, 0, known, thresholds, sample, seed)
    drawn = current.iloc[places(len(current), sample, seed)]
    widened = thresholds.widened(len(current))
    findings: list[Finding] = []
    shares = {trait.name: _shares(current, trait) for trait in known.traits}
    columns = {trait.name: column(drawn, trait) for trait in known.traits}
    able: list[Trait] = []
    for trait in known.traits:
        limit = thresholds.limits.get(trait.name)
        found = _finding(trait, limit, shares[trait.name], columns[trait.name], current, thresholds)
        findings += [] if found is None or found in findings else [found]
        if limit is not None and _count(columns[trait.name], trait) >= _LEAST and trait.missing < 1:
            able.append(trait)
    statistics, refused = (
        _evidently(able, columns, known, thresholds, widened, html) if evidently or html else (_own(able, columns, known), {})
    )
    findings += [
        Finding(kind="not compared", column=name, said=f"{spoken(name)}: Evidently refused it: {why}")
        for name, why in refused.items()
    ]
    features = tuple(
        _feature(
            trait, thresholds.limits.get(trait.name), statistics.get(trait.name), shares[trait.name], columns, known, widened
        )
        for trait in known.traits
    )
    return _drift(features, tuple(findings), len(current), len(drawn), known, thresholds, sample, seed, widened)


def _drift(
    features: tuple[Feature, ...],
    findings: tuple[Finding, ...],
    rows: int,
    sampled: int,
    known: Reference,
    thresholds: Thresholds,
    sample: int,
    seed: int,
    widened: float = 1.0,
) -> Drift:
    alarm, worst, said = conclude(features, findings)
    return Drift(
        alarm=alarm,
        worst=worst,
        said=said,
        features=features,
        findings=findings,
        rows=rows,
        sampled=sampled,
        reference_rows=known.rows,
        sample=sample,
        seed=seed,
        window=thresholds.window,
        false_alarms=thresholds.false_alarms,
        widened=round(widened, 6),
    )


def _shares(frame: pd.DataFrame, trait: Trait) -> _Shares:
    import numpy as np

    if not trait.of_classes:
        return _Shares(float(np.isnan(measured.numbers(frame, trait)).mean()), 0.0, ())
    found = measured.codes(frame, trait)
    new = found == len(trait.levels)
    missing = float((found < 0).mean())
    if trait.open or not new.any():
        return _Shares(missing, 0.0, ())
    names = tuple(dict.fromkeys(str(value) for value in measured.series(frame, trait.column)[new].head(1000)))[:3]
    return _Shares(missing, float(new.mean()), names)


def _finding(
    trait: Trait, limit: Limit | None, shares: _Shares, drawn: np.ndarray, current: pd.DataFrame, thresholds: Thresholds
) -> Finding | None:
    """What is red about a column before any distance."""
    name = trait.column
    if name not in current.columns:
        return Finding(kind="missing column", column=name, said=f"{spoken(name)}: the column is not in the window")
    if limit is None:
        return Finding(kind="not compared", column=name, said=f"{spoken(name)}: no threshold was calibrated for it")
    if trait.missing >= 1:
        return None
    if shares.missing >= 1:
        return Finding(kind="all missing", column=name, said=f"{spoken(name)}: every one of {len(current)} values is missing")
    allowed = limit.unseen * max(1.0, thresholds.window / len(current))
    if shares.unseen > allowed:
        new = ", ".join(repr(level) for level in shares.new)
        return Finding(
            kind="new category",
            column=name,
            said=f"{spoken(name)}: {100 * shares.unseen:.3g} % of the rows are of classes never seen: {new}",
        )
    if _count(drawn, trait) < _LEAST:
        return Finding(kind="too few values", column=name, said=f"{spoken(name)}: fewer than {_LEAST} values to compare")
    return None


def _count(values: np.ndarray, trait: Trait) -> int:
    import numpy as np

    return sum(value is not None for value in values) if trait.of_classes else int(np.isfinite(values).sum())


def _feature(
    trait: Trait,
    limit: Limit | None,
    statistic: float | None,
    shares: _Shares,
    columns: dict[str, np.ndarray],
    known: Reference,
    widened: float,
) -> Feature:
    threshold = None if limit is None else limit.distance * widened
    missing_threshold = None if limit is None else min(limit.missing * widened, 1.0)
    moved = abs(shares.missing - trait.missing)
    drifted = statistic is not None and threshold is not None and statistic >= threshold
    missing_drifted = missing_threshold is not None and moved > 0 and moved >= missing_threshold
    effect, words = _effect(trait, columns[trait.name], known) if statistic is not None else (None, "not compared")
    if missing_drifted:
        words += f", missing {100 * trait.missing:.3g} % -> {100 * shares.missing:.3g} %"
    return Feature(
        name=trait.name,
        column=trait.column,
        kind=trait.kind,
        method=trait.method,
        statistic=_plain(statistic),
        threshold=_plain(threshold),
        scaled=_plain(statistic / threshold) if statistic is not None and threshold else None,
        usual=None if limit is None else _plain(limit.usual),
        effect=_plain(effect),
        said=f"{spoken(trait.name)}: {words}",
        missing=_plain(shares.missing),
        missing_reference=float(f"{trait.missing:.6g}"),
        missing_threshold=_plain(missing_threshold),
        unseen=float(f"{shares.unseen:.6g}"),
        drifted=drifted,
        missing_drifted=missing_drifted,
        trending=limit is not None and limit.trending,
    )


def _effect(trait: Trait, values: np.ndarray, known: Reference) -> tuple[float, str]:
    """The effect's size and its words: std for numbers, the share of rows that moved for classes."""
    import numpy as np

    before = known.table[trait.name].to_numpy()
    if trait.of_classes:
        old, new = (measured.counts(classes(side, trait), trait) for side in (before, values))
        moved, gain = share_moved(old, new), new / new.sum() - old / old.sum()
        most = int(np.abs(gain).argmax())
        return (
            moved,
            f"{100 * moved:.3g} % of the rows are of other classes, {measured.names(trait)[most]!r} {100 * gain[most]:+.3g} %",
        )
    here, there = values[np.isfinite(values)], before[np.isfinite(before)]
    effect = float((here.mean() - there.mean()) / (trait.spread or 1.0))
    words = f"the mean moved by {effect:+.2g} std ({there.mean():.4g} -> {here.mean():.4g})"
    if there.std() > 0 and not 0.8 < here.std() / there.std() < 1.25:
        words += f", the std is {here.std() / there.std():.2g} times as large"
    return effect, words


def _evidently(
    able: Sequence[Trait],
    columns: dict[str, np.ndarray],
    known: Reference,
    thresholds: Thresholds,
    widened: float,
    html: Path | None,
) -> tuple[dict[str, float], dict[str, str]]:
    """Evidently's statistic per trait, and what it refused (numbers too large or too close to draw), each with its reason."""
    if not able:
        return {}, {}
    try:
        return _run(able, columns, known, thresholds, widened, html), {}
    except (ValueError, ArithmeticError) as why:
        if len(able) == 1:
            return {}, {able[0].name: f"{type(why).__name__}: {why}"}
    found: dict[str, float] = {}
    refused: dict[str, str] = {}
    for trait in able:
        one, no = _evidently([trait], columns, known, thresholds, widened, None)
        found, refused = found | one, refused | no
    if html is not None and refused:
        _evidently([trait for trait in able if trait.name in found], columns, known, thresholds, widened, html)
    return found, refused


def _own(able: Sequence[Trait], columns: dict[str, np.ndarray], known: Reference) -> dict[str, float]:
    """The same distances without Evidently."""
    import numpy as np

    found: dict[str, float] = {}
    for trait in able:
        before, here = known.table[trait.name].to_numpy(), columns[trait.name]
        if trait.of_classes:
            old, new = (measured.counts(classes(side, trait), trait) for side in (before, here))
            found[trait.name] = jensenshannon(old, new)
        else:
            before, here = (np.sort(side[np.isfinite(side)]) for side in (before, here))
            found[trait.name] = wasserstein(before, here, trait.spread or 1.0)
    return found


def _run(
    able: Sequence[Trait],
    columns: dict[str, np.ndarray],
    known: Reference,
    thresholds: Thresholds,
    widened: float,
    html: Path | None,
) -> dict[str, float]:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    metric_of = ValueDrift if html is not None else _undrawn()

    named = {trait.name: f"{trait.name} (column)" if trait.name in _TAKEN else trait.name for trait in able}
    definition = DataDefinition(
        numerical_columns=[named[trait.name] for trait in able if not trait.of_classes],
        categorical_columns=[named[trait.name] for trait in able if trait.of_classes],
    )

    def dataset(values: Any) -> Any:
        table = {named[trait.name]: _for_evidently(trait, values[trait.name]) for trait in able}
        return Dataset.from_pandas(pd.DataFrame(table), data_definition=definition)

    metrics: list[Any] = [
        metric_of(column=named[trait.name], method=trait.method, threshold=thresholds.limits[trait.name].distance * widened)
        for trait in able
    ]
    snapshot = Report(metrics, include_tests=True).run(
        dataset(columns), dataset({trait.name: known.table[trait.name].to_numpy() for trait in able})
    )
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        part = html.with_name(html.name + ".part")
        snapshot.save_html(str(part))
        part.replace(html)
    results: Any = snapshot.metric_results
    return {trait.name: float(results[metric.metric_id].value) for trait, metric in zip(able, metrics, strict=True)}


@cache
def _undrawn() -> Any:
    """Evidently's metric without its pictures: it draws two for each column, which is four fifths of its time, even where none is shown.

    Only `_render` of the one calculation is left out; where a later version names it otherwise, it draws again and is right all the same.
    """
    from evidently.metrics import ValueDrift

    class UndrawnDrift(ValueDrift):
        def to_calculation(self) -> Any:
            calculation: Any = super().to_calculation()
            calculation._render = lambda *_: []
            return calculation

    return UndrawnDrift


def _for_evidently(trait: Trait, values: np.ndarray) -> np.ndarray:
    return values if trait.of_classes else handed(values, trait.spread or 1.0, constant=trait.constant)


def _plain(value: float | None) -> float | None:
    """Six digits; what is not finite is None, for JSON."""
    import math

    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
