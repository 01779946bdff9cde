"""Reading records back, in pages: no read holds the database for long, however much there is. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from serving.records.label import Label, by_id, by_time
from serving.records.packing import Packer
from serving.records.prediction import ROLES, Content, Prediction, Role, id_bytes, id_text
from serving.records.tables import tables

if TYPE_CHECKING:
    import sqlalchemy as sa

PAGE = 1000


class Unpacking:
    """Contents as they were, by the number of the dictionary that they were packed with."""

    def __init__(self) -> None:
        self._packers = {0: Packer(0, b"")}

    def __call__(self, connection: sa.Connection, number: int, stored: bytes) -> bytes:
        """The content; ValueError where it cannot be had again."""
        import sqlalchemy as sa

        if number not in self._packers:
            of = tables().dictionaries.c
            found = connection.execute(sa.select(of.content).where(of.number == number)).scalar_one_or_none()
            if found is None:
                raise ValueError(f"the dictionary {number} is missing")
            self._packers[number] = Packer(number, bytes(found))
        return self._packers[number].unpack(bytes(stored))


def find(connection: sa.Connection, prediction_id: str) -> list[Prediction]:
    """Every role's record of an id (ID or ID/N); empty where there is none."""
    try:
        key = id_bytes(prediction_id)
    except ValueError:
        return []
    of = tables().predictions.c
    return _predictions(connection, Unpacking(), lambda chosen: chosen.where(of.id == key))


def sizes(connection: sa.Connection, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """(workload, rows) of those ids that are there; contents stay unread. ValueError where one is no id."""
    import sqlalchemy as sa

    of = tables().predictions.c
    found = {}
    for start in range(0, len(ids), PAGE):
        keys = [id_bytes(one) for one in ids[start : start + PAGE]]
        chosen = sa.select(of.id, of.workload, sa.func.max(of.rows)).where(of.id.in_(keys)).group_by(of.id, of.workload)
        found |= {id_text(key): (workload, rows) for key, workload, rows in connection.execute(chosen)}
    return found


def labels_of(connection: sa.Connection, prediction_id: str) -> list[Label]:
    """The newest label of each row and horizon of an id (ID or ID/N); erased ones are not there."""
    import sqlalchemy as sa

    try:
        key = id_bytes(prediction_id)
    except ValueError:
        return []
    of = tables().truths.c
    chosen = sa.select(of.row, of.horizon, of.workload, of.name, of.number, of.actor).where(of.id == key)
    found: dict[str, Label] = {}
    for row in connection.execute(chosen.order_by(of.sequence)):
        about = by_id(id_text(key), row.row, row.horizon or None)
        value = row.name if row.number is None else row.number
        found[about] = Label(workload=row.workload, about=about, value=value, actor=row.actor)
    return list(found.values())


def labels_at(connection: sa.Connection, workload: str, moments: Sequence[tuple[int, str | None]]) -> list[Label]:
    """The newest label about each time (seconds since 1970) and entity (None: of any); one that names no entity is about all of them."""
    import sqlalchemy as sa

    of = tables().truths.c
    found: dict[str, Label] = {}
    for time, entity in dict.fromkeys(moments):
        chosen = sa.select(of.entity, of.name, of.number, of.actor).where(of.workload == workload, of.target_time == time)
        if entity is not None:
            chosen = chosen.where(of.entity.in_([entity, ""]))
        row = connection.execute(chosen.order_by(of.sequence.desc()).limit(1)).one_or_none()
        if row is not None:
            value = row.name if row.number is None else row.number
            found[f"{time}|{entity}"] = Label(workload=workload, about=by_time(time, entity), value=value, actor=row.actor)
    return list(found.values())


def page(
    connection: sa.Connection, unpack: Unpacking, workload: str, after: int, limit: int, role: Role | None
) -> list[Prediction]:
    """The next predictions of a workload, in order."""
    of = tables().predictions.c

    def choose(chosen: sa.Select[Any]) -> sa.Select[Any]:
        chosen = chosen.where(of.workload == workload, of.sequence > after)
        return (chosen if role is None else chosen.where(of.role == ROLES.index(role))).limit(limit)

    return _predictions(connection, unpack, choose)


def pages(read: Callable[[int, int], list[Prediction]], after: int, limit: int | None) -> Iterator[Prediction]:
    """One after the other, each page read when it is needed: `read` takes (after, limit)."""
    left = limit
    while left is None or left > 0:
        found = read(after, PAGE if left is None else min(left, PAGE))
        if not found:
            return
        yield from found
        after, left = found[-1].sequence, None if left is None else left - len(found)


def newest(connection: sa.Connection, workload: str, back: int) -> int:
    """The sequence number of a workload's last prediction but `back`; 0 where there are not so many."""
    import sqlalchemy as sa

    of = tables().predictions.c
    chosen = sa.select(of.sequence).where(of.workload == workload).order_by(of.sequence.desc()).offset(back).limit(1)
    return connection.execute(chosen).scalar_one_or_none() or 0


def _predictions(
    connection: sa.Connection, unpack: Unpacking, choose: Callable[[sa.Select[Any]], sa.Select[Any]]
) -> list[Prediction]:
    import sqlalchemy as sa

    of, payloads = tables().predictions, tables().payloads
    chosen = sa.select(of, payloads.c.dictionary, payloads.c.content).join_from(
        of, payloads, of.c.sequence == payloads.c.sequence, isouter=True
    )
    found = []
    for row in connection.execute(choose(chosen).order_by(of.c.sequence)):
        content = Content() if row.content is None else Content.read(unpack(connection, row.dictionary, row.content))
        found.append(_prediction(row, content))
    return found


def _prediction(row: sa.Row[Any], content: Content) -> Prediction:
    """The record; an erased content is empty."""
    return Prediction(
        id=id_text(row.id),
        workload=row.workload,
        version=row.version,
        role=ROLES[row.role],
        at=row.at,
        rows=row.rows,
        form=content.form,
        request=content.request,
        answer=content.answer,
        entities=content.entities,
        status=row.status,
        latency_ms=row.latency_ms,
        sequence=row.sequence,
    )
