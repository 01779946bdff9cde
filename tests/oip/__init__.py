"""A conformance suite for servers of the Open Inference Protocol v2, REST and gRPC, that knows nothing of how they are made.

By default it starts this project's model server with the reference model. To point it at any other server:

    pytest tests/oip --oip-url http://127.0.0.1:8080 --oip-grpc 127.0.0.1:8081 --oip-model NAME

Without `--oip-grpc` the gRPC part reports "not run"; `--oip-metadata FILE` stands in for metadata that names no inputs. The model's own metadata says what a valid request is: no input, shape or datatype
is assumed, but that -1 is a number of rows. What a server may refuse is the protocol's text, and RELIABILITY's stricter reading of JSON
(`corpus.yaml`: one line per malformed request, with the status that it must get). `python -m benchmarks.malformed` counts the same over
thousands of requests, beside KServe as it comes.

Source: github.com/kserve/open-inference-protocol, specification/protocol; `openapi.yaml` is a document of our own after it.
"""
