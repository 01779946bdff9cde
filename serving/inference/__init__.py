"""The inference side of the model server: values in, tensors through ONNX, answers out, by the signature of `model.json` alone."""
