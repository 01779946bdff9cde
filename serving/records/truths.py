"""What was told to be true of a time and an entity, whether a prediction was ever made of it or not: a series that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.records.tables import tables

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa


def series(connection: sa.Connection, workload: str, until: int | None) -> pa.Table:
    """Columns entity (null: the only one), time (seconds since 1970), number, name; the newest label of each, by time and entity."""
    import pyarrow as pa
    import sqlalchemy as sa

    of = tables().truths.c
    mine = [of.workload == workload, of.target_time.is_not(None)]
    if until is not None:
        mine.append(of.target_time < until)
    newest = sa.select(sa.func.max(of.sequence)).where(*mine).group_by(of.target_time, of.entity)
    chosen = (
        sa.select(sa.func.nullif(of.entity, ""), of.target_time, of.number, of.name)
        .where(of.sequence.in_(newest))
        .order_by(of.target_time, of.entity)
    )
    columns = list(zip(*connection.execute(chosen), strict=True)) or [()] * 4
    fields = {"entity": pa.string(), "time": pa.int64(), "number": pa.float64(), "name": pa.string()}
    return pa.table({name: pa.array(values, kind) for (name, kind), values in zip(fields.items(), columns, strict=True)})
