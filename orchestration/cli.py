"""The `aiprime` command: its words, in the order that its help shows them, and how a mistake is told.

`aiprime --help` answers in under half a second: the commands import what they need when they are called.
"""

import os
import sys
from typing import NoReturn

import typer

from orchestration.commands import explaining, forgetting, keeping, lifecycle, processes, projects, releases, safekeeping

_WORDS = (
    *(processes.up, processes.down, processes.status),
    *(lifecycle.run, lifecycle.retrain, lifecycle.replay),
    *(projects.workloads, lifecycle.predict, explaining.why, projects.new, projects.remove),
    *(keeping.gc, keeping.export, forgetting.forget),
    *(safekeeping.backup, safekeeping.restore, safekeeping.verify),
    *(processes.logs, processes.doctor),
)
_OF_A_RELEASE = (releases.promote, releases.rollback, releases.pause, releases.resume, releases.approve)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From versioned data to a monitored endpoint: one YAML file per model, one graph, one gate.",
)
release = typer.Typer(no_args_is_help=True, help="Which version serves: look, promote, go back, pause, approve.")
for word in _WORDS:
    app.command()(word)
release.command("list")(releases.release_list)
for word in _OF_A_RELEASE:
    release.command()(word)
app.add_typer(release, name="release")


def main() -> None:
    """Run the command; a person's mistake is told in three lines, without a traceback."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # without .pyc files every process compiles every import anew
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.dont_write_bytecode = False
    from data.errors import UserError

    try:
        app()
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted; nothing half-done is served. Run the command again to go on.")


def _fail(said: str) -> NoReturn:
    print(f"error: {said}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
