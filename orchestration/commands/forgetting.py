"""Erasure: what is kept of one entity, looked at or deleted."""

from typing import Annotated

import typer

from orchestration.commands import options


def forget(
    entity: Annotated[str, typer.Option(help="The key, letter by letter as the data have it.")],
    workload: Annotated[str | None, typer.Option(help="Only there; else in every workload whose rows are of entities.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only what would go is listed.")] = False,
    as_json: options.Json = False,
) -> None:
    """Forget an entity: data, features, predictions, labels, old versions; a signed receipt says what was done and what to retrain."""
    from orchestration import erasure

    places = options.places()
    done = erasure.forget(places, entity, workload) if yes else erasure.look(places, entity, workload)
    options.show(as_json, done, erasure.text)
