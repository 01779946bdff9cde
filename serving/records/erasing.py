"""Erasure and retention: contents, outcomes and labels go; records, digests and seals stay, so both chains still hold.

In chunks, so that nobody who appends waits long. In SQLite what goes is overwritten. A person's record in a batch takes the whole
batch with it: one request holds them all. Does not decide what must go, and does not record that it went: the ledger does.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving.records.prediction import Content, id_bytes
from serving.records.reading import PAGE, Unpacking
from serving.records.tables import DERIVED, tables, unindexed

if TYPE_CHECKING:
    import sqlalchemy as sa

Connect = Callable[[], Any]
_TOLD_APART = 4  # bytes of an entity's key that is looked for in bodies that name no entity: a shorter one is much else too


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What went: predictions whose content there was, outcomes, labels."""

    predictions: int = 0
    outcomes: int = 0
    labels: int = 0

    def __add__(self, other: Erased) -> Erased:
        return Erased(
            predictions=self.predictions + other.predictions,
            outcomes=self.outcomes + other.outcomes,
            labels=self.labels + other.labels,
        )


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which predictions of a workload: all that is given must hold. ValueError where nothing is, or an id is none."""

    workload: str
    before: float | None = None
    entity: str | None = None
    ids: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, workload: str, before: float | None, entity: Any, ids: Sequence[str]) -> Chosen:
        """Checked. Ids may name a row; the whole request goes."""
        if before is None and entity is None and not ids:
            raise ValueError("erase what? name a time, an entity or ids")
        keys = frozenset(id_bytes(one) for one in ids)
        return cls(workload=workload, before=before, entity=None if entity is None else str(entity), ids=keys)


def erase(connect: Connect, begin: Connect, chosen: Chosen) -> Erased:
    """Delete what is chosen; the labels of those predictions go too, and with an entity all of its labels."""
    done = Erased()
    for sequences in _chunks(connect, chosen):
        with begin() as connection:
            done += _delete(connection, chosen.workload, sequences)
    if chosen.entity is not None and not chosen.ids and chosen.before is None:
        with begin() as connection:
            done += _delete_entity(connection, chosen.workload, chosen.entity)
    with connect() as connection:
        if connection.dialect.name == "sqlite":  # the log would keep it until it is written over
            for schema in ("main", DERIVED):
                connection.exec_driver_sql(f"PRAGMA {schema}.wal_checkpoint(TRUNCATE)").close()
    return done


def count(connect: Connect, chosen: Chosen) -> Erased:
    """How much `erase` would delete."""
    import sqlalchemy as sa

    of, payloads, truths, outcomes = tables().predictions, tables().payloads, tables().truths, tables().outcomes
    counted, found = sa.select(sa.func.count()), Erased()
    for sequences in _chunks(connect, chosen):
        with connect() as connection:
            ids = sa.select(of.c.id).where(of.c.sequence.in_(sequences))
            labels = counted.where(truths.c.workload == chosen.workload, truths.c.id.in_(ids))
            found += Erased(
                predictions=connection.execute(counted.where(payloads.c.sequence.in_(sequences))).scalar_one(),
                outcomes=connection.execute(counted.where(outcomes.c.sequence.in_(sequences))).scalar_one(),
                labels=connection.execute(labels).scalar_one(),
            )
    if chosen.entity is not None:
        with connect() as connection:
            mine = _labels_of_entity(chosen.workload, chosen.entity)
            found += Erased(labels=connection.execute(counted.where(*mine)).scalar_one())
    return found


def entities(connect: Connect, workload: str) -> set[str]:
    """Every entity that a content, an outcome or a label of the workload names, as text."""
    import sqlalchemy as sa

    of, payloads, truths, outcomes = tables().predictions, tables().payloads, tables().truths, tables().outcomes
    with connect() as connection:
        named = [
            sa.select(truths.c.entity).where(truths.c.workload == workload, truths.c.target_time.is_not(None)).distinct(),
            sa.select(outcomes.c.entity).where(outcomes.c.workload == workload, outcomes.c.entity.is_not(None)).distinct(),
        ]
        found = {one for chosen in named for one in connection.scalars(chosen) if one}
    unpack, after = Unpacking(), 0
    contents = (
        sa.select(of.c.sequence, payloads.c.dictionary, payloads.c.content)
        .join_from(of, payloads, payloads.c.sequence == of.c.sequence)
        .where(of.c.workload == workload)
        .order_by(of.c.sequence)
        .limit(PAGE)
    )
    while True:
        with connect() as connection:
            rows = connection.execute(contents.where(of.c.sequence > after)).all()
            read = [Content.read(unpack(connection, row.dictionary, row.content)) for row in rows]
        if not rows:
            return found
        found |= {str(one) for content in read for one in content.entities if one is not None}
        after = rows[-1].sequence


def _labels_of_entity(workload: str, entity: str) -> tuple[Any, ...]:
    of = tables().truths.c
    return of.workload == workload, of.entity == entity, of.target_time.is_not(None)


def _chunks(connect: Connect, chosen: Chosen) -> Iterator[list[int]]:
    """Sequence numbers, page by page. The entity is looked for in every content: that takes time, and misses none."""
    import sqlalchemy as sa

    of, payloads = tables().predictions, tables().payloads
    unpack = Unpacking()
    candidates = (
        sa.select(of.c.sequence, payloads.c.dictionary, payloads.c.content)
        .join_from(of, payloads, payloads.c.sequence == of.c.sequence, isouter=True)
        .where((unindexed(of.c.workload) if chosen.ids else of.c.workload) == chosen.workload)
        .order_by(of.c.sequence)
        .limit(PAGE)
    )
    if chosen.before is not None:
        candidates = candidates.where(of.c.at < chosen.before)
    keys = sorted(chosen.ids)
    for group in [keys[start : start + PAGE] for start in range(0, len(keys), PAGE)] or [None]:
        after = 0
        among = candidates if group is None else candidates.where(of.c.id.in_(group))
        while True:
            with connect() as connection:
                rows = connection.execute(among.where(of.c.sequence > after)).all()
                found = rows if chosen.entity is None else _naming(connection, unpack, rows, chosen.entity)
            if not rows:
                break
            after = rows[-1].sequence
            if found:
                yield [row.sequence for row in found]


def _naming(connection: sa.Connection, unpack: Unpacking, rows: Sequence[Any], entity: str) -> list[Any]:
    """Those rows whose content or outcomes name the entity."""
    import sqlalchemy as sa

    of = tables().outcomes.c
    if not rows:
        return []
    absorbed = sa.select(of.sequence).where(of.sequence.between(rows[0].sequence, rows[-1].sequence), of.entity == entity)
    named, stated = set(connection.scalars(absorbed)), _stated(entity)
    for row in rows:
        if row.content is not None:
            content = Content.read(unpack(connection, row.dictionary, row.content))
            bodies = content.request + b"\0" + content.answer
            if any(str(one) == entity for one in content.entities) or any(one in bodies for one in stated):
                named.add(row.sequence)
    return [row for row in rows if row.sequence in named]


def _stated(entity: str) -> list[bytes]:
    """How a body states a text of its own: in JSON, escaped or not, and as an element of a binary tensor (length, then bytes)."""
    raw = entity.encode(errors="surrogatepass")
    texts = {f'"{json.dumps(entity)[1:-1]}"'.encode(), b'"%b"' % raw}
    return [*texts, struct.pack("<I", len(raw)) + raw] if len(raw) >= _TOLD_APART else []


def _delete(connection: sa.Connection, workload: str, sequences: list[int]) -> Erased:
    import sqlalchemy as sa

    _begin(connection, workload)
    predictions, truths = tables().predictions, tables().truths
    ids = sa.select(predictions.c.id).where(predictions.c.sequence.in_(sequences))
    labels = connection.execute(truths.delete().where(truths.c.workload == workload, truths.c.id.in_(ids)))
    outcomes = connection.execute(tables().outcomes.delete().where(tables().outcomes.c.sequence.in_(sequences)))
    contents = connection.execute(tables().payloads.delete().where(tables().payloads.c.sequence.in_(sequences)))
    return Erased(predictions=contents.rowcount, outcomes=outcomes.rowcount, labels=labels.rowcount)


def _delete_entity(connection: sa.Connection, workload: str, entity: str) -> Erased:
    _begin(connection, workload)
    mine = _labels_of_entity(workload, entity)
    return Erased(labels=connection.execute(tables().truths.delete().where(*mine)).rowcount)


def _begin(connection: sa.Connection, workload: str) -> None:
    """Keep `absorb` out, which may hold a content that is about to go."""
    if connection.dialect.name == "sqlite":
        for schema in ("main", DERIVED):
            connection.exec_driver_sql(f"PRAGMA {schema}.secure_delete=ON").close()
    of = tables().cursors
    connection.execute(of.update().where(of.c.workload == workload).values(workload=workload))
