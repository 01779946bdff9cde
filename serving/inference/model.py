"""The KServe Model: preprocess reads a request, predict runs the graph, postprocess writes the answer in the request's kind.

Imports kserve, which parses sys.argv when it is imported: only the server's own process may import this module.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any

import kserve  # noqa: TID253  (this module exists only in the server's process)
from kserve.errors import InvalidInput  # noqa: TID253
from kserve.metrics import POST_HIST_TIME, PRE_HIST_TIME, PREDICT_HIST_TIME, get_labels  # noqa: TID253
from kserve.model import InferenceVerb  # noqa: TID253
from kserve.protocol.infer_type import RequestedOutput  # noqa: TID253

from serving.inference.answers import Answers
from serving.inference.batch import Batch
from serving.inference.columns import InvalidRequest
from serving.inference.metadata import input_types, output_types
from serving.inference.requests import Requests
from serving.inference.session import INLINE_SECONDS, Session
from serving.inference.turns import Turns, processors


class OnnxModel(kserve.Model):
    """An exported folder behind KServe's Model. Requests come as a dict (v1), an InferRequest, or a Batch that the short route read."""

    def __init__(self, name: str, session: Session, version: str | None = None, turns: Turns | None = None) -> None:
        super().__init__(name)
        self.version, self.session, self.signature = version, session, session.signature
        self.turns = turns or Turns(processors())
        self.turns.costs.learn(max(1, session.inline_rows), max(session.row_seconds, INLINE_SECONDS))
        self.requests = Requests(self.signature, short_way=session.inline_rows > 0)
        self.answers = Answers(self.signature, name, version)
        labels = get_labels(name)
        self._timings = tuple(histogram.labels(**labels) for histogram in (PRE_HIST_TIME, PREDICT_HIST_TIME, POST_HIST_TIME))
        self.ready = True

    async def __call__(
        self, body: Any, headers: dict[str, str] | None = None, verb: InferenceVerb = InferenceVerb.PREDICT
    ) -> Any:
        """KServe's Model.__call__ for predict, with the same three metrics and without its inspection of each method on each call."""
        if verb is not InferenceVerb.PREDICT or self.enable_latency_logging:
            return await super().__call__(body, headers, verb)
        preprocess, predict, postprocess = self._timings
        started = perf_counter()
        try:
            payload = self.preprocess(body, headers)
        finally:
            preprocess.observe(perf_counter() - started)
        started = perf_counter()
        try:
            result = await self.predict(payload, headers)
        finally:
            predict.observe(perf_counter() - started)
        started = perf_counter()
        try:
            return self.postprocess(result, headers), {}
        finally:
            postprocess.observe(perf_counter() - started)

    def preprocess(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """Read the request; InvalidInput (400) says what was expected."""
        if type(payload) is Batch:
            return payload
        try:
            batch = (
                self.requests.infer_request(payload)
                if isinstance(payload, kserve.InferRequest)
                else self.requests.instances(payload)
            )
        except InvalidRequest as error:
            raise InvalidInput(str(error)) from None
        if batch.version not in (None, self.version):
            raise InvalidInput(f"this server serves version {self.version}, not {batch.version}")
        return batch

    def validate(self, payload: Any) -> Any:
        """Requests are validated against the signature in preprocess."""
        return payload

    async def predict(
        self, payload: Any, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> Any:
        """Small batches inline, which is quickest; the rest on a thread, when its turn comes, so that the event loop keeps answering.

        Busy, Late and Gone as Turns.
        """
        if payload.row is not None:
            return self.session.run_row(payload.row), payload
        if payload.rows <= self.session.inline_rows:
            return self.session.run(payload.feeds), payload
        options = self.session.options()
        work = partial(self.session.run, payload.feeds, options)
        stop = partial(setattr, options, "terminate", True)
        return await self.turns.run(work, stop, payload.gone, payload.rows), payload

    def postprocess(
        self, result: Any, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> Any:
        """The answer: a dict for v1, an InferResponse for an InferRequest; results as they are for the short route, which writes them."""
        results, batch = result
        if batch.protocol == "v1":
            return self.answers.v1(results, batch)
        if batch.protocol == "v2":
            return results
        outputs, wanted = [], []
        for name, datatype, array, binary in self.answers.tensors(results, batch):
            output = kserve.InferOutput(name, list(array.shape), datatype)
            if batch.protocol == "grpc" and batch.binary:
                output.set_data_from_numpy(array)
            else:
                output.data = array if batch.protocol == "rest" else array.ravel().tolist()
            outputs.append(output)
            wanted.append(RequestedOutput(name, None if binary is None else {"binary_data": binary}))
        return kserve.InferResponse(
            response_id=self.answers.id(batch),
            model_name=self.name,
            model_version=self.version,
            infer_outputs=outputs,
            parameters=self.answers.parameters or None,
            use_binary_outputs=batch.binary,
            requested_outputs=wanted if batch.wanted else None,
        )

    def get_input_types(self) -> list[dict[str, Any]]:
        """For KServe's metadata."""
        return input_types(self.signature)

    def get_output_types(self) -> list[dict[str, Any]]:
        """For KServe's metadata."""
        return output_types(self.signature)
