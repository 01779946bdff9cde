"""The reference model for `mlflow models serve`: a loader module, so that nothing is pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class Net:
    """Runs the graph on an array of rows."""

    def __init__(self, path: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(path / "model.onnx"), options)

    def predict(self, rows: Any, params: Any = None) -> Any:
        """The prediction of each row."""
        return self.session.run(None, {"x0": np.asarray(rows, np.float32)})[0]


def _load_pyfunc(path: str) -> Net:
    return Net(Path(path))
