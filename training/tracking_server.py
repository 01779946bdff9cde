"""`python -m training.tracking_server ARGUMENTS`: `mlflow server ARGUMENTS` as one process.

MLflow's command checks its arguments, makes the database, then starts the server as a child and waits: 260 MB that do nothing, and
a grandchild of the supervisor that outlives it when the supervisor is killed. Here the server takes the command's own place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def main(arguments: Sequence[str]) -> None:
    """Run `mlflow server` with these arguments; the process becomes the server that the command would have started."""
    from training.tracking import import_mlflow

    import_mlflow()
    import mlflow.server
    from mlflow.cli import cli

    def become(command: Sequence[str], *, extra_env: Mapping[str, str], **_: Any) -> None:
        os.execvpe(command[0], list(command), {**os.environ, **extra_env})  # noqa: S606  (the command is MLflow's own)

    mlflow.server._exec_cmd = become  # pyright: ignore[reportPrivateImportUsage]  (a private name of a pinned package, held by a test)
    cli(["server", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
