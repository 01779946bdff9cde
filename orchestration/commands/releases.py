"""`aiprime release`: which version serves."""

from typing import Annotated

import typer

from orchestration.commands import options


def release_list(
    workload: Annotated[str | None, typer.Argument(help="One workload; else all.")] = None, as_json: options.Json = False
) -> None:
    """The versions with the gate's verdict and their state: champion, previous, challenger and its step, held, refused."""
    from orchestration import releasing

    options.show(as_json, releasing.versions(options.places(reading=True), workload), releasing.versions_text)


def promote(
    workload: options.Name,
    reason: options.Reason,
    version: options.Version = None,
    override: Annotated[bool, typer.Option("--override", help="Also where the gate refused it.")] = False,
    as_json: options.Json = False,
) -> None:
    """Make a version the champion now; without VERSION the challenger, past the rest of its rollout."""
    from orchestration import releasing

    done = releasing.promote(options.places(), workload, version, reason, override)
    options.show(as_json, vars(done) if as_json else done, releasing.done_text)


def rollback(
    workload: options.Name, reason: options.Reason, version: options.Version = None, as_json: options.Json = False
) -> None:
    """Take the challenger out; where there is none (or the champion is named), go back to the version before. What is left is held."""
    from orchestration import releasing

    done = releasing.rollback(options.places(), workload, version, reason)
    options.show(as_json, vars(done) if as_json else done, releasing.done_text)


def pause(workload: options.Name, reason: options.Reason, as_json: options.Json = False) -> None:
    """Let nothing be exposed, advanced or promoted by itself; a bad challenger still goes back."""
    from orchestration import releasing

    done = releasing.change(options.places(), "paused", workload, None, reason)
    options.show(as_json, vars(done) if as_json else done, releasing.done_text)


def resume(workload: options.Name, reason: options.Reason, as_json: options.Json = False) -> None:
    """Let the loop go on."""
    from orchestration import releasing

    done = releasing.change(options.places(), "resumed", workload, None, reason)
    options.show(as_json, vars(done) if as_json else done, releasing.done_text)


def approve(
    workload: options.Name, reason: options.Reason, version: options.Version = None, as_json: options.Json = False
) -> None:
    """Let the challenger take all of the traffic once its last step is passed (where the YAML waits for a person)."""
    from orchestration import releasing

    done = releasing.change(options.places(), "approved", workload, version, reason)
    options.show(as_json, vars(done) if as_json else done, releasing.done_text)
