"""What is kept against the day that something is lost: back it up, bring it back, look whether all of it is whole."""

from pathlib import Path
from typing import Annotated

import typer

from orchestration.commands import options

Key = Annotated[Path | None, typer.Option("--key", help="The public key (PEM) that must have signed the backup, and no other.")]
Unsigned = Annotated[bool, typer.Option("--unsigned", help="Accept a backup without a signature, as older ones are.")]


def backup(
    destination: Annotated[Path, typer.Argument(help="A folder, best on another disk; each backup is a new folder in it.")],
    full: Annotated[
        bool, typer.Option("--full", help="Copy what the backup before holds, too, instead of linking to it.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Keep the whole state, while everything goes on: ledger, records, models, keys, data, MLflow, Dagster."""
    from orchestration.backup import report, taking

    taken = taking.backup(options.places(), destination, full=full, told=report.progress)
    options.show(as_json, report.taken(taken) if as_json else taken, report.taken_text)


def restore(
    source: Annotated[Path, typer.Argument(help="A backup, or the folder of backups: then the newest.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="There is a state already: keep it beside, under another name.")
    ] = False,
    receipts: Annotated[
        Path | None, typer.Option(help="A folder with receipts of erasures that came after the backup.")
    ] = None,
    key: Key = None,
    unsigned: Unsigned = False,
    as_json: options.Json = False,
) -> None:
    """Bring a backup back as AIPRIME_HOME, whole or not at all; then erase again what was forgotten since."""
    from orchestration.backup import report, restoring
    from orchestration.backup.signature import Trust

    asked = {"replace": replace, "receipts_from": receipts, "trust": Trust(key=key, unsigned=unsigned), "told": report.progress}
    done = restoring.restore(options.places(), source, **asked)
    options.show(as_json, report.restored(done) if as_json else done, report.restored_text)


def verify(
    backup: Annotated[Path | None, typer.Argument(help="Look at a backup instead of the state.")] = None,
    key: Key = None,
    unsigned: Unsigned = False,
    as_json: options.Json = False,
) -> None:
    """Look whether all of it is whole: chains, signatures, models, data, databases. Reads every byte."""
    from orchestration import findings, verifying
    from orchestration.backup.signature import Trust

    places = options.places(reading=True)
    trust = Trust(key=key, unsigned=unsigned)
    found = verifying.of_backup(backup, places.home, trust) if backup else verifying.everything(places)
    options.show(as_json, [vars(one) for one in found], findings.text)
    if any(one.state == "bad" for one in found):
        raise typer.Exit(1)
