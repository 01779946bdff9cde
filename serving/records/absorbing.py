"""Predictions become rows of `outcomes`, and labels their truth. Both in chunks behind a stored cursor, each chunk one transaction.

Two processes that absorb one workload at once take turns: the cursor's row is locked first. In SQLite the outcomes' file has a lock
of its own, so nobody who appends waits for this. All of it can be made again: a cursor that is ahead of the records begins anew.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.records.quantities import Quantities, Quantity, Unreadable
from serving.records.reading import Unpacking, page
from serving.records.tables import DERIVED, tables, unindexed

if TYPE_CHECKING:
    import sqlalchemy as sa

    from training.signature import Signature

log = logging.getLogger("aiprime.records")
_CHUNK = 1000  # predictions, or labels, of one transaction

Begin = Callable[[], Any]  # a context manager that gives a connection in a transaction


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """How far a workload was read in, and how its labels find its outcomes."""

    predictions: int
    labels: int
    task: str
    one_entity: bool  # a label of a time is of any entity: there is only one
    one_horizon: bool  # a label of a prediction's row need not state the horizon


def absorb(begin: Begin, signature: Signature, sole_entity: str | None) -> int:
    """Read in what came since the last time; the number of predictions that were read."""
    reader, unpack = Quantities(signature, sole_entity), Unpacking()
    wanted = {
        "task": signature.task,
        "one_entity": sole_entity is not None or signature.entity is None,
        "one_horizon": len(signature.horizons) <= 1,
    }
    with begin() as connection:
        _introduce(connection, signature.workload, wanted)
    done = 0
    while chunk := _chunk(begin, signature.workload, reader, unpack):
        done += chunk
    settle(begin, signature.workload)
    return done


def settle(begin: Begin, workload: str) -> int:
    """Give the outcomes the truth of labels that came since; the number of labels that were read. 0 where nothing was absorbed yet."""
    with begin() as connection:  # who only looks need not wait for who absorbs
        if _label_end(connection) <= _labels_read(connection, workload):
            return 0
    done = 0
    while chunk := _labels(begin, workload):
        done += chunk
    return done


def _label_end(connection: sa.Connection) -> int:
    import sqlalchemy as sa

    of = tables().chain_ends.c
    return connection.execute(sa.select(of.sequence).where(of.chain == "labels")).scalar_one()


def _labels_read(connection: sa.Connection, workload: str) -> float:
    import sqlalchemy as sa

    of = tables().cursors.c
    found = connection.execute(sa.select(of.labels).where(of.workload == workload)).scalar_one_or_none()
    return math.inf if found is None else found


def _introduce(connection: sa.Connection, workload: str, wanted: dict[str, Any]) -> None:
    """The workload's cursor, as the newest signature has it; from the start where the records were replaced by older ones."""
    import sqlalchemy as sa

    of, outcomes = tables().cursors, tables().outcomes
    mine = of.c.workload == workload
    start = {"workload": workload, "predictions": 0, "labels": 0, "unread": 0}
    _insert_once(connection, of, start | wanted)
    connection.execute(of.update().where(mine).values(workload=workload))  # the lock
    before = connection.execute(of.select().where(mine)).one()
    ends = dict(connection.execute(sa.select(tables().chain_ends.c.chain, tables().chain_ends.c.sequence)).tuples().all())
    if before.predictions > ends["predictions"] or before.labels > ends["labels"]:
        log.warning("%s: the outcomes are ahead of the records; they are made again", workload)
        connection.execute(outcomes.delete().where(outcomes.c.workload == workload))
        connection.execute(of.update().where(mine).values(start | wanted))
    elif any(getattr(before, name) != value for name, value in wanted.items()):
        # Labels find other outcomes now, so all of them are looked at again.
        connection.execute(outcomes.update().where(outcomes.c.workload == workload).values(truth=None))
        connection.execute(of.update().where(mine).values(wanted | {"labels": 0}))


def _insert_once(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> None:
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert
    connection.execute(insert(table).values(row).on_conflict_do_nothing())


def _locked(connection: sa.Connection, workload: str) -> Cursor | None:
    """The cursor, which nobody else can move until the transaction ends; None where there is none."""
    of = tables().cursors
    mine = of.c.workload == workload
    connection.execute(of.update().where(mine).values(workload=workload))
    row = connection.execute(of.select().where(mine)).one_or_none()
    if row is None:
        return None
    return Cursor(
        predictions=row.predictions, labels=row.labels, task=row.task, one_entity=row.one_entity, one_horizon=row.one_horizon
    )


def _chunk(begin: Begin, workload: str, reader: Quantities, unpack: Unpacking) -> int:
    """One chunk of predictions; how many there were."""
    of = tables().cursors
    with begin() as connection:
        cursor = _locked(connection, workload)
        if cursor is None:
            return 0
        found = page(connection, unpack, workload, cursor.predictions, _CHUNK, None)
        if not found:
            return 0
        unread = 0
        rows: list[tuple[int, Quantity]] = []
        for one in found:
            if one.status != 200 or not one.answer:  # an answer that failed, or was erased, predicts nothing
                continue
            try:
                rows += [(one.sequence, quantity) for quantity in reader.read(one)]
            except Unreadable as error:
                unread += 1
                log.warning("%s: prediction %s of version %s cannot be read: %s", workload, one.id, one.version, error)
        if rows:
            _keep(connection, workload, rows)
            _find_truth(connection, workload, cursor, _between(found[0].sequence, found[-1].sequence))
        moved = {"predictions": found[-1].sequence, "unread": of.c.unread + unread}
        connection.execute(of.update().where(of.c.workload == workload).values(moved))
    return len(found)


def _keep(connection: sa.Connection, workload: str, rows: Sequence[tuple[int, Quantity]]) -> None:
    sqlite = connection.dialect.name == "sqlite"
    columns = "sequence, workload, " + ", ".join(f'"{name}"' for name in Quantity._fields)
    marks = ", ".join(["?" if sqlite else "%s"] * (len(Quantity._fields) + 2))
    table = f"{DERIVED}.outcomes" if sqlite else "outcomes"
    connection.exec_driver_sql(
        f"INSERT INTO {table} ({columns}) VALUES ({marks})", [(sequence, workload, *quantity) for sequence, quantity in rows]
    )


def _labels(begin: Begin, workload: str) -> int:
    """One chunk of labels; how many there were."""
    import sqlalchemy as sa

    of, truths, predictions, outcomes = tables().cursors, tables().truths.c, tables().predictions.c, tables().outcomes.c
    with begin() as connection:
        cursor = _locked(connection, workload)
        if cursor is None:
            return 0
        newer = sa.select(truths.sequence).where(truths.sequence > cursor.labels, truths.workload == workload)
        chunk = sa.select(sa.func.max(sa.column("sequence")), sa.func.count()).select_from(
            newer.order_by(truths.sequence).limit(_CHUNK).subquery()
        )
        end = _label_end(connection)
        last, count = connection.execute(chunk).one()
        if count < _CHUNK:
            last = max(last or 0, end)  # past other workloads' labels too
        if not count:
            connection.execute(of.update().where(of.c.workload == workload).values(labels=last))
            return 0
        # The few new labels lead: no index of the workload's many may look better (SQLite has no statistics to know it by).
        new = (truths.sequence > cursor.labels, truths.sequence <= last, unindexed(truths.workload) == workload)
        sequences = sa.select(predictions.sequence).join(tables().truths, truths.id == predictions.id)
        by_id = outcomes.sequence.in_(sequences.where(*new, unindexed(predictions.workload) == workload))
        moment = (truths.target_time,) if cursor.one_entity else (truths.target_time, truths.entity)
        moments = sa.select(*moment).where(*new, truths.target_time.is_not(None))
        of_moment = outcomes.target_time if cursor.one_entity else sa.tuple_(outcomes.target_time, outcomes.entity)
        by_time = sa.and_(outcomes.workload == workload, of_moment.in_(moments))
        for about in (by_id, by_time):
            _find_truth(connection, workload, cursor, about)
        connection.execute(of.update().where(of.c.workload == workload).values(labels=last))
    return count


def _between(first: int, last: int) -> sa.ColumnElement[bool]:
    of = tables().outcomes.c
    return of.sequence.between(first, last)


def _find_truth(connection: sa.Connection, workload: str, cursor: Cursor, which: sa.ColumnElement[bool]) -> None:
    """Point each of these outcomes to the newest label that is about it."""
    import sqlalchemy as sa

    of, truths, predictions = tables().outcomes, tables().truths.c, tables().predictions.c
    usable = [truths.workload == workload]
    if cursor.task != "classification":
        usable.append(truths.number.is_not(None))
    horizon = [truths.horizon == of.c.horizon] + ([truths.horizon == 0] if cursor.one_horizon else [])
    key = sa.select(predictions.id).where(predictions.sequence == of.c.sequence).correlate(of).scalar_subquery()
    by_id = sa.select(sa.func.max(truths.sequence)).where(truths.id == key, truths.row == of.c.row, sa.or_(*horizon), *usable)
    by_time = sa.select(sa.func.max(truths.sequence)).where(truths.target_time == of.c.target_time, *usable)
    if not cursor.one_entity:
        by_time = by_time.where(truths.entity == of.c.entity)
    later = sa.func.max if connection.dialect.name == "sqlite" else sa.func.greatest
    newest = sa.func.nullif(later(*(sa.func.coalesce(one.correlate(of).scalar_subquery(), 0) for one in (by_id, by_time))), 0)
    connection.execute(of.update().where(which, unindexed(of.c.workload) == workload).values(truth=newest))
