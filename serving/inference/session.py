"""The exported graph in onnxruntime, checked against its signature: tensors in, the declared outputs out.

One thread per call; big batches belong on a thread of their own (`inline_rows` says from where), small ones are quickest inline.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError
from training.signature import MODEL_JSON, MODEL_ONNX, Input, Signature

INLINE_SECONDS = 0.002  # what one batch may hold the event loop; reading it from JSON holds it longer
ROW_SECONDS = 0.005  # the same for one row, which is worth more: a thread costs it a tenth of a millisecond
INLINE_ROWS = 16_384  # at most: real rows may cost more than neutral ones
FEW = 32
DTYPES = {
    "FP64": np.dtype("f8"),
    "FP32": np.dtype("f4"),
    "INT64": np.dtype("i8"),
    "INT32": np.dtype("i4"),
    "BOOL": np.dtype("?"),
    "BYTES": np.dtype("O"),
}
ELEMENTS = {
    "double": np.dtype("f8"),
    "int64": np.dtype("i8"),
    "bool": np.dtype("?"),
    "float": np.dtype("f4"),
    "string": np.dtype("O"),
}


class ModelFailure(RuntimeError):
    """The model did not answer a valid request: ours to mend, and never described to a client."""


class Session:
    """One loaded model. `run` may be called from any thread, `run_row` only from the event loop's: it writes into one set of buffers."""

    def __init__(self, folder: Path) -> None:
        """Load an exported folder and try it; UserError where it cannot serve."""
        import onnxruntime as ort

        try:
            self.signature = Signature.read(folder)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{MODEL_JSON} does not read: {error}", where=str(folder), next_step="export the model again"
            ) from error

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = ort.InferenceSession(str(folder / MODEL_ONNX), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UserError(
                f"{MODEL_ONNX} does not load: {error}", where=str(folder), next_step="export the model again"
            ) from error
        self._check(folder)
        self._names = [output.tensor for output in self.signature.outputs]
        self._forms = [(DTYPES[output.datatype], output.shape) for output in self.signature.outputs]
        self._one_row = _Row(self._session, self.signature.inputs, self._names)
        self.options: Any = ort.RunOptions
        self.row_seconds = 0.0  # of one row, measured when it was loaded
        self.inline_rows = self._probe(folder)

    def run(self, feeds: dict[str, np.ndarray], options: Any = None) -> list[np.ndarray]:
        """The outputs in the signature's order, as declared: [N, ...]. ModelFailure where the graph fails or gives NaN or infinities.

        `options` is onnxruntime's RunOptions: set its `terminate` from another thread, and the run fails at the graph's next node.
        """
        rows = len(next(iter(feeds.values())))
        try:
            found = self._session._sess.run(self._names, feeds, options)  # `run` itself looks the names up again on each call
        except Exception as error:
            raise ModelFailure(f"the graph failed on {rows} rows") from error
        return self._declared(found, rows)

    def run_row(self, row: Sequence[Any]) -> list[np.ndarray]:
        """The same for one row, given as flat values in the inputs' order, already what the graph takes."""
        try:
            found = self._one_row.run(row)
        except Exception as error:
            raise ModelFailure("the graph failed on a row") from error
        return self._declared(found, 1)

    def _declared(self, found: list[np.ndarray], rows: int) -> list[np.ndarray]:
        results = []
        for array, (dtype, shape) in zip(found, self._forms, strict=True):
            if array.shape != (rows, *shape):
                array = array.reshape(rows, *shape)  # noqa: PLW2901  (a graph may keep [N, 1] for a scalar)
            if array.dtype != dtype:
                array = array.astype(dtype)  # noqa: PLW2901
            if dtype.kind == "f" and not _finite(array):
                raise ModelFailure("an output is not finite")
            results.append(array)
        return results

    def _check(self, folder: Path) -> None:
        """Refuse a graph that is not the signature's."""
        takes = {i.name: i.type for i in self._session.get_inputs()}
        expected = {i.tensor: f"tensor({i.element})" for i in self.signature.inputs}
        gives = {o.name for o in self._session.get_outputs()}
        if takes != expected or not gives.issuperset(o.tensor for o in self.signature.outputs):
            raise UserError(
                f"model.json and {MODEL_ONNX} disagree: the graph takes {takes} and gives {sorted(gives)}",
                where=str(folder),
                next_step="export the model again",
            )

    def _probe(self, folder: Path) -> int:
        """Run the graph on neutral rows, so that a broken one never becomes ready; how many rows it takes in INLINE_SECONDS, 0 for a slow one."""
        try:
            neutral = {c.tensor: _neutral(c, 1) for c in self.signature.inputs}
            self.run(neutral)
            self.run_row([value for column in neutral.values() for value in column.ravel().tolist()])
            rows, seconds = 1, self._seconds(1)
            self.row_seconds = seconds
            if seconds > ROW_SECONDS:
                return 0
            while seconds < INLINE_SECONDS and rows < INLINE_ROWS:
                rows *= 4
                seconds = self._seconds(rows)
        except (ModelFailure, ValueError) as error:
            raise UserError(
                f"the model fails on a neutral row: {error.__cause__ or error}",
                where=str(folder),
                next_step="export the model again",
            ) from error
        return min(max(1, int(rows * INLINE_SECONDS / seconds)), INLINE_ROWS)

    def _seconds(self, rows: int) -> float:
        """The shortest of three runs."""
        feeds = {c.tensor: _neutral(c, rows) for c in self.signature.inputs}
        marks = [time.perf_counter()]
        for _ in range(3):
            self.run(feeds)
            marks.append(time.perf_counter())
        return min(later - earlier for earlier, later in pairwise(marks))


class _Row:
    """One set of input tensors of one row, written in place; bound once where the graph takes no text (onnxruntime cannot bind text)."""

    def __init__(self, session: Any, inputs: Sequence[Input], outputs: list[str]) -> None:
        self._session, self._outputs = session._sess, outputs
        elements = [c.element for c in inputs for _ in range(prod(c.shape))]
        self._groups = [
            (np.zeros(elements.count(e), ELEMENTS[e]), [i for i, other in enumerate(elements) if other == e])
            for e in dict.fromkeys(elements)
        ]
        self._feeds, taken = {}, {id(buffer): 0 for buffer, _ in self._groups}
        for column in inputs:
            buffer = next(b for b, _ in self._groups if b.dtype == ELEMENTS[column.element])
            at = taken[id(buffer)]
            taken[id(buffer)] += prod(column.shape)
            self._feeds[column.tensor] = buffer[at : taken[id(buffer)]].reshape(1, *column.shape)
        self._binding: Any = None
        if "string" not in elements:
            self._bound = session.io_binding()
            for name, view in self._feeds.items():
                self._bound.bind_cpu_input(name, view)
            for name in outputs:
                self._bound.bind_output(name)
            self._binding = self._bound._iobinding
        self._whole = len(self._groups) == 1

    def run(self, row: Sequence[Any]) -> list[np.ndarray]:
        """The graph's outputs; overwritten by nothing, for onnxruntime allocates them anew."""
        if self._whole:
            self._groups[0][0][:] = row
        else:
            for buffer, indices in self._groups:
                buffer[:] = [row[i] for i in indices]
        if self._binding is None:
            return self._session.run(self._outputs, self._feeds, None)
        self._session.run_with_iobinding(self._binding, None)
        return self._bound.copy_outputs_to_cpu()


def _finite(array: np.ndarray) -> bool:
    if array.size <= FEW and isfinite(sum(array.ravel().tolist())):  # numpy's own start costs more than a few values
        return True
    with np.errstate(over="ignore"):  # a sum of finite numbers may overflow
        return isfinite(array.sum()) or bool(np.isfinite(array).all())


def _neutral(column: Input, rows: int) -> np.ndarray:
    array = np.zeros((rows, *column.shape), ELEMENTS[column.element])
    if column.element == "string":
        array[:] = ""
    return array
