"""The naive baselines: what a model must beat before it may serve. They learn from the train rows at most a number.

Series: `persistence`, `seasonal-naive` and `seasonal-drift` were worked out with the features and stand in the table. Rows:
`majority` (the classes' shares), `mean`, `median` of the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from data.schema import TableSchema, baseline_column
from training.metrics import Classes, Numbers

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def answers(
    kind: str, train: pd.DataFrame, rows: pd.DataFrame, schema: TableSchema, classes: tuple[str, ...]
) -> Numbers | Classes:
    """The baseline's answers for `rows`; NaN where it has none. KeyError where the table lacks its column."""
    if schema.task == "classification":
        if kind == "majority":
            return Classes(_shares(train[schema.targets[0]], len(rows), classes))
        return Classes(_held(kind, train, rows, schema, classes))
    return Numbers(_points(kind, train, rows, schema))


def _points(kind: str, train: pd.DataFrame, rows: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    import numpy as np

    if kind in ("mean", "median"):
        values = train[list(schema.targets)].to_numpy(dtype=float)
        return np.broadcast_to((np.nanmean if kind == "mean" else np.nanmedian)(values, axis=0), (len(rows), values.shape[1]))
    return rows[_columns(kind, schema)].to_numpy(dtype=float)


def _columns(kind: str, schema: TableSchema) -> list[str]:
    return [baseline_column(kind, horizon) for horizon in schema.horizons or (None,)]


def _shares(labels: Any, rows: int, classes: tuple[str, ...]) -> np.ndarray:
    """The classes' shares of the train rows (one added to each count, so that none is impossible), for every row."""
    import numpy as np

    counts = labels.astype(str).value_counts().to_dict()
    shares = np.array([counts.get(label, 0) + 1.0 for label in classes])
    return np.broadcast_to(shares / shares.sum(), (rows, len(classes)))


def _held(kind: str, train: pd.DataFrame, rows: pd.DataFrame, schema: TableSchema, classes: tuple[str, ...]) -> np.ndarray:
    """The label that the baseline names gets the share of train rows on which it was right; the others share the rest."""
    import numpy as np

    column = _columns(kind, schema)[0]
    known = train[column].notna() & train[schema.targets[0]].notna()
    right = (
        (train.loc[known, column].astype(str) == train.loc[known, schema.targets[0]].astype(str)).mean() if known.any() else 0.0
    )
    others = max(len(classes) - 1, 1)
    share = min(max(float(right), 1.01 / len(classes)), 0.999)  # never so low that another label would be the likeliest
    codes = label_codes(rows[column], classes)
    p = np.full((len(rows), len(classes)), (1 - share) / others)
    p[np.arange(len(rows))[codes >= 0], codes[codes >= 0]] = share
    p[codes < 0] = np.nan
    return p


def label_codes(labels: Any, classes: tuple[str, ...]) -> np.ndarray:
    """Each label's index among `classes`; -1 for missing and unknown ones."""
    import pandas as pd

    text = labels.astype(str).where(labels.notna(), None)
    return pd.Categorical(text, categories=list(classes)).codes.astype(int)
