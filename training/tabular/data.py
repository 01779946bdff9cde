"""From the train rows to tensors: what the net reads, the truth in its unit, and which member leaves out which rows.

Each member of the pack leaves out one eighth of the rows: blocks of time where there is a time, else a stratified draw. So the
pack sees every row, the newest too, and yet each has a validation loss that early stopping and calibration can trust.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from data.errors import UserError
from data.schema import SPLIT, TableSchema
from training.tabular.columns import Encoded, Recipe
from training.tabular.survey import fit_recipe, time_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

FOLDS = 8
BLOCKS = 24  # of time, at most: fold 0 has the newest, the 9th newest, ...
VALIDATED = 10_000  # rows an epoch, over all members
CLASSES = 1000
DISCRETE = 32  # a column of so few values has an interval between each two of them
_FEWEST = 8


class Target(BaseModel):
    """How the truth is scaled: (unit - centre) / spread, where unit is the level-free truth or its log1p. Empty for classes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    centre: tuple[float, ...] = ()  # by horizon
    spread: tuple[float, ...] = ()
    log: bool = False
    highest: float = 0.0  # log: the largest unit; exp grows without bound
    low: float | None = None  # the target is never below


@dataclass(frozen=True)
class Rows:
    """N train rows as tensors. K members, H horizons."""

    recipe: Recipe
    target: Target
    tensors: tuple[torch.Tensor, ...]  # x_NC, missing_NM, code_NJ, y_NH (classes: N), weight_NH, keep_NK, level_N3
    left_out_KM: torch.Tensor  # rows that each member leaves out, as many for each


class LeftOut:
    """Validation batches: rows in the order of members, the same number for each, so that each judges what it never saw."""

    def __init__(self, rows: Rows, size: int = 4096) -> None:
        self.rows, self.each = rows, max(1, size // len(rows.left_out_KM))

    def __len__(self) -> int:
        return math.ceil(self.rows.left_out_KM.shape[1] / self.each)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        for chosen in self.rows.left_out_KM.split(self.each, dim=1):
            yield tuple(tensor[chosen.flatten()] for tensor in self.rows.tensors)


def rows_of(table: pd.DataFrame, schema: TableSchema, members: int, seed: int) -> Rows:
    """The train rows. UserError where they are too few, or the target or every input holds one value only."""
    import numpy as np
    import torch

    train: Any = table[table[SPLIT] == "train"] if SPLIT in table.columns else table
    classify = schema.task == "classification"
    truth = _labels(train, schema) if classify else _numbers(train, schema)
    known = (truth >= 0) if classify else np.isfinite(truth).any(axis=1)
    train, truth = train[known].reset_index(drop=True), truth[known]
    if len(train) < _FEWEST:
        raise UserError(
            f"{len(train)} train rows with a known {schema.target!r}; at least {_FEWEST} are needed",
            where="features/table.parquet",
            next_step="bring more rows, or lower data.holdout",
        )
    if len(np.unique(truth[np.isfinite(truth)])) < 2:
        raise UserError(
            f"{schema.target!r} is {_only(truth, schema)} in every train row: there is nothing to learn",
            where="data.target",
            next_step="name another target, or bring rows with other values",
        )
    recipe = fit_recipe(train, schema, truth if not classify else truth[:, None].astype(float))
    if not recipe.kept and not any(count > 2 for count in recipe.cardinalities):
        raise UserError("every input holds one value only", where="data.columns", next_step="add columns that vary")
    encoded = recipe.encode(train)
    time, reach = time_of(train, schema), _reach(schema)
    begins = _blocks(time, reach)
    fold = _folds(train, begins, truth if classify else None, time, seed)
    keep, left_out = _keep(fold, members, begins, time, reach), _left_out(fold, members, seed)
    target, y, weight = _classes(truth) if classify else _scaled(truth, encoded, schema)
    level = np.stack([encoded.location_N, encoded.scale_N, _recency(time, len(train))], axis=1)
    arrays = (encoded.x_NC, encoded.missing_NM, encoded.code_NJ, y, weight, keep, level)
    return Rows(
        recipe=recipe,
        target=target,
        tensors=tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays),
        left_out_KM=torch.from_numpy(left_out),
    )


def edges(x_NC: torch.Tensor, bins: int) -> list[np.ndarray]:
    """The borders of each column's intervals, from at most 20,000 rows: its values where they are few, else its quantiles."""
    import numpy as np

    some = x_NC[:: max(1, len(x_NC) // 20_000)].double().numpy()
    borders = []
    for column in some.T:
        values = np.unique(column)
        few = len(values) <= DISCRETE
        borders.append(values if few else np.unique(np.quantile(column, np.linspace(0, 1, bins + 1))))
    return borders


def _labels(train: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """The class's number [N], -1 where the truth is unknown."""
    import pandas as pd

    if len(schema.classes) > CLASSES:
        raise UserError(
            f"{schema.target!r} has {len(schema.classes)} classes, at most {CLASSES} are learnt",
            where="data.target",
            next_step="is it an id, or a number? then change task or target",
        )
    return pd.Index(schema.classes, dtype=object).get_indexer(pd.Index(train[schema.targets[0]].astype(object)))


def _numbers(train: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    import numpy as np

    truth = train[list(schema.targets)].to_numpy("float64", na_value=np.nan)
    return np.where(np.isfinite(truth), truth, np.nan)


def _only(truth: np.ndarray, schema: TableSchema) -> str:
    if schema.task == "classification":
        return repr(schema.classes[int(truth[0])])
    return f"{truth[~(truth != truth)][0]:g}"


def _classes(truth: np.ndarray) -> tuple[Target, np.ndarray, np.ndarray]:
    import numpy as np

    return Target(), truth.astype("int64"), np.ones((len(truth), 1), "float32")


def _scaled(truth: np.ndarray, encoded: Encoded, schema: TableSchema) -> tuple[Target, np.ndarray, np.ndarray]:
    """The truth free of its level [N, H], and how much each counts: in the loss, errors are in the target's own unit."""
    import numpy as np

    free = (truth - encoded.location_N[:, None]) / encoded.scale_N[:, None]
    known = np.isfinite(free)
    low = float(truth[known].min())
    log = not schema.horizons and low >= 0 and _skew(free[known]) > 1
    unit = np.log1p(free) if log else free
    centre, spread = np.zeros(unit.shape[1]), np.ones(unit.shape[1])
    for h in range(unit.shape[1]):
        values = unit[known[:, h], h]
        q = np.quantile(values, (0.25, 0.5, 0.75))
        centre[h] = q[1]
        spread[h] = next((s for s in (q[2] - q[0], values.std()) if s > 1e-9 * max(1.0, abs(q[1]))), 1.0)
    highest = float(unit[known].max()) + 0.5
    errors = np.expm1(centre + spread) - np.expm1(centre) if log else spread
    weight = known * encoded.scale_N[:, None] / max(float((encoded.scale_N[:, None] * errors)[known].mean()), 1e-300)
    target = Target(
        centre=tuple(centre.tolist()), spread=tuple(spread.tolist()), log=log, highest=highest, low=0.0 if low >= 0 else None
    )
    return target, np.where(known, free, 0.0).astype("float32"), weight.astype("float32")


def _skew(values: np.ndarray) -> float:
    import numpy as np

    spread = values.std()
    return float((((values - values.mean()) / spread) ** 3).mean()) if np.isfinite(spread) and spread > 0 else 0.0


def _folds(train: pd.DataFrame, begins: np.ndarray | None, labels: np.ndarray | None, time: Any, seed: int) -> np.ndarray:
    """The fold of each row, 0 to FOLDS - 1."""
    import numpy as np

    if begins is not None:
        return (len(begins) - np.searchsorted(begins, time, side="right")) % FOLDS
    drawn = np.random.default_rng(seed).random(len(train))
    order = np.lexsort((drawn, labels if labels is not None else np.zeros(len(train))))
    fold = np.empty(len(train), "int64")
    fold[order] = np.arange(len(train)) % FOLDS
    return fold


def _blocks(time: np.ndarray | None, reach: int) -> np.ndarray | None:
    """Where blocks of time begin, ascending: each at least four times as long as the truth reaches ahead, if that leaves FOLDS."""
    import numpy as np

    if time is None:
        return None
    fits = int((time.max() - time.min()) // (4 * reach)) if reach else BLOCKS
    count = int(np.clip(fits, FOLDS, BLOCKS))
    begins = np.unique(np.quantile(time, np.arange(count) / count, method="lower"))
    return begins if len(begins) >= FOLDS else None


def _reach(schema: TableSchema) -> int:
    return max(schema.horizons, default=0) * (schema.step_seconds or 0)


def _keep(fold: np.ndarray, members: int, begins: np.ndarray | None, time: Any, reach: int) -> np.ndarray:
    """Which rows each member learns from [N, K]: none that it leaves out, none whose truth overlaps one of these."""
    import numpy as np

    out = fold[:, None] == np.arange(members) % FOLDS
    keep = ~out
    if begins is not None and reach:
        ends = np.append(begins[1:], time.max() + 1)
        for begin, end in zip(begins, ends, strict=True):
            gap = min(reach, (end - begin) // 2)
            near = ((time >= begin - gap) & (time < begin)) | ((time >= end) & (time < end + gap))
            keep[np.ix_(near, out[np.argmax(time >= begin)])] = False
    return keep.astype("float32")


def _recency(time: np.ndarray | None, rows: int) -> np.ndarray:
    """How much a row counts when quantiles are calibrated: half at each eighth of the whole time back. Noise changes with time."""
    import numpy as np

    if time is None or time.max() == time.min():
        return np.ones(rows)
    return np.exp2(-8 * (time.max() - time) / (time.max() - time.min()))


def _left_out(fold: np.ndarray, members: int, seed: int) -> np.ndarray:
    """The rows [K, M] that each member is judged by."""
    import numpy as np

    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(fold == member % FOLDS) for member in range(members)]
    each = min([len(place) for place in places] + [max(1, VALIDATED // members)])
    return np.stack([np.sort(rng.choice(place, each, replace=False)) for place in places])
