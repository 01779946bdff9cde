"""What a model scored, window by window and horizon by horizon, each loss with the bootstrap's interval of its mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assets.spec import Spec
from data.places import Places
from data.schema import ROW_ID, SPLIT, TIME, TableSchema
from training.metrics import HIGHER_IS_BETTER
from training.promote import FROZEN, metric_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PART = "part"  # the window of slices that nobody declared: each class
_FEWEST, _MOST = 10, 20  # rows of such a slice, and such slices
_TIMES = 400  # resamples: the ends of a 90 % interval move by 2 % of its width, in a fifth of the gate's time
_CANDIDATE = "candidate"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One metric of one slice. `low` and `high` are None where no loss of single rows was kept (rmse, coverage, frozen rows)."""

    metric: str
    slice: str
    rows: int
    value: float
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    window: str = ""
    horizon: int | None = None

    @property
    def beaten(self) -> bool:
        """Whether the naive baseline does at least as well."""
        if self.baseline is None:
            return False
        return self.value <= self.baseline if self.metric in HIGHER_IS_BETTER else self.value >= self.baseline


def judged_by(spec: Spec) -> str:
    """The gate's metric."""
    return metric_of(spec.promote, spec.task, series=bool(spec.features.horizons))


def figures(spec: Spec, places: Places, schema: TableSchema) -> tuple[Figure, ...]:
    """All that scores.json holds of the model, the gate's metric first. A window without rows has no figures."""
    from training import evaluate
    from training.holdout import holdout_rows, windows

    store = places.store(spec.name)
    scores = json.loads((store / "scores.json").read_bytes())
    rows = holdout_rows(_rows(spec, places, schema), schema)
    losses = evaluate.read_losses(store / "evaluation").set_index(ROW_ID).reindex(rows[ROW_ID])
    inside = windows(rows, schema, spec.promote)
    found: list[Figure] = []
    for window in (*inside, *([FROZEN] if FROZEN in scores else [])):
        told = scores.get(window) or {}
        for horizon in (None, *(schema.horizons if len(schema.horizons) > 1 else ())):
            found += _of_slice(spec, window, horizon, told, losses, inside.get(window), ordered=TIME in rows.columns)
    first = judged_by(spec)
    found += _parts(spec, schema, rows, losses, first)
    return tuple(sorted(found, key=lambda one: one.metric != first))


def _parts(spec: Spec, schema: TableSchema, rows: pd.DataFrame, losses: pd.DataFrame, metric: str) -> list[Figure]:
    """The gate's metric of each class, where these are a few. Without the baseline's: that a naive answer is right about the class
    that it always names says nothing. Not of each entity: an entity may be a person, and a card is shown to others."""
    if schema.task != "classification":
        return []
    found, truth = [], rows[schema.targets[0]].astype(str)
    for value in sorted(truth.unique()) if 1 < truth.nunique() <= _MOST else ():
        inside = (truth == value).to_numpy()
        mean, low, high = _mean(losses, metric, inside, spec.promote.confidence, ordered=TIME in rows.columns)
        if inside.sum() >= _FEWEST and mean is not None:
            named = {"metric": metric, "slice": f"truth {value}", "rows": int(inside.sum()), "window": PART}
            found.append(Figure(**named, value=mean, low=low, high=high))
    return found


def _of_slice(
    spec: Spec,
    window: str,
    horizon: int | None,
    told: dict[str, Any],
    losses: pd.DataFrame,
    inside: np.ndarray | None,
    *,
    ordered: bool,
) -> list[Figure]:
    mine, theirs = ((told.get(who) or {}) for who in (_CANDIDATE, "baseline"))
    if horizon is not None:
        mine, theirs = mine.get(f"h{horizon}") or {}, theirs.get(f"h{horizon}") or {}
    found = []
    for metric, value in mine.items():
        if isinstance(value, dict) or value is None:
            continue
        column = metric if horizon is None else f"{metric}/h{horizon}"
        _, low, high = _mean(losses, column, inside, spec.promote.confidence, ordered=ordered)
        found.append(
            Figure(
                metric=metric,
                slice=window if horizon is None else f"{window}, {horizon} steps ahead",
                rows=int(told["rows"]),
                value=value,
                low=low,
                high=high,
                baseline=theirs.get(metric),
                window=window,
                horizon=horizon,
            )
        )
    return found


def _mean(
    losses: pd.DataFrame, column: str, inside: np.ndarray | None, confidence: float, *, ordered: bool
) -> tuple[float | None, float | None, float | None]:
    """The mean loss over the rows that model and baseline both answered, and the ends of its interval; of a rate of hits, the other
    way round."""
    import numpy as np

    from training.bootstrap import paired_bootstrap

    if inside is None or f"{_CANDIDATE}/{column}" not in losses.columns:
        return None, None, None
    own = losses[f"{_CANDIDATE}/{column}"].to_numpy(dtype=float)[inside]
    other = next((name for name in losses.columns if name.endswith(f"/{column}") and not name.startswith(_CANDIDATE)), None)
    if other is not None:
        own = np.where(np.isfinite(losses[other].to_numpy(dtype=float)[inside]), own, np.nan)
    found = paired_bootstrap(own, np.zeros_like(own), confidence=confidence, ordered=ordered, times=_TIMES)
    if not found.sound:
        return None, None, None
    told = (found.candidate, found.low, found.high)
    if column.partition("/")[0] in HIGHER_IS_BETTER:
        told = (1 - found.candidate, 1 - found.high, 1 - found.low)
    mean, low, high = (float(f"{one:.6g}") for one in told)
    return mean, low, high


def _rows(spec: Spec, places: Places, schema: TableSchema) -> pd.DataFrame:
    """The columns of the features that the windows are cut by; the rest of a wide table is not read."""
    import pandas as pd
    import pyarrow.parquet as pq

    file = places.store(spec.name) / "features" / "table.parquet"
    sliced = {column for rules in spec.promote.slices.values() for column in rules}
    wanted = {ROW_ID, SPLIT, TIME, *schema.targets} | sliced
    return pd.read_parquet(file, columns=[name for name in pq.read_schema(file).names if name in wanted])
