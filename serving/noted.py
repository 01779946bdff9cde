"""Whether the three chains still have the ends that were noted beside them.

A log that was deleted, an older file put in the place of a newer one, a database made anew: each leaves a chain that holds in itself.
Reads one row per chain, so it can be asked at each start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from serving import chain
from serving.database import explained, opened
from serving.records.tables import tables

if TYPE_CHECKING:
    import sqlalchemy as sa

_DATABASES = {"ledger.head": "ledger.db", "records.head": "records.db"}


def lost(home: Path) -> list[str]:
    """A sentence for each chain that does not reach, or does not agree with, its noted end. UserError where one cannot be read."""
    return [said for file, database in _DATABASES.items() for said in _lost(home, file, database)]


def refuse_lost(home: Path) -> None:
    """UserError where records are gone that were there."""
    if said := lost(home):
        step = "aiprime restore BACKUP brings them back; aiprime verify shows what is left"
        raise UserError("\n".join(said), where=str(home), next_step=step)


def disagreements(home: Path, ends: Mapping[str, tuple[int, str]]) -> list[str]:
    """A sentence for each chain that does not have one of these ends (by chain: sequence number, hash in hex)."""
    found = []
    for database, names in {"ledger.db": ("decisions",), "records.db": ("predictions", "labels")}.items():
        found += _compared(home, database, {name: ends[name] for name in names})
    return found


def _lost(home: Path, file: str, database: str) -> list[str]:
    return _compared(home, database, _read(home / file)) if (home / file).is_file() else []


def _compared(home: Path, database: str, ends: Mapping[str, tuple[int, str]]) -> list[str]:
    from sqlalchemy.exc import DatabaseError

    url = os.environ.get("AIPRIME_LEDGER_URL")
    if url is None and not (home / database).is_file():  # to open it would make an empty one
        return [f"{database} is gone: it held records"]
    address = url or home / database
    try:
        with explained(address, database), opened(address, lambda _: None).connect() as connection:
            said = [_disagreement(connection, name, *end) for name, end in ends.items()]
    except DatabaseError as error:
        said = [f"it cannot be read: {error.orig}"]
    return [f"{database}: {one}" for one in said if one is not None]


def _read(file: Path) -> dict[str, tuple[int, str]]:
    """A noted file's ends by chain; the ledger's has one, without a name. UserError where it is none."""
    try:
        written: dict[str, Any] = json.loads(file.read_bytes())
        parts = {"decisions": written} if "sequence" in written else written
        return {name: (int(end["sequence"]), str(end["hash"])) for name, end in parts.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"the noted end cannot be read: {error}", where=str(file), next_step="aiprime restore BACKUP") from None


def _disagreement(connection: sa.Connection, name: str, sequence: int, digest: str) -> str | None:
    if sequence == 0:
        return None
    table = chain.tables()[0] if name == "decisions" else tables().metadata.tables[name]
    found = connection.execute(table.select().where(table.c.sequence == sequence)).one_or_none()
    if found is None:
        newest = connection.execute(table.select().order_by(table.c.sequence.desc()).limit(1)).one_or_none()
        return f"the {name} reached number {sequence} and now end at {newest.sequence if newest else 0}: some are gone"
    held = found.hash if isinstance(found.hash, str) else bytes(found.hash).hex()
    return None if held == digest else f"number {sequence} of the {name} is another one than was noted: the chain was replaced"
