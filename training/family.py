"""The contract that every model family keeps. A family is one folder below `training/` whose `__init__` declares `FAMILY`.

The loop is `training/fit.py`'s, the scores `training/evaluate.py`'s; a family brings its data, its module and its export.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import Field, PositiveInt

from data.errors import UserError
from data.schema import TableSchema
from data.section import Section

if TYPE_CHECKING:
    import lightning as L
    import pandas as pd

Size = Literal["tiny", "small", "base"]


class SearchSection(Section):
    """Hyper-parameter search with Optuna: how many trials, and the ranges by name (`lr: [1e-4, 1e-2]`, `width: [16, 32, 64]`)."""

    trials: PositiveInt
    space: Mapping[str, tuple[float, ...]] = {}  # empty: the family's own


class TrainSection(Section):
    """How a model is fitted. Everything but the dial `size` has a default that the size decides; `model` overrides single ones."""

    size: Size = "tiny"
    seed: int = 0
    max_steps: PositiveInt | None = None
    patience: PositiveInt = 12
    precision: Literal["auto", "32", "bf16"] = "auto"
    model: Mapping[str, float | int | str] = Field(default_factory=dict)
    search: SearchSection | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything the loop needs: the module, and two iterables of batches. `valid` decides early stopping by `monitor`."""

    module: L.LightningModule  # logs `train_loss` and `monitor` once per epoch; owns its optimiser and schedule
    train: Iterable[Any]  # re-iterable; shuffles itself anew on each pass, from `seed`
    valid: Iterable[Any]
    max_steps: int
    monitor: str = "valid_loss"


class Family(Protocol):
    """What a family's folder declares as `FAMILY`. Methods import torch and its kin inside."""

    name: str

    def defaults(self, size: Size) -> Mapping[str, float | int | str]:
        """What the dial decides: architecture, learning rate, steps; a key not in here is refused under `train.model`."""
        ...

    def search_space(self, size: Size) -> Mapping[str, tuple[float, ...]]:
        """The default ranges for `train.search`: two numbers are a log-uniform range, more are choices."""
        ...

    def prepare(self, table: pd.DataFrame, schema: TableSchema, settings: Mapping[str, Any], seed: int) -> Prepared:
        """From the train rows of the feature table to a module and its batches. UserError where the table cannot be learnt."""
        ...

    def export(self, prepared: Prepared, schema: TableSchema, workload: str, folder: Path) -> None:
        """After fitting: write model.onnx, model.safetensors and model.json (and nothing that is pickled) into `folder`."""
        ...


FAMILIES = ("tabular", "vision")


def family(name: str) -> Family:
    """The family of that name; UserError where there is none."""
    if name not in FAMILIES:
        raise UserError(f"unknown family {name!r}", next_step=f"write one of: {', '.join(FAMILIES)}")
    return import_module(f"training.{name}").FAMILY


def settings(chosen: Family, section: TrainSection) -> dict[str, Any]:
    """The size's defaults with the YAML's overrides; UserError names an unknown key."""
    known = dict(chosen.defaults(section.size))
    if unknown := sorted(set(section.model) - set(known)):
        raise UserError(f"unknown key under train.model: {', '.join(unknown)}", next_step=f"known: {', '.join(sorted(known))}")
    known |= section.model
    if section.max_steps is not None:
        known["max_steps"] = section.max_steps
    return known
