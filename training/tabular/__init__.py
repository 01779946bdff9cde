"""Tables to numbers or classes: small packed MLPs on piecewise-linear embeddings, one graph from the raw columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.schema import TableSchema

if TYPE_CHECKING:
    import pandas as pd

    from training.family import Prepared, Size

# members: MLPs packed into one; width: of their two layers; bins: intervals a numeric column is cut into; embedding: numbers
# that a column becomes. batch 0: by the number of rows. A column's embedding grows with `bins`, a fit with `max_steps`.
_SIZES: dict[str, dict[str, float | int | str]] = {
    "tiny": {"members": 4, "width": 32, "bins": 8, "embedding": 4, "max_steps": 800},
    "small": {"members": 8, "width": 64, "bins": 8, "embedding": 4, "max_steps": 2000},
    "base": {"members": 8, "width": 128, "bins": 16, "embedding": 8, "max_steps": 4000},
}
_ALL: dict[str, float | int | str] = {"lr": 6e-3, "weight_decay": 0.3, "dropout": 0.0, "batch": 0}


@dataclass(frozen=True)
class Tabular:
    """The family's contract (`training/family.py`)."""

    name: str = "tabular"

    def defaults(self, size: Size) -> Mapping[str, float | int | str]:
        """Architecture and optimisation by size; every key can be set under `train.model`."""
        return _SIZES[size] | _ALL

    def search_space(self, size: Size) -> Mapping[str, tuple[float, ...]]:
        """Two numbers are a log-uniform range, more are choices."""
        width = int(_SIZES[size]["width"])
        return {
            "lr": (1e-3, 2e-2),
            "weight_decay": (0.01, 1.0),
            "width": (width // 2, width, width * 2),
            "dropout": (0, 0.05, 0.1),
        }

    def prepare(self, table: pd.DataFrame, schema: TableSchema, settings: Mapping[str, Any], seed: int) -> Prepared:
        """Module and batches from the train rows; UserError where there is nothing to learn, or nothing to learn it from."""
        from training.tabular.model import prepared

        return prepared(table, schema, settings, seed)

    def export(self, prepared: Prepared, schema: TableSchema, workload: str, folder: Path) -> None:
        """Calibrate on the rows that each member left out, then write model.onnx, model.safetensors and model.json."""
        from training.tabular.predictor import export

        export(prepared.module, prepared.valid, schema, workload, folder)


FAMILY = Tabular()
