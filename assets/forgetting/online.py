"""The values by which requests are completed, of one entity: taken out of Feast's SQLite store as the gateway reads it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from serving.gateway.online import OnlineStore

_WAIT_S = 30.0


def rows(home: Path, workload: str, entity: str) -> int:
    """How many values the online store has of the entity."""
    found = _opened(home, workload, entity)
    if found is None:
        return 0
    table, key = found
    with closing(sqlite3.connect(_file(home, workload), timeout=_WAIT_S)) as db:
        return db.execute(f'SELECT count(*) FROM "{table}" WHERE entity_key = ?', (key,)).fetchone()[0]


def erase(home: Path, workload: str, entity: str) -> int:
    """Delete them, and overwrite them in the file; how many. A gateway that has them in memory notices by itself."""
    found = _opened(home, workload, entity)
    if found is None:
        return 0
    table, key = found
    with closing(sqlite3.connect(_file(home, workload), timeout=_WAIT_S, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete=ON")
        gone = db.execute(f'DELETE FROM "{table}" WHERE entity_key = ?', (key,)).rowcount
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return gone


def entities(home: Path, workload: str) -> set[str]:
    """The entities that have values, as text."""
    try:
        store = OnlineStore(home / "feast" / workload)
    except (OSError, sqlite3.Error, ValueError):
        return set()
    try:
        return {str(one) for one in store.entities()}
    finally:
        store.close()


def _file(home: Path, workload: str) -> Path:
    return home / "feast" / workload / "online.db"


def _opened(home: Path, workload: str, entity: str) -> tuple[str, bytes] | None:
    """The table, and the entity as its key has it; None where nothing was published or no entity is so named."""
    try:
        store = OnlineStore(home / "feast" / workload)
    except FileNotFoundError:
        return None
    try:
        return store.place(entity)
    finally:
        store.close()
