"""A key in the databases of others, Dagster's and MLflow's: found in any cell, written over only where they keep what they were told.

Never a primary key, an id, a status or a name: a database whose structure was written over is lost. What is not named here is left, and
whoever asks (`holds`) is told that it still holds the key.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from assets.forgetting.traces import Trace

_WAIT_S = 30.0
_EXPERIMENT = "experiment_id IN (SELECT experiment_id FROM experiments WHERE name = :of)"
_RUN = f"run_uuid IN (SELECT run_uuid FROM runs WHERE {_EXPERIMENT})"
_ASSET = "instr(asset_key, '\"' || :of || '\"') > 0"
_STEP = "substr(step_key, 1, length(:of) + 2) = :of || '__' OR step_key = :of || '_quality'"
_TOLD = "key NOT LIKE 'mlflow.%' OR key = 'mlflow.note.content'"  # its own tags: ids, paths, users


@dataclass(frozen=True, kw_only=True)
class _Told:
    """Columns of a table that hold what was told, which rows' count, and which rows are the workload `:of`'s."""

    columns: tuple[str, ...]
    of: str = "0"
    rows: str = "1"


_PAYLOAD = {
    # Dagster
    "event_logs": _Told(columns=("event",), of=f"{_ASSET} OR {_STEP}"),
    "asset_keys": _Told(columns=("last_materialization",), of=_ASSET),
    "asset_check_executions": _Told(columns=("evaluation_event",), of=_ASSET),
    "job_ticks": _Told(columns=("tick_body",)),
    # MLflow
    "params": _Told(columns=("value",), of=_RUN),
    "tags": _Told(columns=("value",), of=_RUN, rows=_TOLD),
    "experiment_tags": _Told(columns=("value",), of=_EXPERIMENT, rows=_TOLD),
    "logged_model_params": _Told(columns=("param_value",), of=_EXPERIMENT),
    "logged_model_tags": _Told(columns=("tag_value",), of=_EXPERIMENT, rows=_TOLD.replace("key", "tag_key")),
    "model_versions": _Told(columns=("description",), of="name = :of"),
    "model_version_tags": _Told(columns=("value",), of="name = :of", rows=_TOLD),
    "registered_models": _Told(columns=("description",), of="name = :of"),
    "registered_model_tags": _Told(columns=("value",), of="name = :of", rows=_TOLD),
    "datasets": _Told(columns=("dataset_schema", "dataset_profile"), of=_EXPERIMENT),
    "input_tags": _Told(columns=("value",), rows="name NOT LIKE 'mlflow.%'"),
}


def holds(path: Path, trace: Trace) -> bool:
    """Whether any cell states the key."""
    with _looked_at(path) as db:
        db.create_function("holds", 1, lambda cell: isinstance(cell, str | bytes) and trace.stated(cell))
        return any(
            db.execute(f"SELECT 1 FROM {table} WHERE holds({column}) LIMIT 1").fetchone() for table, column in _columns(db)
        )


def reaches(path: Path, trace: Trace) -> bool:
    """Whether `write_over` would change anything."""
    with _looked_at(path) as db:
        return bool(_found(db, trace))


def write_over(path: Path, trace: Trace) -> bool:
    """Written over in the file too: SQLite would leave the old pages where they were. Whether anything was.

    sqlite3.OperationalError where the database is locked.
    """
    with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as db:
        found = _found(db, trace)
        db.execute("PRAGMA secure_delete=ON")
        for table, column, rows in found:
            change = f"UPDATE {table} SET {column} = over({column}) WHERE ({rows}) AND {column} IS NOT over({column})"
            db.execute(change, {"of": trace.of})
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if found and trace.in_pages(path):
            db.execute("VACUUM")  # what was deleted before still lies in free pages
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return bool(found)


def experiment(home: Path, workload: str) -> str | None:
    """The id of a workload's experiment, by which MLflow names its folder of artefacts; None where it has none."""
    try:
        with _looked_at(home / "mlflow" / "mlflow.db") as db:
            row = db.execute("SELECT experiment_id FROM experiments WHERE name = ?", (workload,)).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0])


def _looked_at(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_WAIT_S))


def _found(db: sqlite3.Connection, trace: Trace) -> list[tuple[str, str, str]]:
    """(table, column, which rows) wherever something is to be written over."""
    db.create_function("over", 1, lambda cell: _over(cell, trace), deterministic=True)
    found, there = [], {*_columns(db)}
    for name, told in _PAYLOAD.items():
        rows = f"({told.rows})" if trace.of is None else f"({told.rows}) AND ({told.of})"
        for column in told.columns:
            if (table := f'"{name}"', quoted := f'"{column}"') not in there:
                continue
            sought = f"SELECT 1 FROM {table} WHERE ({rows}) AND {quoted} IS NOT over({quoted}) LIMIT 1"
            try:
                found += [(table, quoted, rows)] if db.execute(sought, {"of": trace.of}).fetchone() else []
            except sqlite3.OperationalError as error:
                if not str(error).startswith("no such"):
                    raise
                # a database of another version: which rows count cannot be told, so they are left
    return found


def _columns(db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    kinds = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    for (table,) in db.execute(kinds).fetchall():
        quoted = '"' + table.replace('"', '""') + '"'
        for row in db.execute(f"PRAGMA table_info({quoted})").fetchall():
            if not re.search("INT|REAL|FLOA|DOUB|BOOL", str(row[2]).upper()):
                yield quoted, '"' + row[1].replace('"', '""') + '"'


def _over(cell: Any, trace: Trace) -> Any:
    if not isinstance(cell, str):
        return cell
    content = cell.encode(errors="surrogatepass")
    over = trace.over_json(content) if content.lstrip()[:1] in (b"{", b"[") else trace.over_value(content)
    return over.decode(errors="surrogatepass")
