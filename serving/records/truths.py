"""What was told to be true: as a series by time and entity, whether a prediction was made of it or not; how far it goes, and how far back new
labels reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.records.tables import tables, unindexed

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa


@dataclass(frozen=True, kw_only=True)
class Told:
    """Labels behind a sequence number."""

    sequence: int  # the last label that outcomes were joined with
    earliest: int | None  # the first target time that one of them is about, seconds since 1970; None: there are none


def told(connection: sa.Connection, workload: str, after: int) -> Told:
    """How far outcomes were joined with labels, and how far back in target time the labels behind sequence number `after` reach.

    Reads the new labels alone, so that it takes no longer with each year.
    """
    import sqlalchemy as sa

    of, cursors, outcomes, predictions = tables().truths.c, tables().cursors.c, tables().outcomes.c, tables().predictions.c
    joined = connection.execute(sa.select(cursors.labels).where(cursors.workload == workload)).scalar_one_or_none() or 0
    new = (of.sequence > after, of.sequence <= joined, unindexed(of.workload) == workload)
    by_time = sa.select(sa.func.min(of.target_time)).where(*new)
    by_id = (
        sa.select(sa.func.min(outcomes.target_time))
        .join_from(tables().truths, tables().predictions, predictions.id == of.id)
        .join(tables().outcomes, outcomes.sequence == predictions.sequence)
        .where(*new)
    )
    times = [connection.execute(one).scalar_one() for one in (by_time, by_id)]
    return Told(sequence=int(joined), earliest=min((int(one) for one in times if one is not None), default=None))


def series(connection: sa.Connection, workload: str, until: int | None) -> pa.Table:
    """Columns entity (null: the only one), time (seconds since 1970), number, name; the newest label of each, by time and entity."""
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
    return _table(connection, chosen)


def joined(connection: sa.Connection, workload: str, until: int | None) -> pa.Table:
    """The same of the predictions that labels were joined with: the truth of the newest prediction of each time and entity.

    One row per time and entity however many predictions were made of it: the database chooses.
    """
    import sqlalchemy as sa

    of, told_ = tables().outcomes.c, tables().truths
    mine = [of.workload == workload, of.truth.is_not(None)]
    if until is not None:
        mine.append(of.target_time < until)
    newest_first = (of.sequence.desc(), of.row.desc(), of.horizon.desc())
    place = sa.func.row_number().over(partition_by=(of.target_time, of.entity), order_by=newest_first).label("place")
    ranked = sa.select(of.entity, of.target_time, of.truth, place).where(*mine).subquery()
    chosen = (
        sa.select(ranked.c.entity, ranked.c.target_time, told_.c.number, told_.c.name)
        .join_from(ranked, told_, told_.c.sequence == ranked.c.truth)
        .where(ranked.c.place == 1)
        .order_by(ranked.c.target_time, ranked.c.entity)
    )
    return _table(connection, chosen)


def told_until(connection: sa.Connection, workload: str) -> int | None:
    """The newest time that a label by time is about; None where there is none. One look into the index."""
    import sqlalchemy as sa

    of = tables().truths.c
    newest = sa.select(sa.func.max(of.target_time)).where(of.workload == workload, of.target_time.is_not(None))
    found = connection.execute(newest).scalar_one()
    return None if found is None else int(found)


def _table(connection: sa.Connection, chosen: sa.Select[*tuple[Any, ...]]) -> pa.Table:
    import pyarrow as pa

    columns = list(zip(*connection.execute(chosen), strict=True)) or [()] * 4
    fields = {"entity": pa.string(), "time": pa.int64(), "number": pa.float64(), "name": pa.string()}
    return pa.table({name: pa.array(values, kind) for (name, kind), values in zip(fields.items(), columns, strict=True)})
