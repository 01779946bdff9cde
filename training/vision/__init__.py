"""Images of one size to classes: a small convolutional net. It reads one image column; other columns belong to other families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.schema import TableSchema

if TYPE_CHECKING:
    import pandas as pd

    from training.family import Prepared, Size

# width: the first stage's channels, doubled at each further stage; shift: pixels that a training image is moved at most.
_SIZES: dict[str, dict[str, float | int | str]] = {
    "tiny": {"width": 8, "lr": 0.02, "batch": 64, "max_steps": 900, "dropout": 0.1, "shift": 1, "weight_decay": 0.01},
    "small": {"width": 16, "lr": 0.01, "batch": 64, "max_steps": 2000, "dropout": 0.1, "shift": 1, "weight_decay": 0.01},
    "base": {"width": 64, "lr": 0.005, "batch": 128, "max_steps": 10000, "dropout": 0.2, "shift": 2, "weight_decay": 0.02},
}


@dataclass(frozen=True)
class Vision:
    """The family's contract (`training/family.py`)."""

    name: str = "vision"

    def defaults(self, size: Size) -> Mapping[str, float | int | str]:
        """Architecture and optimisation by size; every key can be set under `train.model`."""
        return _SIZES[size]

    def search_space(self, size: Size) -> Mapping[str, tuple[float, ...]]:
        """Two numbers are a log-uniform range, more are choices."""
        width = int(_SIZES[size]["width"])
        return {"lr": (0.002, 0.05), "width": (width // 2, width, width * 2), "dropout": (0.0, 0.1, 0.2)}

    def prepare(self, table: pd.DataFrame, schema: TableSchema, settings: Mapping[str, Any], seed: int) -> Prepared:
        """Module and batches from the train rows; UserError where there is no image column, or fewer than two classes."""
        from training.vision.data import pictures_of
        from training.vision.model import prepared

        return prepared(pictures_of(table, schema, seed), schema, settings, seed)

    def export(self, prepared: Prepared, schema: TableSchema, workload: str, folder: Path) -> None:
        """Calibrate on the validation rows, then write model.onnx, model.safetensors and model.json."""
        from training.vision.predictor import export

        export(prepared.module, prepared.valid, schema, workload, folder)


FAMILY = Vision()
