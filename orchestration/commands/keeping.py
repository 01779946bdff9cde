"""What is kept, and for how long: free disk, write the records out."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from orchestration.commands import options


def gc(
    keep: Annotated[
        int, typer.Option(min=1, help="Versions to keep per workload, beside the champion and its rollback target.")
    ] = 3,
    records_before: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Also erase what was answered before (UTC)."),
    ] = None,
) -> None:
    """Free disk: old versions' files and unreferenced data; records too, where a date is named."""
    from orchestration import freeing, housekeeping, whole_state

    places = options.places()
    with whole_state.held(places, "gc"):
        print(housekeeping.gc(places, keep))
        if records_before:
            print(freeing.records(places, records_before))


def export(
    workload: options.Name,
    folder: Annotated[Path, typer.Argument(help="A folder for predictions, labels and outcomes as Parquet.")],
) -> None:
    """Write a workload's records as Parquet files."""
    from assets.spec import load
    from serving.records import Records

    places = options.places()
    load(places, workload)
    for file in Records.at(places.home).export(workload, folder):
        print(file)
