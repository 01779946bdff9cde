"""The rows that a model is judged on, and the windows of them that the gate looks at one by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.schema import ROW_ID, SPLIT, TIME, TableSchema
from training.promote import FROZEN, HOLDOUT, NEWEST, Between, PromoteSection, Rule, Window

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def holdout_rows(table: pd.DataFrame, schema: TableSchema, side: str = HOLDOUT) -> pd.DataFrame:
    """The holdout rows (or the frozen ones: `side`) whose truth is known, in the order of time where there is one. UserError where
    there are none."""
    rows = table.loc[table[SPLIT] == side] if SPLIT in table.columns else table
    rows = rows.loc[rows[list(schema.targets)].notna().all(axis=1)]
    if rows.empty:
        raise UserError(f"there are no {side} rows to score", next_step="raise data.holdout, or bring more rows")
    return rows.sort_values([TIME, ROW_ID] if TIME in rows.columns else [ROW_ID], ignore_index=True)


def has_frozen(table: pd.DataFrame) -> bool:
    """Whether rows were kept to bound regression."""
    return SPLIT in table.columns and bool((table[SPLIT] == FROZEN).any())


def gate_window(table: pd.DataFrame, schema: TableSchema) -> Window | None:
    """From the first truth of the holdout up to, not with, the end of its last; None for a table without time."""
    from datetime import timedelta

    if TIME not in table.columns or not schema.time:
        return None
    times = holdout_rows(table, schema)[TIME]
    reach, last = schema.horizons or (0,), timedelta(seconds=schema.step_seconds or 1)
    step = timedelta(seconds=schema.step_seconds or 0)
    return times.min().to_pydatetime() + min(reach) * step, times.max().to_pydatetime() + max(reach) * step + last


def windows(rows: pd.DataFrame, schema: TableSchema, promote: PromoteSection) -> dict[str, np.ndarray]:
    """Which of the rows each window holds: all, the newest where there is a time, each declared slice.

    UserError where a slice names a column that is not among the features.
    """
    import numpy as np

    found = {HOLDOUT: np.ones(len(rows), dtype=bool)}
    if TIME in rows.columns:
        found[NEWEST] = np.arange(len(rows)) >= len(rows) - math.ceil(promote.newest * len(rows))
    for name, rules in promote.slices.items():
        inside = np.ones(len(rows), dtype=bool)
        for column, rule in rules.items():
            if column not in rows.columns:
                known = ", ".join(c.name for c in schema.inputs)
                raise UserError(f"promote.slices.{name}: no column {column!r} in the features", next_step=f"one of: {known}")
            inside &= _obeys(rows[column], rule)
        found[name] = inside
    return found


def _obeys(values: Any, rule: Rule) -> np.ndarray:
    """Which values obey: a range, one of several, or the one."""
    if isinstance(rule, Between):
        above = values.notna() if rule.min is None else values >= rule.min
        return (above if rule.max is None else above & (values < rule.max)).to_numpy(dtype=bool)
    wanted = rule if isinstance(rule, tuple) else (rule,)
    if values.dtype == object:
        return values.astype(str).isin([str(value) for value in wanted]).to_numpy()
    return values.isin(wanted).to_numpy()
