"""The canonical table as bytes: its digest and its Parquet file. Both depend on names, types, values and order only."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

from data.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa


def table_digest(df: pd.DataFrame) -> str:
    """sha256 (hex) of names, types and values in order: the same for a table that came from CSV and from Parquet."""
    digest = hashlib.sha256(f"{len(df)}".encode())
    for name, column in df.items():
        digest.update(f"\0{name}\0{column.dtype.kind}\0".encode())
        for part in _parts(column):
            digest.update(memoryview(part))
    return digest.hexdigest()


def _parts(column: pd.Series) -> Iterable[Any]:
    """Buffers that are equal where the values are: one NaN, no negative zero, little-endian. Images one by one."""
    import numpy as np
    import pyarrow as pa

    kind, values = column.dtype.kind, column.array
    if kind == "M":
        return [column.astype("int64").to_numpy().astype("<i8")]
    if kind == "f":
        numbers = np.asarray(values, dtype="<f8") + 0.0
        return [np.where(np.isnan(numbers), np.nan, numbers)]
    if kind != "O":
        return [np.ascontiguousarray(values, dtype="<i8" if kind == "i" else "u1")]
    if _holds_images(column):
        return (np.ascontiguousarray(one, dtype="<f4").reshape(-1) for one in values)
    text = pa.array(values, pa.large_string(), from_pandas=True)
    _, offsets, content = text.buffers()
    lengths = np.diff(np.frombuffer(offsets, dtype="<i8")[: len(text) + 1])
    return [np.where(np.asarray(text.is_null()), -1, lengths), content or b""]


def _holds_images(column: pd.Series) -> bool:
    return len(column) > 0 and not isinstance(column.iloc[0], str | None)


def write(df: pd.DataFrame, path: Path, metadata: dict[bytes, bytes] | None = None) -> None:
    """The canonical table as Parquet, atomically; the same table gives the same bytes. Times are timestamp[us, UTC]."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def field(column: pd.Series) -> pa.Array:
        if column.dtype.kind == "M":
            return pa.array(column, pa.timestamp("us", "UTC"))
        if column.dtype.kind != "O":
            return pa.array(column.to_numpy())
        return pa.array(list(column), pa.list_(pa.float32()) if _holds_images(column) else pa.string())

    buffer = io.BytesIO()
    table = pa.table({str(name): field(column) for name, column in df.items()}).replace_schema_metadata(metadata)
    pq.write_table(table, buffer, compression="zstd", row_group_size=1 << 18)
    write_atomically(path, buffer.getvalue())
