"""`python -m training.tracking_server ARGUMENTS`: `mlflow server ARGUMENTS` as one process.

MLflow's command checks its arguments, makes the database, then starts the server as a child and waits: 260 MB that do nothing, and
a grandchild of the supervisor that outlives it when the supervisor is killed. Here the server runs in the command's own process, which
has imported MLflow already: half of the CPU that its start takes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_SERVER = "mlflow.server"


def main(arguments: Sequence[str]) -> None:
    """Run `mlflow server` with these arguments; the process becomes the server that the command would have started."""
    from training.tracking import import_mlflow

    import_mlflow()
    import mlflow.server
    from mlflow.cli import cli

    mlflow.server._exec_cmd = _become  # pyright: ignore[reportPrivateImportUsage]  (a private name of a pinned package, held by a test)
    cli(["server", *arguments])


def _become(command: Sequence[str], *, extra_env: Mapping[str, str], **_: Any) -> None:
    """Serve as `command` (python -m uvicorn ARGUMENTS) would with `extra_env`."""
    from uvicorn.main import main as serve

    if list(command[1:3]) != ["-m", "uvicorn"]:
        raise RuntimeError(f"MLflow starts its server in another way than it did: {command[:3]}")
    os.environ.update(extra_env)
    for name in [name for name in sys.modules if name == _SERVER or name.startswith(f"{_SERVER}.")]:
        del sys.modules[name]  # its routes and guards were made without these settings: imported again, it reads them
    serve(list(command[3:]))


if __name__ == "__main__":
    main(sys.argv[1:])
