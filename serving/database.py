"""The door to the database that keeps records: SQLite files that lose nothing acknowledged, or any other database by its URL.

SQLite in WAL mode with synchronous=FULL (WAL + NORMAL loses acknowledged commits at a power cut, measured). No pool: a connection
must never cross a fork. Knows no table: who keeps something says what to create.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError

if TYPE_CHECKING:
    import sqlalchemy as sa

_WAIT_S = 30  # for another writer of the same SQLite file


def opened(url: str | Path, create: Callable[[sa.Engine], None], beside: Mapping[str, str] | None = None) -> sa.Engine:
    """An engine on a SQLAlchemy URL or an SQLite file's path, with its tables made by `create`.

    `beside` names schemas whose tables can be made again from the others, and the file of each: in SQLite a file beside the
    database, with a lock of its own; elsewhere they lie among the others.
    """
    import sqlalchemy as sa
    from sqlalchemy import event

    address = sa.URL.create("sqlite", database=str(url)) if isinstance(url, Path) else _address(url)
    if address.get_backend_name() != "sqlite":
        engine = sa.create_engine(address, poolclass=sa.NullPool)
        engine = engine.execution_options(schema_translate_map=dict.fromkeys(beside)) if beside else engine
        _created(engine, create)
        return engine
    file = Path(address.database or "")
    attached = {schema: file.with_name(name) for schema, name in (beside or {}).items()}
    # The thread that opened it need not be the one that writes: whoever keeps a connection has a lock of its own.
    engine = sa.create_engine(address, poolclass=sa.NullPool, connect_args={"timeout": _WAIT_S, "check_same_thread": False})
    event.listen(engine, "connect", lambda connection, _: _durable(connection, attached))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_name(f"{file.name}.lock").open("a") as lock:  # several first callers at once
            fcntl.flock(lock, fcntl.LOCK_EX)
            _created(engine, create)
    except OSError as error:
        what = f"the folder of {file.name} cannot be used: {error.strerror}"
        raise UserError(what, where=str(file), next_step="make the folder writable, and make room on its disk") from error
    return engine


@contextmanager
def explained(url: str | Path, what: str) -> Iterator[None]:
    """The database's own refusals (locked, full, unreadable, damaged), said to a person; `what` is what cannot be used.

    What the database says of a statement of ours (a broken constraint, a wrong name) is our mistake and goes on as it is.
    """
    from sqlalchemy.exc import DatabaseError, InterfaceError, InternalError, OperationalError

    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        if type(error) not in {DatabaseError, InterfaceError, InternalError, OperationalError}:
            raise
        where = str(url) if isinstance(url, Path) else url.rpartition("@")[2]  # never a password
        step = f"free space on the disk, or end the process that holds {what}; nothing was recorded, so run it again"
        if damaged(error):
            step = "restore it from a backup (aiprime restore); nothing was recorded"
        raise UserError(f"{what} cannot be used: {error.orig}", where=where, next_step=step) from error


def damaged(error: BaseException | None) -> bool:
    """Whether a database says that what it holds is no database's: pages that do not fit together, or text that is none."""
    from sqlalchemy.exc import DatabaseError, OperationalError

    undecoded = isinstance(error, OperationalError) and str(error.orig).startswith("Could not decode to UTF-8")
    return type(error) is DatabaseError or undecoded


def _address(url: str) -> sa.URL:
    """The URL, which a person wrote; UserError where no database can be meant. It may hold a password: none of it is shown."""
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError

    try:
        address = sa.make_url(url)
        address.get_dialect().import_dbapi()
    except (ArgumentError, ImportError, ValueError) as error:
        raise UserError(
            f"the database's URL cannot be used: {error}",
            where="AIPRIME_LEDGER_URL",
            next_step="write it as postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, or leave it out for SQLite",
        ) from None
    return address


def _created(engine: sa.Engine, create: Callable[[sa.Engine], None]) -> None:
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for attempt in range(2):  # where two create at once, the slower one then finds everything there
        try:
            create(engine)
            return
        except (IntegrityError, ProgrammingError):
            if attempt:
                raise


def _durable(connection: Any, attached: Mapping[str, Path]) -> None:
    """SQLite: acknowledged means on the disk, and readers never wait for the writer."""
    for pragma in (f"busy_timeout={_WAIT_S * 1000}", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").close()
    for schema, file in attached.items():
        connection.execute(f"ATTACH DATABASE ? AS {schema}", (str(file),)).close()
        # What can be made again may lose its newest commits at a power cut, as long as they go whole.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {schema}.{pragma}").close()
