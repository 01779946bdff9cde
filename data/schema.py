"""The nouns that every stage shares: a column, and the table of examples that features hand to training."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

Task = Literal["classification", "regression", "forecasting"]
OnStale = Literal["refuse", "flag"]
Kind = Literal["number", "integer", "boolean", "category", "time", "image"]

# Columns of features/table.parquet that are ours. A user's column may not begin with two underscores.
ROW_ID = "__row_id"  # int64, unique, stable: what losses and predictions are joined by
SPLIT = "__split"  # "train" | "holdout"
TIME = "__time"  # datetime64[us, UTC]: what was known when (absent where the workload has no time)
TARGET = "__target"  # the truth; forecasting: __target_h4, __target_h52, one column per horizon

PREDICTION = "__prediction"  # what a model answered, where it is watched like a column: __prediction_h4 for a horizon

_TEXT = re.compile(r"(number|integer|boolean|category|time|image)(?:\[(\d+(?:,\d+)*)\])?(\??)")
_ANSWERED = re.compile(rf"{PREDICTION}(?:_h(\d+))?")


def spoken(name: str) -> str:
    """A column's name as a person is told it: `the prediction 4 steps ahead` for `__prediction_h4`, else as it is."""
    found = _ANSWERED.fullmatch(name)
    if found is None:
        return name
    return f"the prediction {found[1]} steps ahead" if found[1] else "the prediction"


class Column(BaseModel):
    """One column: its name (any unicode), what kind of value it holds, whether it may be missing, and a row's shape (images)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Kind
    nullable: bool = False
    shape: tuple[int, ...] = ()

    @classmethod
    def parse(cls, name: str, text: str) -> Column:
        """`number`, `category?`, `image[8,8]` as written in YAML; ValueError names the column."""
        match = _TEXT.fullmatch(text.replace(" ", ""))
        if match is None or bool(match[2]) != (match[1] == "image"):
            raise ValueError(
                f"columns: {name}: {text!r} is not a kind; write number, integer, boolean, category, time or image[H,W], with ? where missing values are allowed"
            )
        shape = tuple(int(n) for n in match[2].split(",")) if match[2] else ()
        return cls(name=name, kind=match[1], nullable=bool(match[3]), shape=shape)  # pyright: ignore[reportArgumentType]  (the expression allows only kinds)

    def __str__(self) -> str:
        return f"{self.kind}{list(self.shape) if self.shape else ''}{'?' if self.nullable else ''}"


class TableSchema(BaseModel):
    """What `features/table.parquet` holds (`features/schema.json`): the model's inputs in order, and the truth's columns.

    The table has one row per example: ROW_ID, SPLIT, TIME (where there is one), the entity (where there is one), every input
    under its own name, the columns of `targets`, and for series one column per naive forecast and horizon, `baseline_column()`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    target: str  # the user's name for it
    inputs: tuple[Column, ...]
    targets: tuple[str, ...] = (TARGET,)
    stored: tuple[str, ...] = ()  # the inputs that the online store completes when a request names the entity
    known: tuple[str, ...] = ()  # the inputs that a request brings itself
    entity: str | None = None
    time: str | None = None
    horizons: tuple[int, ...] = ()
    step_seconds: int | None = None
    season: int | None = None
    ttl_seconds: int | None = None
    on_stale: OnStale = "refuse"
    level_free: bool = True
    classes: tuple[str, ...] = ()  # classification: every label, sorted; truth is stored as the label's text

    @model_serializer(mode="wrap")
    def _as_ever(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is usual is not written: the bytes of tables that state nothing of it stay what they were."""
        return unless_usual(write(self))


def unless_usual(written: dict[str, Any]) -> dict[str, Any]:
    """What is written of a schema or a signature, without `on_stale` where it is the usual one."""
    return {name: value for name, value in written.items() if (name, value) != ("on_stale", "refuse")}


def target_column(horizon: int | None = None) -> str:
    """The truth's column: `__target`, or `__target_h4` for a horizon of 4 steps."""
    return TARGET if horizon is None else f"{TARGET}_h{horizon}"


def baseline_column(kind: str, horizon: int | None = None) -> str:
    """The column of a naive forecast (`persistence`, `seasonal-naive`, `seasonal-drift`) for one horizon; NaN where unknown."""
    return f"__{kind}" if horizon is None else f"__{kind}_h{horizon}"
