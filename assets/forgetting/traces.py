"""An entity's key as it is written into files: found, and written over. Knows kinds of files, not what they are for.

In text and databases the key's letters become `x`, byte for byte, so that lengths, offsets and JSON hold; in Parquet files rows of the entity go,
and other cells that are the key become `x`. A key that is short or a mere number stands in too many texts that mean something else:
it is looked for in columns only, and `Trace.searchable` says so.
"""

# pyarrow.compute makes its functions at run time, where a type checker cannot see them:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import html
import json
import re
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import pyarrow as pa

_SHORTEST = 4
_BLOCK = 16 << 20
_WAIT_S = 30.0


class Trace:
    """One entity's key, in the spellings that files have for it, and the columns that name entities."""

    def __init__(self, entity: str, columns: Collection[str]) -> None:
        self.entity, self.columns = entity, {*columns, "entity"}

    @property
    def searchable(self) -> bool:
        """Whether the key can be told from other text."""
        return len(self.entity) >= _SHORTEST and not self.entity.replace(".", "").isdigit()

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """As it is, and as JSON, HTML and URLs write it."""
        twice = json.dumps(json.dumps(self.entity)[1:-1])[1:-1]  # JSON in JSON
        made = (self.entity, json.dumps(self.entity)[1:-1], twice, html.escape(self.entity), quote(self.entity, safe=""))
        return tuple(sorted({*made}, key=len, reverse=True))

    @cached_property
    def _whole(self) -> re.Pattern[bytes]:
        """The key as a word of its own: `mauna-loa` is not in `mauna-loa-2`. An escaped line break before it is no letter of it."""
        words = b"|".join(re.escape(one.encode(errors="surrogatepass")) for one in self.spellings)
        return re.compile(rb"(?:(?<![\w\x80-\xff-])|(?<=\\[nrt]))(?:%b)(?![\w\x80-\xff-])" % words)

    @cached_property
    def _any(self) -> re.Pattern[bytes]:
        return re.compile(b"|".join(re.escape(one.encode(errors="surrogatepass")) for one in self.spellings))

    def in_bytes(self, content: bytes) -> bool:
        """Whether text states the key."""
        return self.searchable and self._whole.search(content) is not None

    def over(self, content: bytes, *, raw: bool = False) -> bytes:
        """The bytes with the key written over; `raw` bytes have no words, so any place where it stands counts."""
        return (self._any if raw else self._whole).sub(lambda match: b"x" * len(match[0]), content)

    def in_file(self, path: Path) -> bool:
        """Whether a file holds the key: a Parquet file in a cell of its columns, a database in a cell, any other in its bytes."""
        kind = kind_of(path)
        if kind == "parquet":
            return _in_parquet(path, self)
        if not self.searchable:
            return False
        if kind == "database":
            return any(True for _ in _cells(path, self))
        words = self._any if kind == "binary" else self._whole
        return any(words.search(block) for _, block in _blocks(path))

    def from_file(self, path: Path) -> bool:
        """Write the key over, wherever the file holds it; whether anything was changed. A binary file of an unknown kind is left alone.

        sqlite3.OperationalError where a database is locked.
        """
        kind = kind_of(path)
        if kind == "parquet":
            return _from_parquet(path, self)
        if not self.searchable or kind == "binary":
            return False
        return _from_database(path, self) if kind == "database" else _from_text(path, self)


def kind_of(path: Path) -> str:
    """`parquet`, `database` (SQLite), `binary` or `text`, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(8192)
    if head.startswith((b"PAR1", b"SQLite format 3")):
        return "parquet" if head[:4] == b"PAR1" else "database"
    return "binary" if b"\0" in head else "text"


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """The file in blocks that overlap by more than a key is long, and where each begins."""
    overlap, at = 4096, 0
    with path.open("rb") as file:
        while True:
            file.seek(at)
            block = file.read(_BLOCK)
            if not block:
                return
            yield at, block
            if len(block) < _BLOCK:
                return
            at += len(block) - overlap


def _from_text(path: Path, trace: Trace) -> bool:
    """In place: whoever appends to the file meanwhile (a log) goes on behind."""
    changed = False
    for at, block in _blocks(path):
        over = trace.over(block)
        if over == block:
            continue
        mode = path.stat().st_mode
        path.chmod(mode | 0o200)
        with path.open("r+b") as file:
            for start, end in _differing(block, over):
                file.seek(at + start)
                file.write(over[start:end])
        path.chmod(mode)
        changed = True
    return changed


def _differing(block: bytes, over: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(block):
        if block[at : at + 4096] != over[at : at + 4096]:
            yield at, min(at + 4096, len(block))
        at += 4096


def _cells(path: Path, trace: Trace) -> Iterator[tuple[str, str]]:
    """(table, column) wherever a cell of a database holds the key."""
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_WAIT_S)) as db:
        for table, column in _columns(db):
            db.create_function("holds", 1, lambda cell: _holds(cell, trace))
            if db.execute(f"SELECT 1 FROM {table} WHERE holds({column}) LIMIT 1").fetchone():
                yield table, column


def _columns(db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    kinds = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    for (table,) in db.execute(kinds).fetchall():
        quoted = '"' + table.replace('"', '""') + '"'
        for row in db.execute(f"PRAGMA table_info({quoted})").fetchall():
            if not re.search("INT|REAL|FLOA|DOUB|BOOL", str(row[2]).upper()):
                yield quoted, '"' + row[1].replace('"', '""') + '"'


def _holds(cell: Any, trace: Trace) -> bool:
    if isinstance(cell, str):
        return trace.in_bytes(cell.encode(errors="surrogatepass"))
    return isinstance(cell, bytes) and trace._any.search(cell) is not None


def _over(cell: Any, trace: Trace) -> Any:
    if isinstance(cell, str):
        return trace.over(cell.encode(errors="surrogatepass")).decode(errors="surrogatepass")
    return trace.over(cell, raw=True)


def _from_database(path: Path, trace: Trace) -> bool:
    """Overwritten in the file too: SQLite would leave the old pages where they were."""
    found = list(_cells(path, trace))
    with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as db:
        db.create_function("holds", 1, lambda cell: _holds(cell, trace), deterministic=True)
        db.create_function("over", 1, lambda cell: _over(cell, trace), deterministic=True)
        db.execute("PRAGMA secure_delete=ON")
        for table, column in found:
            db.execute(f"UPDATE {table} SET {column} = over({column}) WHERE holds({column})")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if any(trace._whole.search(block) for _, block in _blocks(path)):
            db.execute("VACUUM")  # what was deleted before still lies in free pages
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return bool(found)


def _texts(table: pa.Table) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa

    for name in table.column_names:
        values = table[name]
        kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            yield name, values.cast(pa.string())
        elif pa.types.is_integer(kind):
            yield name, values


def _is(name: str, values: Any, trace: Trace) -> Any:
    """Which cells are the key: numbers only of columns that name entities."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_integer(values.type):
        if name not in trace.columns or not trace.entity.lstrip("-").isdigit():
            return None
        return pc.fill_null(pc.equal(values, int(trace.entity)), False)
    if name not in trace.columns and not trace.searchable:
        return None
    return pc.fill_null(pc.equal(values, trace.entity), False)


def _in_parquet(path: Path, trace: Trace) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    if trace.in_bytes(b"\n".join((file.schema_arrow.metadata or {}).values())):
        return True
    for batch in file.iter_batches(1 << 18):
        for name, values in _texts(pa.Table.from_batches([batch])):
            found = _is(name, values, trace)
            if found is not None and pc.any(found).as_py():
                return True
    return False


def _from_parquet(path: Path, trace: Trace) -> bool:
    """Rows of the entity go; a cell of another column that is the key, and what the metadata say of it, is written over."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not _in_parquet(path, trace):
        return False
    table = pq.read_table(path)
    for name in [name for name, _ in _texts(table)]:
        values = dict(_texts(table))[name]
        found = _is(name, values, trace)
        if found is None or not pc.any(found).as_py():
            continue
        if name in trace.columns:
            table = table.filter(pc.invert(found))
        else:
            field = table.schema.field(name)
            over = pc.if_else(found, "x" * len(trace.entity), values).cast(field.type)
            table = table.set_column(table.column_names.index(name), field, over)
    metadata = {key: trace.over(value) if trace.searchable else value for key, value in (table.schema.metadata or {}).items()}
    beside = path.with_name(f".{path.name}.forgetting")
    try:
        pq.write_table(table.replace_schema_metadata(metadata or None), beside, compression="zstd")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return True
