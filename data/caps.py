"""How much a file may become while it is read: said before anything large is made, and checked while it grows. Knows bytes, not tables' meaning.

A compressed byte can stand for a thousand (deflate's limit is 1,032), a Parquet dictionary's value for a million rows of it: what a
file weighs says nothing of what it unpacks to.
"""

# pyarrow.compute makes its functions at run time, where a type checker cannot see them:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BLOCK = 1 << 20
_BATCH = 65_536
_THRIFT: dict[str, Any] = {
    "thrift_string_size_limit": 64 << 20,
    "thrift_container_size_limit": 4_000_000,
}  # of a Parquet file's footer
_END_OF_ZIP, _ENTRY = b"PK\x05\x06", 46  # the record that ends an archive, and the least that a member takes in its list


class TooMuch(UserError):
    """A file that holds, or would unpack to, more than is read."""


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Limits of one file; the defaults are a source's. Bytes are of memory, decoded."""

    bytes: int = 2 << 30
    ratio: int = 100  # of unpacked to packed bytes, once they are more than `unpacked`
    unpacked: int = 256 << 20
    rows: int = 200_000_000
    columns: int = 10_000
    line: int = 4 << 20  # the longest line of a CSV file, its first one included
    members: int = 1_000


SOURCE = Caps()


def refuse_size(size: int, name: str, caps: Caps = SOURCE) -> None:
    """TooMuch where a file of `size` bytes is not to be read at all."""
    if size > caps.bytes:
        raise TooMuch(
            f"the file has {_mb(size)}, and {_mb(caps.bytes)} is the most that is read at once",
            where=name,
            next_step="split it into several files and name them by a glob",
        )


def gunzipped(content: bytes, name: str, caps: Caps = SOURCE) -> bytearray:
    """What a gzip file (of several members too) unpacks to, block by block. TooMuch for a bomb; UserError where it is no gzip."""
    most = min(caps.bytes, max(caps.unpacked, caps.ratio * len(content)))
    found, rest = bytearray(), memoryview(content)
    try:
        while rest:
            unpacking = zlib.decompressobj(wbits=31)
            while not unpacking.eof:
                if not rest and not unpacking.unconsumed_tail:
                    raise EOFError("it ends too early")
                found += unpacking.decompress(unpacking.unconsumed_tail or rest, _BLOCK)
                rest = rest[len(rest) :]  # zlib keeps what it has not consumed
                if len(found) > most:
                    raise _bomb(name, len(content), caps)
            rest = memoryview(unpacking.unused_data.lstrip(b"\0"))  # padding, as gzip(1) allows
    except (zlib.error, EOFError) as error:
        raise UserError(f"cannot be unzipped: {error}", where=name, next_step="fetch or write the file again") from error
    return found


def _bomb(name: str, packed: int, caps: Caps) -> TooMuch:
    return TooMuch(
        f"its {_mb(packed)} unpack to more than {_mb(min(caps.bytes, max(caps.unpacked, caps.ratio * packed)))}",
        where=name,
        next_step="if it is meant, unpack it yourself, or split it into several files and use a glob",
    )


def member(content: bytes, wanted: str, name: str, caps: Caps = SOURCE) -> bytes:
    """One member of a zip archive by its exact name, in memory: nothing is ever written under a name that an archive states.

    TooMuch where the archive lists too many members or the member is a bomb; UserError where it is not there, or is a link.
    """
    import stat
    import zipfile

    end = content.rfind(_END_OF_ZIP)
    listed = max(
        int.from_bytes(content[end + 10 : end + 12], "little"), int.from_bytes(content[end + 12 : end + 16], "little") // _ENTRY
    )
    if end >= 0 and listed > 16 * caps.members:  # names and comments make entries longer: counted again below
        raise TooMuch(f"the archive lists up to {listed:,} members", where=name, next_step="pack the one file that is meant")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(archive.infolist()) > caps.members:
                what = f"the archive has {len(archive.infolist()):,} members"
                raise TooMuch(what, where=name, next_step="pack the one file that is meant")
            info = archive.getinfo(wanted)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise UserError(f"{wanted} is a link in the archive", where=name, next_step="pack the file itself")
            most = min(caps.bytes, max(caps.unpacked, caps.ratio * info.compress_size))
            with archive.open(info) as file:
                found = file.read(most + 1)
    except (KeyError, OSError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile) as error:
        raise UserError(f"no {wanted} can be read from it: {error}", where=name, next_step="fetch the archive again") from error
    if len(found) > most:
        raise _bomb(name, info.compress_size, caps)
    return found


def refuse_lines(content: bytes | bytearray, name: str, caps: Caps = SOURCE) -> None:
    """TooMuch where a line of a text file is longer than `caps.line`; UserError where the bytes hold a NUL, as no text does."""
    if (at := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, at) + 1
        raise UserError(
            "there is a NUL byte: this is no text, or UTF-16 without its mark",
            where=f"{name}, line {line}",
            next_step="export the file again as CSV in UTF-8",
        )
    begins = 0
    while len(content) - begins > caps.line:
        ends = max(content.rfind(b"\n", begins, begins + caps.line), content.rfind(b"\r", begins, begins + caps.line))
        if ends < 0:
            line = content.count(b"\n", 0, begins) + 1
            raise TooMuch(
                f"a line is longer than {_mb(caps.line)}",
                where=f"{name}, line {line}",
                next_step="check that its rows end with a line break and that quotes are closed",
            )
        begins = ends + 1


def refuse_width(columns: int, name: str, caps: Caps = SOURCE) -> None:
    """TooMuch for more columns than a table may have."""
    if columns > caps.columns:
        raise TooMuch(
            f"there are {columns:,} columns, and {caps.columns:,} are the most",
            where=f"{name}, line 1",
            next_step="leave out what is not needed, or write one row per value",
        )


def parquet(content: bytes, name: str, caps: Caps = SOURCE) -> pa.Table:
    """The table of a Parquet file. TooMuch by what its footer declares, before a page is read, and by what its text decodes to.

    pyarrow.ArrowException or OSError where it is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(content), **_THRIFT)
    found = file.metadata
    refuse_width(found.num_columns, name, caps)
    if found.num_rows > caps.rows or found.num_row_groups * found.num_columns > _THRIFT["thrift_container_size_limit"]:
        raise TooMuch(
            f"it declares {found.num_rows:,} rows in {found.num_row_groups:,} groups",
            where=name,
            next_step=f"split it: {caps.rows:,} rows are the most that is read at once",
        )
    declared, of_text, text = _declared(file)
    if declared > caps.bytes:
        raise _decodes(declared, name, caps)
    if declared + of_text <= caps.bytes:
        return file.read()
    leaves = [file.schema.column(i) for i in range(found.num_columns)]
    if any(leaf.physical_type == "BYTE_ARRAY" and leaf.max_repetition_level for leaf in leaves):  # lists of text: no column is
        raise _decodes(declared + of_text, name, caps)
    return _carefully(pq.ParquetFile(pa.BufferReader(content), read_dictionary=text, **_THRIFT), declared, name, caps)


def _declared(file: pq.ParquetFile) -> tuple[int, int, list[str]]:
    """The bytes of all values of a fixed width; the most that text can decode to; and the paths of its columns.

    A chunk's text can be its whole page in each row, where a dictionary says so.
    """
    schema, fixed, of_text, text = file.schema, 0, 0, set()
    widths = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}
    columns = [schema.column(i) for i in range(file.metadata.num_columns)]
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for i, column in enumerate(columns):
            chunk = group.column(i)
            if column.physical_type == "BYTE_ARRAY":
                of_text += chunk.num_values * max(chunk.total_uncompressed_size, 1)
                text.add(column.path)
            else:
                fixed += chunk.num_values * (widths.get(column.physical_type) or max(column.length, 1))
    return fixed, of_text, sorted(text)


def _carefully(file: pq.ParquetFile, declared: int, name: str, caps: Caps) -> pa.Table:
    """Batch by batch, text as places in its dictionary: its length is known before it is written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    size, batches = declared, []
    for batch in file.iter_batches(_BATCH, use_threads=False):
        columns: list[Any] = []
        for column in batch.columns:
            if not pa.types.is_dictionary(column.type):
                columns.append(column)
                continue
            lengths = pc.take(pc.binary_length(column.dictionary), column.indices)
            size += (pc.sum(lengths).as_py() or 0) + 4 * len(column)
            columns.append(None if size > caps.bytes else pc.cast(column, column.type.value_type))
        if size > caps.bytes:
            raise _decodes(size, name, caps)
        batches.append(pa.record_batch(columns, names=batch.schema.names))
    kinds = [pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in file.schema_arrow]
    return pa.Table.from_batches(batches, pa.schema(kinds))


def _decodes(size: int, name: str, caps: Caps) -> TooMuch:
    return TooMuch(
        f"its values take {_mb(size)} or more, and {_mb(caps.bytes)} is the most that is read at once",
        where=name,
        next_step="split it into several files and name them by a glob",
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size:,} bytes"
