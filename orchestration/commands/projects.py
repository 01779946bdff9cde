"""The workloads of a project: list, bring, take out."""

from typing import Annotated

import typer

from orchestration.commands import options


def workloads(as_json: options.Json = False) -> None:
    """The workloads of this project, with what each serves."""
    from orchestration import report

    options.show(as_json, report.workloads(options.places(reading=True)), report.workloads_text)


def new(
    name: Annotated[str, typer.Argument(help="A name for it: lower-case letters, digits, _.")],
    csv: Annotated[str, typer.Option("--csv", help="A CSV or Parquet file, or a quoted glob; it is read again at each run.")],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    time: Annotated[str | None, typer.Option(help="The column that says when.")] = None,
    entity: Annotated[str | None, typer.Option(help="The column that says which: a station, a shop, a customer.")] = None,
) -> None:
    """Bring your own data: infer a workload's YAML from a file, for you to curate."""
    from orchestration import housekeeping

    print(housekeeping.new(options.places(), name, csv, target, time, entity))


def remove(name: options.Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Take a workload out of service and out of the project. Versioned data and registered versions stay."""
    from orchestration import housekeeping

    if not yes and not typer.confirm(f"Stop serving {name} and remove its folder?"):
        raise typer.Exit(1)
    print(housekeeping.remove(options.places(), name))
