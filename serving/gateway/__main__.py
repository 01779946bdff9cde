"""`python -m serving.gateway --port P`: the gateway of the AIPRIME_HOME in the environment (or `--home`)."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from pathlib import Path

from data.errors import UserError
from data.places import Places


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m serving.gateway", allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--home", type=Path, default=None, help="AIPRIME_HOME (default: the variable, or the project's)")
    options = parser.parse_args()
    # Feast sets these in its own process; prometheus_client would look for files that are gone.
    for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
        os.environ.pop(name, None)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        home = options.home or (Path(os.environ["AIPRIME_HOME"]) if "AIPRIME_HOME" in os.environ else Places.find().home)
        _run(home, options.port)
    except UserError as error:
        sys.exit(str(error))


def _run(home: Path, port: int) -> None:
    gc.disable()  # importing makes no garbage, only a hundred thousand objects
    import uvloop

    from serving.gateway.app import serve
    from serving.gateway.scribe import Scribe
    from serving.records import Records

    gc.freeze()  # a collection that walks through them holds every answer for 20 ms
    gc.enable()
    try:
        uvloop.run(serve(home, port, Records.at(home), Scribe(home)))
    except OSError as error:
        raise UserError(
            f"the gateway cannot listen: {error}", where=f"127.0.0.1:{port}", next_step="choose another --port"
        ) from error


if __name__ == "__main__":
    main()
