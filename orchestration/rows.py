"""A file of rows to what a request carries, through the readers that training uses: `yes` is true, `1,5` is 1.5, blank is null.

Nothing is changed on the way without a word: a value that is not of its column's kind is refused with its file, line and column.
"""

# pyarrow.compute makes its functions at run time, where a type checker cannot see them:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.kinds import Misfit, convert, unmissing
from data.schema import Column
from data.tables import parse
from training.signature import Signature

if TYPE_CHECKING:
    import pyarrow as pa


def read(file: Path, signature: Signature, *, numbered: bool = False) -> list[dict[str, Any]]:
    """The rows of a CSV or Parquet file as JSON values of the signature's kinds; columns that the model does not take are left out.

    `numbered`: the entity is a whole number. UserError where the file cannot be read, lacks a column, or holds what does not fit.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=str(file), next_step="check the path") from error
    table = parse(content, str(file))
    columns = {column.name: Column.model_validate(column.model_dump(exclude={"tensor"})) for column in signature.inputs}
    if signature.entity:
        entity = Column(name=signature.entity, kind="integer" if numbered else "category", nullable=True)
        columns.setdefault(signature.entity, entity)
    _refuse_lacking(table.column_names, signature, file)
    wanted = [name for name in columns if name in table.column_names]
    cells = [_Cells(file, content, columns[name]).values(table[name]) for name in wanted]
    return [dict(zip(wanted, row, strict=True)) for row in zip(*cells, strict=True)]


def _refuse_lacking(header: list[str], signature: Signature, file: Path) -> None:
    """What the online store completes may be left out, where the rows name the entity (or the series has none)."""
    completed = signature.stored and (signature.entity is None or signature.entity in header)
    optional = {*signature.stored, signature.time} if completed else set()
    names = [column.name for column in signature.inputs]
    lacking = [name for name in names if name not in header and name not in optional]
    if not lacking and {*names, signature.entity} & {*header}:
        return
    entity = f"{signature.entity!r} or, without it, " if signature.stored and not completed else ""
    what = f"lacks the column {entity}{', '.join(map(repr, lacking[:5]))}" if lacking else "has no column that the model takes"
    also = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    brief = (
        f"; with a column {signature.entity!r} the stored ones may be left out" if signature.stored and signature.entity else ""
    )
    raise UserError(
        f"the file {what}{also}",
        where=f"{file}, line 1: {', '.join(map(repr, header[:10]))}",
        next_step=f"the model takes: {', '.join(names[:20])}{brief}",
    )


class _Cells:
    """One column of the file; it knows where it stands, for the errors."""

    def __init__(self, file: Path, content: bytes, column: Column) -> None:
        self._file, self._content, self._column = file, content, column

    def values(self, cells: pa.ChunkedArray) -> list[Any]:
        """The column as JSON values, None where there is none."""
        if self._column.kind == "image":
            return [self._image(cell.as_py(), row) for row, cell in enumerate(cells)]
        try:
            found = convert(cells, self._column)
        except Misfit as misfit:
            raise self._misfit(misfit) from misfit
        values = self._plain(found)
        if self._column.kind == "number":
            self._refuse_infinite(cells, values)
        if not self._column.nullable and None in values:
            raise self._error(
                "there is no value, and the model needs one", values.index(None), "fill the cell, or leave the row out"
            )
        return values

    def _plain(self, found: Any) -> list[Any]:
        import pandas as pd

        if self._column.kind == "time":
            return [None if pd.isna(time) else time.isoformat().replace("+00:00", "Z") for time in found]
        types: dict[str, Any] = {"number": float, "integer": int, "boolean": bool, "category": str}
        as_kind = types[self._column.kind]
        return [None if value is None or value != value else as_kind(value) for value in found.tolist()]

    def _refuse_infinite(self, cells: pa.ChunkedArray, values: list[Any]) -> None:
        """`convert` takes an infinity for a missing value; a person who wrote one is told."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if None not in values:
            return
        said = pc.cast(cells, pa.string())
        for row, (value, text) in enumerate(zip(values, unmissing(said), strict=True)):
            if value is None and text.is_valid:
                raise self._error(f"{text.as_py()!r} is not a finite number", row, "write a number, or leave the cell empty")

    def _image(self, cell: Any, row: int) -> list[Any]:
        """One image, nested as its shape, from a list or its JSON; flat or nested."""
        import numpy as np

        shape = self._column.shape
        step = f"write {' x '.join(map(str, shape))} numbers as a JSON list"
        try:
            pixels = np.asarray(json.loads(cell) if isinstance(cell, str) else cell)
            if pixels.dtype.kind not in "iuf" or not np.isfinite(pixels).all():
                raise self._error("not all of the image's values are finite numbers", row, step)
            return pixels.reshape(shape).tolist()
        except (ValueError, TypeError, OverflowError, RecursionError) as error:  # a JSONDecodeError is a ValueError
            raise self._error(f"this is no image: {error}", row, step) from error

    def _misfit(self, misfit: Misfit) -> UserError:
        what = f"{self._column.name!r} is {self._column.kind} and {misfit}"
        return self._error(what, misfit.examples[0][0] - 1 if misfit.examples else None, "mend the cell")

    def _error(self, what: str, row: int | None, step: str) -> UserError:
        line = "" if row is None else f", {_line(self._file, self._content, row)}"
        return UserError(what, where=f"{self._file}{line}, column {self._column.name!r}", next_step=step)


def _line(file: Path, content: bytes, row: int) -> str:
    """Where the row counted from 0 begins: empty lines are no rows, and a quoted cell may hold line breaks."""
    name = file.name.lower()
    if name.endswith((".parquet", ".pq")):
        return f"row {row + 1}"
    text = (gzip.decompress(content) if name.endswith(".gz") else content).decode("utf-8", errors="replace")
    record, quoted = -1, False
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if not quoted and not line:
            continue
        record += not quoted
        if not quoted and record == row + 1:
            return f"line {number}"
        quoted ^= line.count('"') % 2 == 1
    return f"row {row + 1}"
