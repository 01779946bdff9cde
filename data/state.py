"""The version of what lies in AIPRIME_HOME: read, written, and a newer one refused. Knows no migration.

HOME/schema.json says it. A home that was made before there was such a file is of version 1.
"""

from __future__ import annotations

import json
from pathlib import Path

from data.errors import UserError
from data.files import write_json

VERSION = 2  # what this code reads and writes
FILE = "schema.json"
_OF_THE_FIRST = ("ledger.db", "ledger.head", "models")  # what any home has in which something was decided


def version(home: Path) -> int | None:
    """The version of the state in `home`; None where nothing was decided in it yet. UserError where the file is none of ours."""
    file = home / FILE
    try:
        found = json.loads(file.read_bytes())["version"]
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise ValueError(f"the version is {found!r}")
    except FileNotFoundError:
        return 1 if any((home / name).exists() for name in _OF_THE_FIRST) else None
    except (ValueError, LookupError, TypeError) as error:
        step = "restore it from a backup (aiprime restore), or write back what it said"
        raise UserError(f"the state's version cannot be read: {error}", where=str(file), next_step=step) from None
    return found


def write(home: Path, version: int) -> None:
    """State the version, durably."""
    write_json(home / FILE, {"version": version})


def begin(home: Path) -> None:
    """Call a home in which nothing was decided yet one of this version; any other is left as it is."""
    if version(home) is None:
        write(home, VERSION)


def refuse_newer(home: Path) -> None:
    """UserError where a newer AI Prime made this home: what it holds could be misread, and what we write be lost on it."""
    found = version(home)
    if found is not None and found > VERSION:
        raise UserError(
            f"this state is of version {found}; this AI Prime knows up to {VERSION}, and changes nothing of it",
            where=str(home),
            next_step="use the AI Prime that wrote it, or name another AIPRIME_HOME",
        )
