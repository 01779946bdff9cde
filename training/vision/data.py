"""From the feature table's image column and labels to tensors: what the net may learn from, and what decides when it stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.schema import Column, TableSchema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

VALIDATION = 0.15  # of each class


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Images x [N, C, H, W] and classes y [N], apart for training and validation, and the train images' mean and deviation."""

    x_train: torch.Tensor
    y_train: torch.Tensor
    x_valid: torch.Tensor
    y_valid: torch.Tensor
    mean: float
    deviation: float


def image_column(schema: TableSchema) -> Column:
    """The one column that this family reads; UserError where the workload has another shape."""
    images = [column for column in schema.inputs if column.kind == "image"]
    others = [column.name for column in schema.inputs if column.kind != "image"]
    if schema.task != "classification":
        raise UserError(f"the vision family classifies; it does not do {schema.task}", next_step="set task: classification")
    if len(images) != 1 or others:
        raise UserError(
            f"the vision family reads one image column; the features have {len(images)} and beside it {', '.join(others) or 'nothing'}",
            next_step="declare one column as image[H,W] and name the others under data.ignore",
        )
    if len(images[0].shape) not in (2, 3) or min(images[0].shape[-2:]) < 4:
        raise UserError(
            f"{images[0].name}: images are [H, W] or [C, H, W] with sides of at least 4 pixels", where="data.columns"
        )
    return images[0]


def pictures_of(table: pd.DataFrame, schema: TableSchema, seed: int) -> Pictures:
    """The train rows as tensors, split by class at random from `seed`. UserError where there is nothing to tell apart."""
    import numpy as np
    import torch

    column = image_column(schema)
    if table.empty:
        raise UserError("there are no rows to learn from", next_step="bring more rows, or lower data.holdout")
    codes = np.array([schema.classes.index(str(label)) for label in table[schema.targets[0]]])
    if len(np.unique(codes)) < 2:
        raise UserError(
            f"every train row has the same {schema.target}: {schema.classes[codes[0]]!r}",
            next_step="bring rows of at least two classes",
        )
    pixels = _pixels(table[column.name], column)
    train, valid = _split(codes, np.random.default_rng(seed))
    x, y = torch.from_numpy(pixels), torch.from_numpy(codes)
    learnt = pixels[train]
    return Pictures(
        x_train=x[train],
        y_train=y[train],
        x_valid=x[valid],
        y_valid=y[valid],
        mean=float(learnt.mean()),
        deviation=float(learnt.std()) or 1.0,
    )


def _pixels(values: Any, column: Column) -> np.ndarray:
    """[N, C, H, W] float32."""
    import numpy as np

    shape = column.shape if len(column.shape) == 3 else (1, *column.shape)
    try:
        pixels = np.stack([np.asarray(value, dtype=np.float32).reshape(shape) for value in values])
    except (TypeError, ValueError) as error:
        raise UserError(f"{column.name}: a row does not hold {' x '.join(map(str, column.shape))} numbers: {error}") from error
    if not np.isfinite(pixels).all():
        raise UserError(f"{column.name}: some pixels are missing or infinite")
    return pixels


def _split(codes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training and validation. A class with a single row is learnt and not validated; none left over: both see all."""
    import numpy as np

    valid = np.zeros(len(codes), dtype=bool)
    for code in np.unique(codes):
        rows = rng.permutation(np.flatnonzero(codes == code))
        valid[rows[: round(VALIDATION * len(rows))]] = True
    if not valid.any():
        return np.arange(len(codes)), np.arange(len(codes))
    return np.flatnonzero(~valid), np.flatnonzero(valid)
