"""The records as Parquet files: predictions with their contents and salts (so a digest can be checked elsewhere), labels, outcomes.

Written page by page: memory stays bounded. Requests and answers are bytes, as they were sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from serving.records.label import About
from serving.records.outcomes import Window, batches, schema, task
from serving.records.prediction import ROLES, Content, id_text
from serving.records.reading import PAGE, Unpacking
from serving.records.tables import tables

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

Connect = Callable[[], Any]


def export(connect: Connect, workload: str, folder: Path) -> list[Path]:
    """Write predictions.parquet, labels.parquet and outcomes.parquet into `folder`; a file appears when it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with connect() as connection:
        outcome_columns = schema(task(connection, workload))
        outcomes = batches(connection, workload, Window())
        return [
            _write(folder / "predictions.parquet", _prediction_columns(), _predictions(connect, workload)),
            _write(folder / "labels.parquet", _label_columns(), _labels(connect, workload)),
            _write(folder / "outcomes.parquet", outcome_columns, outcomes),
        ]


def _write(path: Path, columns: pa.Schema, parts: Iterable[pa.RecordBatch]) -> Path:
    import pyarrow.parquet as pq

    beside = path.with_name(f".{path.name}")
    with pq.ParquetWriter(beside, columns, compression="zstd") as writer:
        for part in parts:
            writer.write_batch(part)
    beside.replace(path)
    return path


def _prediction_columns() -> pa.Schema:
    import pyarrow as pa

    fields = {"sequence": pa.int64(), "id": pa.string(), "version": pa.string(), "role": pa.string(), "at": pa.float64()}
    fields |= {"rows": pa.int32(), "status": pa.int32(), "latency_ms": pa.float64(), "form": pa.string()}
    fields |= {"entities": pa.string()} | dict.fromkeys(("request", "answer", "salt", "digest", "hash"), pa.binary())
    return pa.schema(list(fields.items()))


def _predictions(connect: Connect, workload: str) -> Iterator[pa.RecordBatch]:
    of, payloads = tables().predictions, tables().payloads
    unpack = Unpacking()
    for connection, rows in _pages(connect, of, payloads, workload):
        records = []
        for row in rows:
            content = None if row.content is None else Content.read(unpack(connection, row.dictionary, row.content))
            fixed = row._asdict() | {"id": id_text(row.id), "role": ROLES[row.role]}
            erasable = {"form": None, "entities": None, "request": None, "answer": None}
            if content is not None:
                erasable = {name: getattr(content, name) for name in erasable}
                erasable["entities"] = orjson.dumps(content.entities).decode()
            records.append(fixed | erasable)
        yield _batch(records, _prediction_columns())


def _label_columns() -> pa.Schema:
    import pyarrow as pa

    fields = {"sequence": pa.int64(), "at": pa.float64(), "about": pa.string(), "value": pa.string(), "number": pa.float64()}
    fields |= {"actor": pa.string()} | dict.fromkeys(("salt", "digest", "hash"), pa.binary())
    return pa.schema(list(fields.items()))


def _labels(connect: Connect, workload: str) -> Iterator[pa.RecordBatch]:
    for _, rows in _pages(connect, tables().labels, tables().truths, workload):
        records = []
        for row in rows:
            about = None
            if row.salt is not None:
                about = About(row.id and bytes(row.id), row.row, row.horizon, row.target_time, row.entity).text()
            records.append(row._asdict() | {"about": about, "value": row.name})
        yield _batch(records, _label_columns())


def _pages(connect: Connect, chain: sa.Table, contents: sa.Table, workload: str) -> Iterator[tuple[sa.Connection, Any]]:
    import sqlalchemy as sa

    own = [column for column in contents.columns if column.name not in chain.columns]
    joined = sa.select(chain, *own).join_from(chain, contents, contents.c.sequence == chain.c.sequence, isouter=True)
    joined = joined.where(chain.c.workload == workload).order_by(chain.c.sequence).limit(PAGE)
    after = 0
    while True:
        with connect() as connection:
            rows = connection.execute(joined.where(chain.c.sequence > after)).all()
            if not rows:
                return
            yield connection, rows
        after = rows[-1].sequence


def _batch(records: list[dict[str, Any]], columns: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.record_batch([pa.array([one[f.name] for one in records], f.type) for f in columns], schema=columns)
