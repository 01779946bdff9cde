"""One moment of all that is recorded, copied while others write: the ledger and the records, cut at the same instant.

Always into the same SQLite files, whatever database it comes from: SQLite by its backup interface out of a read transaction that began
while both writers were kept out for an instant; any other database table by table, in one transaction. Knows nothing of backups.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.files import write_json
from serving import chain
from serving.database import explained, opened
from serving.ledger import Ledger
from serving.noted import refuse_lost
from serving.records import Records
from serving.records.tables import DERIVED, tables

if TYPE_CHECKING:
    import sqlalchemy as sa

LEDGER, RECORDS, OUTCOMES = "ledger.db", "records.db", "outcomes.db"
DATABASES = (LEDGER, RECORDS, OUTCOMES)
FILES = (LEDGER, "ledger.head", RECORDS, "records.head", OUTCOMES)  # what `take` makes
_WAIT_S = 30  # for a writer to end its transaction
_LONGEST_S = 600  # for a database whose writer never does
_BESIDE = {DERIVED: OUTCOMES}
_BATCH = 1000  # rows

End = tuple[int, str]  # a chain's newest record: its sequence number and hash (hex)


@dataclass(frozen=True, kw_only=True)
class Ends:
    """How far the three chains went."""

    decisions: End
    predictions: End
    labels: End

    @classmethod
    def read(cls, written: dict[str, Any]) -> Ends:
        """Of `asdict`, after JSON."""
        return cls(**{name: (int(sequence), str(digest)) for name, (sequence, digest) in written.items()})


def elsewhere() -> str | None:
    """The database that is not a file of this home, where AIPRIME_LEDGER_URL names one."""
    return os.environ.get("AIPRIME_LEDGER_URL")


def take(home: Path, into: Path) -> Ends:
    """Write `FILES` into a folder: what was acknowledged before the call is in them, and no chain is ahead of another.

    UserError where a database cannot be read.
    """
    into.mkdir(parents=True, exist_ok=True)
    refuse_lost(home)  # or the copy, with ends of its own, would hide for good what is gone
    if (url := elsewhere()) is not None:
        _poured_out(url, into)
    else:
        _made(home)
        copied(home / OUTCOMES, into / OUTCOMES)  # first: it may lag behind what it is made from, and never lead
        with _moment([home / LEDGER, home / RECORDS]) as readers:
            for reader, name in zip(readers, (LEDGER, RECORDS), strict=True):
                _copy(reader, into / name, home / name)
    ends = ends_of(into)
    note(into, ends)
    return ends


def copied(file: Path, target: Path) -> None:
    """One SQLite database as it is at some moment of the call, its log included. UserError where it is damaged."""
    with closing(_connected(file)) as source:
        _copy(source, target, file)


def ends_of(folder: Path) -> Ends:
    """What `take` wrote, by its own account."""
    with closing(_connected(folder / LEDGER)) as ledger, closing(_connected(folder / RECORDS)) as records:
        [(sequence, digest)] = ledger.execute("SELECT sequence, hash FROM head").fetchall()
        ends = {
            name: (at, bytes(end).hex()) for name, at, end in records.execute("SELECT chain, sequence, hash FROM chain_ends")
        }
    return Ends(decisions=(sequence, digest), predictions=ends["predictions"], labels=ends["labels"])


def note(folder: Path, ends: Ends) -> None:
    """Write the noted ends beside the chains, as the ledger and the records do."""
    parts = {name: {"sequence": sequence, "hash": digest} for name, (sequence, digest) in asdict(ends).items()}
    write_json(folder / "ledger.head", parts.pop("decisions"))
    write_json(folder / "records.head", parts)


def refuse_full(url: str) -> None:
    """UserError where the database that AIPRIME_LEDGER_URL names holds records already."""
    with _everything(url) as connection:
        decided = connection.execute(chain.tables()[1].select()).one().sequence
        kept = sum(row.sequence for row in connection.execute(tables().chain_ends.select()))
    if decided or kept:
        raise UserError(
            f"the database holds {decided} decisions and {kept} records already",
            where="AIPRIME_LEDGER_URL",
            next_step="name an empty database, or drop these tables yourself; nothing was changed",
        )


def pour_in(folder: Path, url: str) -> None:
    """Fill an empty database with what `take` wrote, in one transaction."""
    refuse_full(url)
    with opened(url, lambda _: None, beside=_BESIDE).begin() as target:
        for name, ours in _by_file():
            with opened(folder / name, lambda _: None, beside=_beside(name)).connect() as source:
                for table in ours:
                    _pour(source, target, table)


@contextmanager
def _everything(url: str) -> Iterator[sa.Connection]:
    """A connection to the database of that URL, in which our tables are."""
    Ledger(url).newest()
    Records(url).sizes([])
    with explained(url, "the database"), opened(url, lambda _: None, beside=_BESIDE).connect() as connection:
        yield connection


def _made(home: Path) -> None:
    """Have the databases, empty ones where nothing was kept yet."""
    Ledger(home / LEDGER).newest()
    Records(home / RECORDS).sizes([])


@contextmanager
def _moment(files: Sequence[Path]) -> Iterator[list[sqlite3.Connection]]:
    """Connections that read all of the files as they were at one instant; those who append waited for that instant, no longer."""
    with ExitStack() as reading:
        readers = [reading.enter_context(closing(_connected(file))) for file in files]
        with ExitStack() as writing:
            for file in files:
                writing.enter_context(closing(_connected(file))).execute("BEGIN IMMEDIATE")
            for reader in readers:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM sqlite_master").fetchall()  # a transaction begins with its first read
        yield readers


def _connected(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=_WAIT_S, isolation_level=None)


def _copy(source: sqlite3.Connection, target: Path, file: Path) -> None:
    """The copy is looked through too: damage must not be carried into a backup unseen."""
    end = time.monotonic() + _LONGEST_S

    def in_time(status: int, *_: int) -> None:
        if time.monotonic() > end:
            raise TimeoutError(f"{file} is locked (SQLite's status {status})")

    try:
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            source.backup(copy, pages=1 << 16, progress=in_time)
            found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, "no space left", str(target)) from error
        found = str(error)
    if found != "ok":
        step = "aiprime verify shows what else is; aiprime restore brings back a backup"
        raise UserError(f"{file.name} is damaged: {found}", where=str(file), next_step=step)


def _by_file() -> list[tuple[str, list[sa.Table]]]:
    """Our tables by the file that they lie in; the outcomes lie beside the records."""
    return [(LEDGER, list(chain.tables())), (RECORDS, tables().metadata.sorted_tables)]


def _beside(name: str) -> dict[str, str] | None:
    return _BESIDE if name == RECORDS else None


def _poured_out(url: str, into: Path) -> None:
    _made(into)
    with _everything(url) as source:
        if source.dialect.name == "sqlite":  # whose driver begins no transaction to read
            source.exec_driver_sql("BEGIN")
        else:
            source.execution_options(isolation_level="REPEATABLE READ")
        for name, ours in _by_file():
            with opened(into / name, lambda _: None, beside=_beside(name)).begin() as target:
                for table in ours:
                    _pour(source, target, table)
            (into / f"{name}.lock").unlink()


def _pour(source: sa.Connection, target: sa.Connection, table: sa.Table) -> None:
    target.execute(table.delete())
    for rows in source.execute(table.select().execution_options(yield_per=_BATCH)).partitions():
        target.execute(table.insert(), [dict(row._mapping) for row in rows])
