"""One file's bytes to a table, or an error that a person can act on. It knows CSV and Parquet, not sections or kinds.

CSV cells stay text until `data/prepare.py` gives them the declared kind: an id keeps its leading zeros, `NA` stays a country.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from typing import TYPE_CHECKING

from data import caps
from data.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_DELIMITERS = ",;\t|"
_ENCODINGS = ("cp1252", "latin-1")
_LOOKED_AT = 16 << 20  # bytes at a time


def parse(content: bytes, name: str) -> pa.Table:
    """The table in `content`, cells of a CSV as text; `name` tells Parquet, CSV and CSV.gz apart. UserError says why not.

    What it may become in memory has limits (data/caps.py).
    """
    lower = name.lower()
    caps.refuse_size(len(content), name)
    if lower.endswith((".parquet", ".pq")):
        table = _parquet(content, name)
    elif lower.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")):
        table = _csv(bytes(caps.gunzipped(content, name)) if lower.endswith(".gz") else content, name)
    else:
        raise UserError(
            "the file's ending says neither CSV nor Parquet", where=name, next_step="name it .csv, .csv.gz, .tsv or .parquet"
        )
    if table.num_rows == 0:
        raise UserError(
            "there are column names but no rows",
            where=name,
            next_step="add rows, or point data.source at the file that has them",
        )
    return table


def _header(record: str, name: str) -> list[str]:
    """The column names, stripped; an empty one becomes `column_N`. UserError where two are the same."""
    try:
        line = next(csv.reader(io.StringIO(record, newline=""), delimiter=_delimiter(record)))
    except csv.Error as error:
        raise UserError(f"the column names cannot be read: {error}", where=f"{name}, line 1", next_step="mend it") from error
    caps.refuse_width(len(line), name)
    names = [cell.strip() or f"column_{i}" for i, cell in enumerate(line, 1)]
    if twice := sorted(n for n, count in Counter(names).items() if count > 1):
        raise UserError(
            f"two columns have the same name: {', '.join(twice)}", where=f"{name}, line 1", next_step="rename one of them"
        )
    return names


def _delimiter(record: str) -> str:
    """Comma, semicolon, tab or bar: the one that splits the first line into the most cells; comma where none does."""
    return max(_DELIMITERS, key=lambda d: (len(next(csv.reader(io.StringIO(record, newline=""), delimiter=d), [])), d == ","))


def _first_record(content: bytes, name: str) -> tuple[str, int]:
    """The header's text, and where the rows begin: after the first line break outside quotes."""
    start = len(content) - len(content.lstrip(b"\r\n"))
    at, quotes = start, 0
    while (end := content.find(b"\n", at)) >= 0:
        quotes += content.count(b'"', at, end)
        if quotes % 2 == 0:
            break
        at = end + 1
    if end < 0:
        end = content.find(b"\r", start)  # the line ends of old Macs
    end = len(content) if end < 0 else end
    if end - start > caps.SOURCE.line:
        raise UserError("a quote is opened in the column names and never closed", where=f"{name}, line 1", next_step="close it")
    return content[start:end].decode("utf-8", errors="replace").strip("\r\n"), end


def _parquet(content: bytes, name: str) -> pa.Table:
    import pyarrow as pa

    if not content:
        raise UserError("the file is empty", where=name, next_step="write it again, or point data.source elsewhere")
    try:
        table = caps.parquet(content, name)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"not a readable Parquet file: {error}", where=name, next_step="write the file again") from error
    if len(set(table.column_names)) < len(table.column_names):
        raise UserError("two columns have the same name", where=name, next_step="rename one of them")
    names = [column for column in table.column_names if not column.startswith("__index_level_")]  # pandas' nameless index
    return table.select(names).replace_schema_metadata(None)  # a named index is a column like any other


def _csv(content: bytes, name: str) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _not_utf8(name, "UTF-16")
    content = content.removeprefix(codecs.BOM_UTF8)
    if not content.strip(b" \t\r\n\0"):
        raise UserError("the file is empty", where=name, next_step="write it again, or point data.source elsewhere")
    caps.refuse_lines(content, name)
    record, end = _first_record(content, name)
    names = _header(record, name)
    if not content[end:].strip(b" \t\r\n\0"):
        return pa.table({column: pa.array([], pa.string()) for column in names})

    def read(newlines: bool) -> pa.Table:
        return arrow_csv.read_csv(
            pa.BufferReader(pa.py_buffer(content).slice(end)),
            read_options=arrow_csv.ReadOptions(column_names=names, block_size=4 << 20),
            parse_options=arrow_csv.ParseOptions(delimiter=_delimiter(record), newlines_in_values=newlines),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )

    try:
        try:
            table = read(newlines=False)  # parses in parallel
        except pa.ArrowInvalid:
            table = read(newlines=True)  # a quoted cell may hold line breaks
    except pa.ArrowInvalid as error:
        raise _explained(content, name, error) from error
    if content.count(b'"') % 2 and any("\n" in (cell.as_py() or "") for cell in (column[-1] for column in table.columns)):
        raise UserError(
            "a quote is opened and never closed",
            where=f"{name}, after row {table.num_rows - 1}",
            next_step="close it, or double it",
        )
    return table


def _explained(content: bytes, name: str, error: Exception) -> UserError:
    """Why Arrow could not read it, with the line: the encoding, or the first row with too few or too many cells. Read as it flows."""
    rows = csv.reader(
        io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline=""),
        delimiter=_delimiter(_first_record(content, name)[0]),
    )
    try:
        width = len(next(rows))
        for row in rows:
            if row and len(row) != width:
                what = f"a row has {len(row)} cells where the first line names {width} columns"
                return UserError(
                    what,
                    where=f"{name}, line {rows.line_num}",
                    next_step="mend that line; a cell that holds the delimiter must be quoted",
                )
    except UnicodeDecodeError:
        return _encoding(content, name)
    except csv.Error as wrong:
        return UserError(f"not a readable CSV file: {wrong}", where=f"{name}, line {rows.line_num}", next_step="mend that line")
    return UserError(
        f"not a readable CSV file: {error}", where=name, next_step="check that every line has the same number of cells"
    )


def _encoding(content: bytes, name: str) -> UserError:
    """Which line is not UTF-8, and what it looks like."""
    at = 0
    while (wrong := _undecodable(content, at)) is None:
        at = content.rfind(b"\n", at, at + _LOOKED_AT) + 1 or len(content)  # lines are shorter: data/caps.py
    line = content.count(b"\n", 0, wrong) + 1
    around = content[max(0, wrong - _LOOKED_AT) : wrong + _LOOKED_AT]
    return _not_utf8(f"{name}, line {line}", next(e for e in _ENCODINGS if _decodes(around, e)))


def _undecodable(content: bytes, at: int) -> int | None:
    """Where a block of whole lines is not UTF-8; None where it is."""
    end = content.rfind(b"\n", at, at + _LOOKED_AT) + 1 or len(content)
    try:
        content[at:end].decode("utf-8")
    except UnicodeDecodeError as wrong:
        return at + wrong.start
    return None


def _not_utf8(where: str, encoding: str) -> UserError:
    step = f"convert it: iconv -f {encoding.upper()} -t UTF-8 OLD.csv > NEW.csv"
    return UserError(f"the text is not UTF-8; it looks like {encoding}", where=where, next_step=step)


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
