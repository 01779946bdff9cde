"""An entity's key as it is written into files: found, and written over. Knows kinds of files, not what they are for.

In text and databases the key's letters become `x`, byte for byte, so that lengths, offsets and JSON hold; in Parquet files rows of the entity go,
and other cells that are the key become `x`. In JSON only values do, never a name. A key that is short, a mere number or a reserved word stands in
too many texts that mean something else: it is looked for in columns only, and `Trace.searchable` says so.
"""

# pyarrow.compute makes its functions at run time, where a type checker cannot see them:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from assets.forgetting import databases

if TYPE_CHECKING:
    import pyarrow as pa

_SHORTEST = 4
_BLOCK = 16 << 20
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"(\s*:)?', re.DOTALL)
_MESSAGE = re.compile(rb"\s|\\[nrt]|^[{\[<(]")  # more than one word, or a text with a form of its own
_NAMED = re.compile(rb'\\*"\s*:')  # what stands before it is a name, in JSON within JSON too
_STRUCTURE = re.compile(
    rb"__.*|(?:.*_)?(?:id|status|type|mode|level|digest|hash|uri|path)|step_key"
)  # names whose values are ids and the like
_NAMES = (b"pandas", b"ARROW:schema")  # metadata of a Parquet file that name columns and hold no row


class Trace:
    """One entity's key, in the spellings that files have for it, and the columns that name entities."""

    def __init__(self, entity: str, columns: Collection[str], *, reserved: Collection[str] = (), of: str | None = None) -> None:
        """`reserved`: words that mean something else, letters' case folded. `of`: of shared databases only this workload's rows."""
        self.entity, self.columns, self.of = entity, {*columns, "entity"}, of
        self.is_word = entity.casefold() in reserved

    @property
    def searchable(self) -> bool:
        """Whether the key can be told from other text."""
        return len(self.entity) >= _SHORTEST and not self.entity.replace(".", "").isdigit() and not self.is_word

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

    def stated(self, content: bytes | str) -> bool:
        """Whether text states the key as a word, or bytes that have no words hold it; searchable or not."""
        if isinstance(content, str):
            return self._whole.search(content.encode(errors="surrogatepass")) is not None
        return self._any.search(content) is not None

    def in_pages(self, path: Path) -> bool:
        """Whether the bytes of a file hold the key anywhere, free pages of a database included."""
        return any(self._any.search(block) for _, block in _blocks(path))

    def over(self, content: bytes) -> bytes:
        """The bytes with the key written over."""
        return self._whole.sub(lambda match: b"x" * len(match[0]), content)

    def over_value(self, value: bytes) -> bytes:
        """A value: written over where it is the key, or is a message that states it."""
        if value in self._exact:
            return b"x" * len(value)
        if not _MESSAGE.search(value):
            return value
        return self._whole.sub(lambda match: match[0] if _NAMED.match(value, match.end()) else b"x" * len(match[0]), value)

    def over_json(self, content: bytes) -> bytes:
        """JSON, or lines of it: values only, and none of names that say what a thing is."""
        if not self._any.search(content):
            return content
        name = b""

        def one(match: re.Match[bytes]) -> bytes:
            nonlocal name
            if match[2] is not None:
                name = match[1]
            elif not _STRUCTURE.fullmatch(name):
                return b'"%b"' % self.over_value(match[1])
            return match[0]

        return _STRING.sub(one, content)

    @cached_property
    def _exact(self) -> frozenset[bytes]:
        return frozenset(one.encode(errors="surrogatepass") for one in self.spellings)

    def in_file(self, path: Path) -> bool:
        """Whether a file holds the key: a Parquet file in a cell of its columns, a database in a cell, any other in its bytes."""
        if kind_of(path) == "parquet":
            return _in_parquet(path, self)
        return self.searchable and self.stands_in(path)

    def stands_in(self, path: Path) -> bool:
        """Whether a file that is no Parquet file states the key as a word, searchable or not."""
        kind = kind_of(path)
        if kind == "database":
            return databases.holds(path, self)
        words = self._any if kind == "binary" else self._whole
        return any(words.search(block) for _, block in _blocks(path))

    def reaches(self, path: Path) -> bool:
        """Whether `from_file` would change anything: not where only names, ids or a binary file's bytes hold the key."""
        kind = kind_of(path)
        if kind == "parquet":
            return _in_parquet(path, self)
        if not self.searchable or kind == "binary":
            return False
        if kind == "database":
            return databases.reaches(path, self)
        return any(over(block) != block for _, block, over in self._parts(path))

    def from_file(self, path: Path) -> bool:
        """Write the key over, wherever a file may lose it; whether anything was changed. A binary file of an unknown kind is left alone.

        sqlite3.OperationalError where a database is locked.
        """
        kind = kind_of(path)
        if kind == "parquet":
            return _from_parquet(path, self)
        if not self.searchable or kind == "binary":
            return False
        return databases.write_over(path, self) if kind == "database" else _from_text(path, self)

    def _parts(self, path: Path) -> Iterator[tuple[int, bytes, Callable[[bytes], bytes]]]:
        """A text in pieces, where each begins, and how it is written over: JSON as a whole, for its form must be known."""
        if path.suffix in (".json", ".jsonl"):
            yield 0, path.read_bytes(), self.over_json
            return
        for at, block in _blocks(path):
            yield at, block, self.over


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
    for at, block, write_over in trace._parts(path):
        over = write_over(block)
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
    said = file.schema_arrow.metadata or {}
    if any(trace.in_bytes(value) for key, value in said.items() if key not in _NAMES):
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
    metadata = {**(table.schema.metadata or {})}
    if trace.searchable:
        metadata |= {key: trace.over(value) for key, value in metadata.items() if key not in _NAMES}
    beside = path.with_name(f".{path.name}.forgetting")
    try:
        pq.write_table(table.replace_schema_metadata(metadata or None), beside, compression="zstd")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return True
