"""What commands have in common: how a workload, a version and a reason are given, where the project lies, and how a result is printed."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from data.places import Places

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Name = Annotated[str, typer.Argument(help="The workload's name; `aiprime workloads` lists them.")]
Version = Annotated[str | None, typer.Argument(help="A registered version; `aiprime release list` shows them.")]
Reason = Annotated[str, typer.Option(help="Why; it stays on record.")]


def places(*, reading: bool = False) -> "Places":
    """The project that the command is called in; UserError outside of one, and unless it is `reading` where a newer one made the state."""
    from data import state
    from data.places import Places

    found = Places.find()
    if not reading:
        state.refuse_newer(found.home)
    return found


def show(as_json: bool, value: Any, text: Callable[[Any], str]) -> None:
    """Print a result, for a script or for a person."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False) if as_json else text(value))
