"""Bodies become batches: v1 objects, v2 tensors in JSON or binary, and KServe's own request type (gRPC, and its stock routes).

Whatever does not fit the signature is an InvalidRequest that names the input. Knows nothing of HTTP or of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from serving.inference.columns import InvalidRequest, Reader, described, reader, shown
from serving.inference.rows import RowReader
from training.signature import Signature

LABEL = "label"  # the output that the server adds for classification


@dataclass(slots=True)
class Batch:
    """Rows ready for the graph: either `row` (one row's values in input order) or `feeds` (tensors by the graph's names)."""

    rows: int
    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    row: tuple[Any, ...] | None = None
    id: str | None = None
    wanted: list[tuple[str, bool | None]] | None = None  # the outputs asked for, each with its own `binary_data`
    binary: bool = False  # v2's binary_data_output
    protocol: str = "v2"  # v1, v2, or the KServe type that must be answered in kind: rest, grpc
    raw: bool = False  # a gRPC request with raw contents is answered with raw contents
    version: str | None = None  # that the request names


class Requests:
    """Reads requests for one model."""

    def __init__(self, signature: Signature) -> None:
        self.readers = [reader(column) for column in signature.inputs]
        self.by_name = {r.name: r for r in self.readers}
        self.one_row = RowReader(self.readers)
        self.outputs = [output.name for output in signature.outputs] + ([LABEL] if signature.task == "classification" else [])

    def v1(self, body: bytes | bytearray) -> Batch:
        """`{"instances": [{column: value, ...}, ...]}`."""
        return self.instances(parsed(body))

    def instances(self, document: Any) -> Batch:
        """The same, parsed."""
        instances = document.get("instances") if type(document) is dict else None
        if type(instances) is not list or not instances:
            raise InvalidRequest(f"expected {{\"instances\": [...]}} with one object per row, of {self._columns()}")
        if len(instances) == 1 and (row := self.one_row.instance(instances[0])) is not None:
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
        if not json_length.isdigit() or not 0 < int(json_length) <= len(body):
            raise InvalidRequest(f"header Inference-Header-Content-Length is {shown(json_length.decode('latin1'))}; expected 1 to {len(body)}, the length of the body")
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
        self._check_wanted(wanted)
        protocol = "grpc" if request.from_grpc else "rest"
        binary = bool(request.use_binary_outputs)
        return Batch(rows, feeds, id=request.id or None, wanted=wanted, binary=binary, protocol=protocol, raw=binary, version=request.model_version or None)

    def _tensors(self, document: Any, binary: memoryview | None) -> Batch:
        if type(document) is not dict or type(document.get("inputs")) is not list:
            raise InvalidRequest(f'expected {{"inputs": [...]}} with one tensor per column: {self._columns()}')
        batch = Batch(1) if binary is None and (row := self.one_row.tensors(document["inputs"])) is not None else None
        if batch is not None:
            batch.row = row
        else:
            batch = self._batch(document["inputs"], binary)
        if len(document) > 1:
            self._options(document, batch)
        return batch

    def _batch(self, inputs: list[Any], binary: memoryview | None) -> Batch:
        at = 0

        def read(tensor: dict[str, Any], found: Reader, shape: list[int]) -> np.ndarray:
            nonlocal at
            size = self._parameters(tensor, f"input {found.name!r}: ").get("binary_data_size")
            if "data" in tensor:
                if size is not None:
                    found.refuse("both data and binary_data_size; expected one of them")
                return found.data(tensor["data"], shape)
            if size is None:
                found.refuse("no data; expected `data`, or `binary_data_size` and the bytes after the JSON")
            if binary is None:
                found.refuse("binary_data_size without the header Inference-Header-Content-Length")
            if type(size) is not int or not 0 <= size <= len(binary) - at:  # pyright: ignore[reportArgumentType]  (refuse raises)
                found.refuse(f"binary_data_size {shown(size)}; {len(binary) - at} bytes are left after the JSON")  # pyright: ignore[reportArgumentType]
            at += size
            return found.buffer(binary[at - size : at], shape)  # pyright: ignore[reportOptionalSubscript]

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

    def _options(self, document: dict[str, Any], batch: Batch) -> None:
        """`id`, `parameters` and `outputs` of a v2 request."""
        batch.id = document.get("id")
        if batch.id is not None and type(batch.id) is not str:
            raise InvalidRequest(f"id is {described(batch.id)}; expected text")
        batch.binary = self._flag(self._parameters(document, ""), "binary_data_output", "") or False
        outputs = document.get("outputs")
        if outputs is None:
            return
        if type(outputs) is not list or any(type(o) is not dict or type(o.get("name")) is not str for o in outputs):
            raise InvalidRequest("outputs: expected a list of objects with a name")
        batch.wanted = [(o["name"], self._flag(self._parameters(o, "outputs: "), "binary_data", f"output {o['name']!r}: ")) for o in outputs] or None
        self._check_wanted(batch.wanted)

    def _check_wanted(self, wanted: list[tuple[str, bool | None]] | None) -> None:
        names = [name for name, _ in wanted or ()]
        for name in names:
            if name not in self.outputs:
                raise InvalidRequest(f"unknown output {shown(name)}; expected of {', '.join(self.outputs)}")
        if len(set(names)) != len(names):
            raise InvalidRequest("outputs: a name is given twice; expected once")

    @staticmethod
    def _parameters(of: dict[str, Any], where: str) -> dict[str, Any]:
        parameters = of.get("parameters")
        if parameters is not None and type(parameters) is not dict:
            raise InvalidRequest(f"{where}parameters is {described(parameters)}; expected an object")
        return parameters or {}

    @staticmethod
    def _flag(parameters: dict[str, Any], key: str, where: str) -> bool | None:
        value = parameters.get(key)
        if value is not None and type(value) is not bool:
            raise InvalidRequest(f"{where}{key} is {described(value)}; expected true or false")
        return value

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


def parsed(body: bytes | bytearray | memoryview) -> Any:
    """The JSON of a body. NaN, infinities, lone surrogates, a byte order mark and nesting past 1,024 are refused by the parser."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
