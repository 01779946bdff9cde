"""The SQLite files of a home: which there are, and whether SQLite still finds them whole."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from data.errors import UserError
from orchestration.backup import contents
from serving import snapshot

_STEPS = 10_000  # of SQLite's machine, between two looks at the clock
_WAIT_S, _SHORT_S = 30.0, 0.5  # for a writer's lock
_LATER = (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def of(home: Path) -> list[Path]:
    """Every SQLite file that the state consists of."""
    named = [home / name for name in snapshot.DATABASES]
    return [
        file
        for file in [*named, *(home / path for path in contents.rest(home) if contents.is_database(path))]
        if file.is_file()
    ]


def damage(file: Path, *, quick: bool = False, until: float | None = None, read_only: bool = False) -> str | None:
    """What SQLite finds wrong with a file; None where nothing. `quick` leaves the indexes out.

    TimeoutError where it is not through at `until` (time.monotonic()), or somebody holds its lock for long. `read_only` opens a file that
    nobody writes to, and makes no log.
    """
    found: list[str] = []
    try:
        how = "immutable=1" if read_only else "mode=rw"
        with closing(
            sqlite3.connect(f"file:{quote(str(file))}?{how}", uri=True, timeout=_SHORT_S if quick else _WAIT_S)
        ) as database:
            if until is not None:
                database.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
            check = "quick_check" if quick else "integrity_check"
            found = [str(said) for (said,) in database.execute(f"PRAGMA {check}(3)") if said != "ok"]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in _LATER:
            raise TimeoutError(f"{file}: {error}") from None
        found = [str(error)]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    return "; ".join(found) or None


def refuse_damaged(home: Path, budget_s: float = 2.0) -> None:
    """UserError where a database is damaged, as far as that is seen in the time: before anything is started on it."""
    end, bad = time.monotonic() + budget_s, []
    for file in sorted(of(home), key=lambda one: one.stat().st_size):  # many small ones before a large one
        try:
            if said := damage(file, quick=True, until=end):
                bad.append(f"{file.relative_to(home)}: {said}")
        except TimeoutError:  # too long for now, or being written: whoever writes would have said
            if time.monotonic() > end:
                break
    if bad:
        raise UserError(
            "a database is damaged, and nothing was started:\n" + "\n".join(bad),
            where=str(home),
            next_step="aiprime restore BACKUP --replace brings the state back (this one is kept beside it); aiprime verify shows what else is",
        )
