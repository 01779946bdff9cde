"""The protocol over gRPC: the same servers, models and tensors as open_inference_grpc.proto says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.oip.target import Target
from tests.serving.served import messages

grpc = pytest.importorskip("grpc")
CONTENTS = {
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
    "BOOL": "bool_contents",
}
WIRES = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "INT32": "<i4", "BOOL": "?"}
REFUSED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED}


@pytest.fixture
def calls(target: Target) -> Iterator[Any]:
    """The service's stub."""
    if target.grpc is None:
        pytest.skip("not run: no --oip-grpc")
    messages()  # imports kserve with an empty command line
    from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as wiring

    with grpc.insecure_channel(target.grpc) as channel:
        yield wiring.GRPCInferenceServiceStub(channel)


def request(target: Target, *, raw: bool, rows: int = 1) -> Any:
    """A valid request, its tensors raw or typed."""
    import numpy as np

    asked = messages().ModelInferRequest(model_name=target.model, id="mine")
    for one in target.request(rows)["inputs"]:
        tensor = asked.inputs.add(name=one["name"], shape=one["shape"], datatype=one["datatype"])
        if one["datatype"] not in WIRES:
            tensor.contents.bytes_contents.extend(value.encode() for value in one["data"])
        elif raw:
            asked.raw_input_contents.append(np.array(one["data"], WIRES[one["datatype"]]).tobytes())
        else:
            getattr(tensor.contents, CONTENTS[one["datatype"]]).extend(one["data"])
    return asked


def tensors(answer: Any) -> dict[str, list[Any]]:
    import numpy as np

    found = {}
    for number, output in enumerate(answer.outputs):
        if answer.raw_output_contents:
            found[output.name] = np.frombuffer(answer.raw_output_contents[number], WIRES[output.datatype]).tolist()
        else:
            found[output.name] = list(getattr(output.contents, CONTENTS[output.datatype]))
    return found


def code(call: Any, asked: Any) -> Any:
    """The status of a call that must fail."""
    with pytest.raises(grpc.RpcError) as error:
        call(asked, timeout=10)
    assert "Traceback" not in (error.value.details() or "")
    return error.value.code()


def test_live_ready_and_named(target: Target, calls: Any) -> None:
    """ServerLive, ServerReady, ModelReady and ServerMetadata."""
    m = messages()
    assert calls.ServerLive(m.ServerLiveRequest()).live
    assert calls.ServerReady(m.ServerReadyRequest()).ready
    assert calls.ModelReady(m.ModelReadyRequest(name=target.model)).ready
    assert calls.ServerMetadata(m.ServerMetadataRequest()).name


def test_the_metadata_is_rest_s(target: Target, calls: Any) -> None:
    """ModelMetadata names the tensors that REST names."""
    found = calls.ModelMetadata(messages().ModelMetadataRequest(name=target.model))
    assert found.name == target.model
    stated = [(one["name"], one["datatype"], one["shape"]) for one in target.metadata["inputs"]]
    assert [(one.name, one.datatype, list(one.shape)) for one in found.inputs] == stated


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_inference_gives_what_rest_gives(target: Target, calls: Any, raw: bool) -> None:
    """ModelInfer with raw or typed contents: REST's values, the request's id, the model's name."""
    answer = calls.ModelInfer(request(target, raw=raw))
    assert (answer.model_name, answer.id) == (target.model, "mine")
    rest = {one["name"]: one["data"] for one in target.infer(target.request()).json["outputs"] if one["datatype"] in WIRES}
    assert {name: values for name, values in tensors(answer).items() if name in rest} == rest


def test_outputs_are_chosen(target: Target, calls: Any) -> None:
    """`outputs` chooses."""
    asked = request(target, raw=True)
    name = target.metadata["outputs"][-1]["name"]
    asked.outputs.add(name=name)
    assert [one.name for one in calls.ModelInfer(asked).outputs] == [name]


def test_an_unknown_model_is_refused(target: Target, calls: Any) -> None:
    """ModelInfer, ModelReady and ModelMetadata of a model that there is not."""
    m = messages()
    asked = request(target, raw=True)
    asked.model_name = "no_such_model"
    assert code(calls.ModelInfer, asked) in REFUSED
    assert code(calls.ModelReady, m.ModelReadyRequest(name="no_such_model")) in REFUSED
    assert code(calls.ModelMetadata, m.ModelMetadataRequest(name="no_such_model")) in REFUSED


def _name(asked: Any) -> None:
    asked.inputs[0].name = "no_such_input"


def _nothing(asked: Any) -> None:
    del asked.inputs[:], asked.raw_input_contents[:]


def _twice(asked: Any) -> None:
    asked.inputs.append(asked.inputs[0])
    asked.raw_input_contents.append(asked.raw_input_contents[0])


def _axis(asked: Any) -> None:
    asked.inputs[0].shape.append(3)


def _negative(asked: Any) -> None:
    asked.inputs[0].shape[0] = -1


def _huge(asked: Any) -> None:
    asked.inputs[0].shape[0] = 2**62


def _datatype(asked: Any) -> None:
    asked.inputs[0].datatype = "FLOAT128"


def _short(asked: Any) -> None:
    asked.raw_input_contents[0] = asked.raw_input_contents[0][:-1]


def _long(asked: Any) -> None:
    asked.raw_input_contents[0] += b"\0"


def _both(asked: Any) -> None:
    asked.inputs[0].contents.fp32_contents.append(1)


def _fewer(asked: Any) -> None:
    asked.raw_input_contents.append(b"")


def _output(asked: Any) -> None:
    asked.outputs.add(name="no_such_output")


def _nan(asked: Any) -> None:
    import numpy as np

    first = asked.inputs[0]
    if not first.datatype.startswith("FP"):
        pytest.skip("not run: the first input has no NaN")
    asked.raw_input_contents[0] = np.full(tuple(first.shape), np.nan, WIRES[first.datatype]).tobytes()


@pytest.mark.parametrize(
    "change", [_name, _nothing, _twice, _axis, _negative, _huge, _datatype, _short, _long, _both, _fewer, _output, _nan]
)
def test_a_malformed_request_is_an_invalid_argument(target: Target, calls: Any, change: Any) -> None:
    """INVALID_ARGUMENT, never INTERNAL or UNKNOWN; the next call is answered."""
    asked = request(target, raw=True)
    if not asked.raw_input_contents:
        pytest.skip("not run: the inputs are texts")
    change(asked)
    assert code(calls.ModelInfer, asked) is grpc.StatusCode.INVALID_ARGUMENT
    assert calls.ModelInfer(request(target, raw=True)).id == "mine"


def test_the_deployer_alone_loads_and_unloads(target: Target, calls: Any) -> None:
    """The repository's calls are refused, or not there."""
    m = messages()
    closed = {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED}
    assert code(calls.RepositoryModelUnload, m.RepositoryModelUnloadRequest(model_name="no_such_model")) in closed
    assert code(calls.RepositoryModelLoad, m.RepositoryModelLoadRequest(model_name="no_such_model")) in closed
