"""The reference model for MLServer, copied beside its settings and imported in its own environment: never imported here."""

import numpy as np
import onnxruntime as ort
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Net(MLModel):
    """Runs the graph on the request's tensor."""

    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(self.settings.parameters.uri, options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        result = self.session.run(None, {"x0": np.array(tensor.data.root, np.float32).reshape(tensor.shape)})[0]
        output = ResponseOutput(name="prediction", shape=list(result.shape), datatype="FP64", data=result.tolist())
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])
