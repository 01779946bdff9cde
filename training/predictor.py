"""An exported model folder, asked for predictions by table. Reads ONNX and JSON only; knows no family and imports no torch.

This is how evaluation, the gate and MLflow ask a model; the model server has its own, faster way to the same graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from training.signature import MISSING_TIME, MODEL_ONNX, Input, Signature

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

BATCH = 4096  # rows per call: bounds the memory that a large table takes


class OnnxPredictor:
    """`predict(table)` gives one array per output of the signature, a row per row of the table."""

    def __init__(self, folder: Path) -> None:
        """Load the graph, on one thread. Raises FileNotFoundError where `folder` holds no model."""
        import onnxruntime as ort

        self.signature = Signature.read(folder)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            (folder / MODEL_ONNX).read_bytes(), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._ranks = {tensor.name: len(tensor.shape) for tensor in self._session.get_inputs()}

    def predict(self, table: pd.DataFrame) -> dict[str, np.ndarray]:
        """The outputs by name, each [rows, *shape]. UserError names a column that is missing or holds what the model cannot take."""
        import numpy as np

        if missing := [c.name for c in self.signature.inputs if c.name not in table.columns]:
            raise UserError(f"the model reads columns that the table lacks: {', '.join(missing)}", where="table")
        outputs = self.signature.outputs
        parts = [self.ask(self._tensors(table.iloc[start : start + BATCH])) for start in range(0, len(table), BATCH)]
        if not parts:
            return {output.name: np.empty((0, *output.shape)) for output in outputs}
        return {output.name: np.concatenate([part[output.name] for part in parts]) for output in outputs}

    def ask(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name for columns that are as the graph takes them (`as_tensor`), by the graph's names; one call, whatever
        it takes."""
        outputs = self.signature.outputs
        feeds = {
            tensor: values[:, None] if values.ndim == 1 and self._ranks[tensor] == 2 else values
            for tensor, values in tensors.items()
        }
        found: Any = self._session.run([output.tensor for output in outputs], feeds)
        return {output.name: values for output, values in zip(outputs, found, strict=True)}

    def _tensors(self, table: pd.DataFrame) -> dict[str, np.ndarray]:
        return {column.tensor: as_tensor(table[column.name], column) for column in self.signature.inputs}


def as_tensor(values: pd.Series | Any, column: Input) -> np.ndarray:
    """A column as the graph takes it (the table of `training/signature.py`): [rows] or, for images, [rows, *shape]."""
    import numpy as np

    if column.kind == "image":
        return _images(values, column)
    absent = values.isna().to_numpy()
    if absent.any() and not column.nullable and column.kind != "number":
        raise UserError(
            f"{column.name}: {int(absent.sum())} of {len(values)} values are missing, and the model takes none",
            next_step=f"declare it as {column.kind}? under data.columns and train again",
        )
    if column.kind == "category":
        return np.where(absent, "", values.astype(str).to_numpy(dtype=object)).astype(object)
    if column.kind == "time":
        return _seconds(values, absent)
    kind: Any = {"double": np.float64, "int64": np.int64, "bool": np.bool_}[column.element]
    try:
        return values.to_numpy(dtype=kind, na_value=np.nan) if column.element == "double" else values.to_numpy(dtype=kind)
    except (TypeError, ValueError) as error:
        raise UserError(f"{column.name}: holds values that are not of kind {column.kind}: {error}") from error


def _seconds(values: pd.Series, absent: np.ndarray) -> np.ndarray:
    """Seconds since 1970 UTC; a time without a zone is UTC."""
    import numpy as np
    import pandas as pd

    times = pd.to_datetime(values, utc=True).dt.tz_localize(None).to_numpy(dtype="datetime64[s]").astype(np.int64)
    return np.where(absent, MISSING_TIME, times)


def _images(values: pd.Series, column: Input) -> np.ndarray:
    import numpy as np

    try:
        stacked = np.stack([np.asarray(value, dtype=np.float32).reshape(column.shape) for value in values])
    except (TypeError, ValueError) as error:
        raise UserError(f"{column.name}: a row does not hold {' x '.join(map(str, column.shape))} numbers: {error}") from error
    if not np.isfinite(stacked).all():
        raise UserError(f"{column.name}: some pixels are missing or infinite")
    return stacked


def point(outputs: dict[str, np.ndarray], signature: Signature) -> np.ndarray:
    """The single best answer of each row: the likeliest label, or the prediction."""
    import numpy as np

    if signature.task == "classification":
        return np.asarray(signature.classes, dtype=object)[outputs["probabilities"].argmax(axis=1)]
    return outputs["prediction"]
