"""What a workload's YAML says of leaks and of planted rows, and what they come to as results of the quality stage.

The looks themselves are data/leaks.py and data/poison.py; here is which of them stops a run, and what a person has allowed with a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints

from data import leaks, poison
from data.errors import UserError
from data.schema import Task
from data.section import DataSection, FeaturesSection, Section

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Level = Literal["critical", "warning", "off"]
Share = Annotated[float, Field(ge=0, le=1)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10)]

LEAKS = {
    "copy": "does not tell the target by itself",
    "sum": "do not add up to the target",
    "missing": "does not tell the target by where it is empty",
    "ahead": "does not hold what the target is only later",
    "later": "is not later than its row",
    "repeated": "has no row of the holdout among the training rows",
    "group": "is on one side of the split",
}
POISON = {
    "label": ("labels", "has labels that the other columns do not contradict"),
    "outlier": ("outliers", "has no values far from all others"),
    "trigger": ("triggers", "has no rare value that always comes with one label"),
}
_ROWS_KEPT = 200  # of each suspicion


class LeaksExpected(Section):
    """What a table may not tell of its truth. A column that may is named with the reason: it is known by then, and why.

    `severity` is for what is certain: what an honest column could show too is a warning, unless `kinds` says otherwise.
    """

    severity: Level = "critical"
    kinds: dict[Literal["copy", "sum", "missing", "ahead", "later", "repeated", "group"], Level] = Field(default_factory=dict)
    power: float = Field(default=0.98, gt=0.5, le=1)  # of the target, that one column must tell to be suspected
    groups: tuple[str, ...] = ()  # columns of which no value may be on both sides of the split
    allow: dict[str, Reason] = Field(default_factory=dict)


class PoisonExpected(Section):
    """Which share of the rows may look planted; more is reported, and with `severity: critical` stops the run."""

    severity: Level = "warning"
    labels: Share = 0.15
    outliers: Share = 0.01
    triggers: Share = 0.01


def results(
    df: pd.DataFrame,
    task: Task,
    data: DataSection,
    features: FeaturesSection,
    sides: np.ndarray,
    leak: LeaksExpected,
    planted: PoisonExpected,
) -> tuple[list[dict[str, Any]], pd.DataFrame | None]:
    """One result per kind of look, passed or not, shaped as data/quality.py's; and the rows under suspicion, or None."""
    refuse_unknown(data, leak)
    found: list[dict[str, Any]] = []
    if leak.severity != "off" or any(level != "off" for level in leak.kinds.values()):
        found += _of_leaks(df, task, data, features, sides, leak)
    rows: list[pd.DataFrame] = []
    if planted.severity != "off":
        found += _of_poison(df, task, data, planted, rows)
    import pandas as pd

    return found, pd.concat(rows, ignore_index=True) if rows else None


def refuse_unknown(data: DataSection, leak: LeaksExpected) -> None:
    """UserError where `allow` or `groups` name columns that are not there."""
    if unknown := sorted({*leak.allow, *leak.groups} - {*data.columns}):
        step = f"known: {', '.join(data.columns)}"
        what = f"quality.leaks names columns that are not in data.columns: {', '.join(unknown)}"
        raise UserError(what, next_step=step)


def _of_leaks(
    df: pd.DataFrame, task: Task, data: DataSection, features: FeaturesSection, sides: np.ndarray, leak: LeaksExpected
) -> list[dict[str, Any]]:
    suspects = leaks.find(df, task, data, features, sides, power=leak.power, groups=leak.groups)
    made = []
    for kind, text in LEAKS.items():
        named = leak.kinds.get(kind)  # pyright: ignore[reportCallIssue, reportArgumentType]  (the keys are the kinds)
        level = named or leak.severity
        if level == "off" or (kind == "group" and not leak.groups):
            continue
        of_kind = [one for one in suspects if one.kind == kind]
        told = [one for one in of_kind if not one.columns or not {*one.columns} <= {*leak.allow}]
        for one in told:
            so = level if named or one.certain else "warning"
            made.append(_row("leaks", kind, ", ".join(one.columns) or None, text, one.said, one.rows, len(df), so))
        if not told:
            allowed = [f"{name}: {leak.allow[name]}" for one in of_kind for name in one.columns]
            said = f"allowed: {'; '.join(allowed)}" if allowed else None
            made.append(_row("leaks", kind, None, f"(every column) {text}", said, None, len(df), level, passed=True))
    return made


def _of_poison(
    df: pd.DataFrame, task: Task, data: DataSection, planted: PoisonExpected, rows: list[pd.DataFrame]
) -> list[dict[str, Any]]:
    suspects, made = poison.find(df, task, data), []
    for kind, (limit_name, text) in POISON.items():
        limit = getattr(planted, limit_name)
        if kind != "outlier" and task != "classification":
            continue
        of_kind = [one for one in suspects if one.kind == kind]
        for one in of_kind:
            passed = one.share <= limit
            said = one.said + (f" ({limit:.1%} are accepted)" if not passed else "")
            made.append(_row("poison", kind, one.column, text, said, len(one.rows), one.of, planted.severity, passed=passed))
            if not passed:
                part = df.iloc[one.rows[:_ROWS_KEPT]].copy()
                part.insert(0, "__row", one.rows[:_ROWS_KEPT] + 1)
                part.insert(0, "__expectation", f"{one.column} {text}")
                rows.append(part)
        if not of_kind:
            made.append(
                _row("poison", kind, None, f"(every column) {text}", None, None, len(df), planted.severity, passed=True)
            )
    return made


def _row(
    check: str,
    kind: str,
    column: str | None,
    text: str,
    said: str | None,
    count: int | None,
    of: int,
    level: Level,
    *,
    passed: bool = False,
) -> dict[str, Any]:
    return {
        "check": check,
        "expectation": f"{check}_{kind}",
        "column": column,
        "expected": text,
        "observed": said,
        "unexpected_count": None,  # a share of all rows would say something else than what was looked at
        "unexpected_percent": None if count is None or passed else round(100 * count / max(of, 1), 4),
        "passed": passed,
        "severity": level,
    }
