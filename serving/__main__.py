"""`python -m serving`: the model server of one exported folder. Refuses to start where nobody vouches for the folder (serving/trust)."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import warnings
from pathlib import Path

from data.errors import UserError
from serving import instance
from serving.inference.address import bound
from serving.inference.session import Session
from serving.inference.spared import spare
from serving.trust import arguments

REFUSED = 2  # exit status: starting again will not help


def main() -> None:
    """Parse, verify, serve."""
    options = _options()
    try:
        _serve(options, arguments.check(options))
    except UserError as error:
        sys.stderr.write(f"python -m serving: {error}\n")
        sys.exit(REFUSED)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m serving", description="Serve one exported model over KServe's v1 and v2 protocols.", allow_abbrev=False
    )
    parser.add_argument("--model_name", required=True, help="the name in the URLs")
    parser.add_argument("--model_dir", required=True, type=Path, help="the exported folder: model.json and model.onnx")
    parser.add_argument("--http_port", type=int, default=8080)
    parser.add_argument("--grpc_port", type=int, default=8081, help="0: no gRPC")
    parser.add_argument("--digest", help="the folder's digest; the server refuses to start where it differs")
    parser.add_argument("--version", help="the version in answers and in /v2/models/NAME/versions/VERSION")
    parser.add_argument(
        "--body_limit", type=int, default=64 << 20, metavar="BYTES", help="a larger request is a 413 (default: 64 MB)"
    )
    parser.add_argument(
        "--idle_seconds", type=float, default=6.0, help="for headers, for a body, for an answer to be read (default: 6)"
    )
    parser.add_argument("--max_connections", type=int, default=1000, help="requests on one more are a 503 (default: 1000)")
    parser.add_argument(
        "--max_waiting", type=int, help="requests that may wait for the model: more are a 429 (default: by its measured time)"
    )
    parser.add_argument("--timeout_seconds", type=float, default=60.0, help="a longer prediction is a 504 (default: 60)")
    parser.add_argument(
        "--leaving_seconds", type=float, default=0.3, help="after SIGTERM: not ready, but still answering (default: 0.3)"
    )
    parser.add_argument(
        "--stock_routes", action="store_true", help="KServe's own routes instead of the short one, to compare with"
    )
    arguments.add(parser)
    return parser.parse_args()


def _serve(options: argparse.Namespace, trusted: str) -> None:
    bind, token = os.environ.get("AIPRIME_BIND", "127.0.0.1"), os.environ.pop(instance.SETTING, None)
    listening = bound(bind, options.http_port, "--http_port")
    if options.grpc_port:
        bound(bind, options.grpc_port, "--grpc_port").close()
    session = Session(options.model_dir)
    arguments.check(options)  # again: what was loaded is what was checked, whoever wrote there in between
    sys.argv[1:] = []  # kserve parses them when it is imported
    # feast sets these in its process, and with it in ours; kserve dies where the folder is gone
    for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
        os.environ.pop(name, None)
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # kserve's choice, said on each start
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    spare()
    logging.getLogger("aiprime.serving").info("%s", trusted)
    gc.disable()  # importing makes no garbage, only a quarter of a million objects
    from serving.inference.model import OnnxModel
    from serving.inference.turns import Turns, processors
    from serving.limits import Limits
    from serving.runtime import Server, Settings

    settings = Settings(
        listening=listening,
        grpc_port=options.grpc_port,
        bind=bind,
        body_limit=options.body_limit,
        limits=Limits(seconds=options.idle_seconds, connections=options.max_connections),
        leaving_seconds=options.leaving_seconds,
        stock_routes=options.stock_routes,
        token=token,
    )
    turns = Turns(processors(), waiting=options.max_waiting, deadline_s=options.timeout_seconds)
    server = Server(OnnxModel(options.model_name, session, options.version, turns), settings)
    gc.freeze()  # which no later collection has to walk through while requests wait
    gc.enable()
    server.serve()


if __name__ == "__main__":
    main()
