"""How much is kept: rows, and bytes on the disk. What to do about it is for others to decide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serving.records.tables import tables

if TYPE_CHECKING:
    import sqlalchemy as sa


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Rows by kind, and the bytes of the whole store with its indexes and logs."""

    predictions: int
    contents: int  # of predictions that were not erased
    labels: int
    outcomes: int
    bytes: int

    @property
    def rows(self) -> int:
        """Predictions and labels: what only grows."""
        return self.predictions + self.labels


def bounds(connection: sa.Connection, workload: str | None) -> Bounds:
    """Counted now; by the indexes, which takes about a second for ten million."""
    import sqlalchemy as sa

    of = tables()

    def count(table: sa.Table) -> int:
        chosen = sa.select(sa.func.count()).select_from(table)
        return connection.execute(chosen if workload is None else chosen.where(table.c.workload == workload)).scalar_one()

    kept = sa.select(sa.func.count()).select_from(of.payloads)
    if workload is not None:
        kept = kept.join(of.predictions, of.predictions.c.sequence == of.payloads.c.sequence)
        kept = kept.where(of.predictions.c.workload == workload)
    return Bounds(
        predictions=count(of.predictions),
        contents=connection.execute(kept).scalar_one(),
        labels=count(of.labels),
        outcomes=count(of.outcomes),
        bytes=_bytes(connection),
    )


def _bytes(connection: sa.Connection) -> int:
    import sqlalchemy as sa

    if connection.dialect.name == "sqlite":
        files = [Path(file) for _, _, file in connection.exec_driver_sql("PRAGMA database_list") if file]
        every = [path for file in files for path in (file, file.with_name(f"{file.name}-wal"))]
        return sum(path.stat().st_size for path in every if path.exists())
    size = sa.text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
    return sum(connection.execute(size, {"name": one.name}).scalar_one() for one in tables().metadata.sorted_tables)
