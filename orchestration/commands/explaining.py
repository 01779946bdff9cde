"""`aiprime why`: where one answer came from, and what moved it."""

from pathlib import Path
from typing import Annotated

import typer

from orchestration.commands import options


def why(
    prediction_id: Annotated[str, typer.Argument(help="An answer's prediction_id; ID/N for a row of a batch.")],
    role: Annotated[
        str | None, typer.Option(help="champion, challenger or shadow; else the answer that the client was given.")
    ] = None,
    of: Annotated[
        str | None, typer.Option(help="One horizon or class to explain; else the first horizons, or what was answered.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain/--no-explain", help="Ask the model what moved this answer (some seconds).")
    ] = True,
    prov: Annotated[Path | None, typer.Option(help="Write W3C PROV: FILE.json or FILE.provn.")] = None,
    openlineage: Annotated[Path | None, typer.Option(help="Write OpenLineage events: FILE.json.")] = None,
    as_json: options.Json = False,
) -> None:
    """Walk from an answer back to version, signature, run, commit, data, checks and verdict; and explain it."""
    from orchestration import explaining

    found = explaining.why(options.places(), prediction_id, role=role, wanted=of, explain=explain)
    if prov is not None:
        explaining.write(found, prov, ("prov-json", "prov-n"))
    if openlineage is not None:
        explaining.write(found, openlineage, ("openlineage",))
    options.show(as_json, found, explaining.text)
