"""Bodies become batches: v1 objects, v2 tensors in JSON or binary, and KServe's own request type (gRPC, and its stock routes).

Whatever does not fit the signature is an InvalidRequest that names the input. Knows nothing of HTTP or of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serving.inference.batch import LABEL, Batch, check_wanted, parameters, parsed, read_options
from serving.inference.columns import InvalidRequest, Reader, described, shown
from serving.inference.numbers import (
    BooleanReader,
    ImageReader,
    IntegerReader,
    MissableBooleanReader,
    MissableIntegerReader,
    NumberReader,
)
from serving.inference.rows import RowReader
from serving.inference.texts import TextReader, TimeReader
from training.signature import Input, Signature

_READERS: dict[tuple[str, bool], type[Reader]] = {
    ("number", False): NumberReader,
    ("number", True): NumberReader,
    ("integer", False): IntegerReader,
    ("integer", True): MissableIntegerReader,
    ("boolean", False): BooleanReader,
    ("boolean", True): MissableBooleanReader,
    ("category", False): TextReader,
    ("category", True): TextReader,
    ("time", False): TimeReader,
    ("time", True): TimeReader,
    ("image", False): ImageReader,
}


class Requests:
    """Reads requests for one model; without `short_way`, every batch comes as tensors, which any thread may run."""

    def __init__(self, signature: Signature, *, short_way: bool = True) -> None:
        self.readers = [reader(column) for column in signature.inputs]
        self.by_name = {r.name: r for r in self.readers}
        self.one_row = RowReader(self.readers) if short_way else None
        self.outputs = [output.name for output in signature.outputs] + ([LABEL] if signature.task == "classification" else [])

    def v1(self, body: bytes | bytearray) -> Batch:
        """`{"instances": [{column: value, ...}, ...]}`."""
        return self.instances(parsed(body))

    def instances(self, document: Any) -> Batch:
        """The same, parsed."""
        instances = document.get("instances") if type(document) is dict else None
        if type(instances) is not list or not instances:
            raise InvalidRequest(f'expected {{"instances": [...]}} with one object per row, of {self._columns()}')
        if len(instances) == 1 and self.one_row is not None and (row := self.one_row.instance(instances[0])) is not None:
            return Batch(1, row=row, protocol="v1")
        for number, instance in enumerate(instances):
            if type(instance) is not dict:
                raise InvalidRequest(f"instance {number} is {described(instance)}; expected an object of {self._columns()}")
            if instance.keys() != self.by_name.keys():
                self._refuse_names(instance, f"instance {number}: ")
        feeds = {r.tensor: r.column([instance[r.name] for instance in instances]) for r in self.readers}
        return Batch(len(instances), feeds, protocol="v1")

    def v2(self, body: bytes | bytearray, json_length: bytes | None = None) -> Batch:
        """A v2 inference request; `json_length` is the header Inference-Header-Content-Length of the binary extension."""
        if json_length is None:
            return self._tensors(parsed(body), None)
        if not json_length.isdigit() or len(json_length) > 18 or not 0 < int(json_length) <= len(body):
            raise InvalidRequest(
                f"header Inference-Header-Content-Length is {shown(json_length.decode('latin1'))}; expected 1 to {len(body)}, the length of the body"
            )
        whole = memoryview(body)
        return self._tensors(parsed(whole[: int(json_length)]), whole[int(json_length) :])

    def infer_request(self, request: Any) -> Batch:
        """A `kserve.InferRequest`: gRPC's raw or typed contents, or what the stock REST routes decoded."""
        feeds: dict[str, np.ndarray] = {}

        def read(tensor: Any, found: Reader, shape: list[int]) -> np.ndarray:
            if tensor._raw_data is not None:  # KServe offers it only as a numpy array, through lists for text
                return found.buffer(tensor._raw_data, shape)
            data = tensor.data
            if found.datatype == "BYTES":
                data = [found.decoded(v, i) if type(v) is bytes else v for i, v in enumerate(data)]  # pyright: ignore[reportAttributeAccessIssue]  (text readers decode)
            return found.data(data, shape)

        rows = self._each(((t.name, t.datatype, t.shape, t) for t in request.inputs), read, feeds)
        wanted = [(o.name, o.binary_data) for o in request.request_outputs] if request.request_outputs else None
        check_wanted(wanted, self.outputs)
        protocol = "grpc" if request.from_grpc else "rest"
        binary = bool(request.use_binary_outputs)
        return Batch(
            rows,
            feeds,
            id=request.id or None,
            wanted=wanted,
            binary=binary,
            protocol=protocol,
            version=request.model_version or None,
        )

    def _tensors(self, document: Any, binary: memoryview | None) -> Batch:
        if type(document) is not dict or type(document.get("inputs")) is not list:
            raise InvalidRequest(f'expected {{"inputs": [...]}} with one tensor per column: {self._columns()}')
        row = self.one_row.tensors(document["inputs"]) if binary is None and self.one_row is not None else None
        batch = self._batch(document["inputs"], binary) if row is None else Batch(1, row=row)
        if len(document) > 1:
            read_options(document, batch, self.outputs)
        return batch

    def _batch(self, inputs: list[Any], binary: memoryview | None) -> Batch:
        at = 0

        def read(tensor: dict[str, Any], found: Reader, shape: list[int]) -> np.ndarray:
            nonlocal at
            size = parameters(tensor, f"input {found.name!r}: ").get("binary_data_size")
            if "data" in tensor:
                if size is not None:
                    found.refuse("both data and binary_data_size; expected one of them")
                return found.data(tensor["data"], shape)
            if size is None:
                found.refuse("no data; expected `data`, or `binary_data_size` and the bytes after the JSON")
            if binary is None:
                found.refuse("binary_data_size without the header Inference-Header-Content-Length")
            if type(size) is not int or not 0 <= size <= len(binary) - at:
                found.refuse(f"binary_data_size {shown(size)}; {len(binary) - at} bytes are left after the JSON")
            at += size
            return found.buffer(binary[at - size : at], shape)

        feeds: dict[str, np.ndarray] = {}
        rows = self._each((self._head(number, tensor) for number, tensor in enumerate(inputs)), read, feeds)
        if binary is not None and at != len(binary):
            raise InvalidRequest(f"{len(binary) - at} bytes follow the last input's binary data; expected none")
        return Batch(rows, feeds)

    def _each(self, tensors: Any, read: Callable[[Any, Reader, list[int]], np.ndarray], feeds: dict[str, np.ndarray]) -> int:
        """Read each named tensor into `feeds`; the row count. Refuses unknown, repeated and missing names, and rows that differ."""
        rows, first = 0, ""
        for name, datatype, shape, tensor in tensors:
            found = self.by_name.get(name)
            if found is None:
                raise InvalidRequest(f"unknown input {shown(name)}; expected {self._columns()}")
            if found.tensor in feeds:
                found.refuse("given twice; expected once")
            if datatype != found.datatype:
                found.refuse(f"datatype {shown(datatype)}; expected {found.datatype}")
            count = found.rows(shape)
            if rows and count != rows:
                found.refuse(f"{count} rows; expected {rows}, as input {first!r} has")
            rows, first = count, first or name
            feeds[found.tensor] = read(tensor, found, shape)
        if len(feeds) != len(self.readers):
            self._refuse_names([r.name for r in self.readers if r.tensor in feeds], "")
        return rows

    def _head(self, number: int, tensor: Any) -> tuple[str, str, Any, Any]:
        if type(tensor) is not dict or type(tensor.get("name")) is not str:
            raise InvalidRequest(f"inputs[{number}] has no name; expected an object with name, datatype, shape and data")
        return tensor["name"], tensor.get("datatype"), tensor.get("shape"), tensor  # pyright: ignore[reportReturnType]  (checked by the caller)

    def _refuse_names(self, given: Sequence[str] | dict[str, Any], where: str) -> None:
        for name in given:
            if name not in self.by_name:
                raise InvalidRequest(f"{where}unknown input {shown(name)}; expected {self._columns()}")
        for found in self.readers:
            if found.name not in given:
                raise InvalidRequest(f"{where}input {found.name!r} is missing; expected {found.expected}")

    def _columns(self) -> str:
        names = list(self.by_name)
        return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def reader(column: Input) -> Reader:
    """The reader for a column's kind."""
    return _READERS[column.kind, column.nullable](column)
