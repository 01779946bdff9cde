"""Whether both chains hold: edited, deleted, inserted, reordered and cut-off records are found. Reads page by page, changes nothing.

An erased content is no fault: its digest stays and is sealed. A content that is there must be what was digested. What can be made
again (outcomes) is not vouched for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from serving.chain import Broken
from serving.records import label as labels_
from serving.records.label import About, Value
from serving.records.prediction import GENESIS, Content, digest, seal
from serving.records.reading import Unpacking
from serving.records.tables import CHAINS, tables

if TYPE_CHECKING:
    import sqlalchemy as sa

_PAGE = 5000
_OF_ANOTHER_KIND = (struct.error, TypeError, AttributeError, ValueError)  # SQLite takes any value in any column

Connect = Callable[[], Any]  # a context manager that gives a connection
Ends = Mapping[str, tuple[int, bytes]]


def first_broken(connect: Connect, noted: Ends) -> Broken | None:
    """The first record of either chain that is not what was sealed; `noted` are ends that the chains once had."""
    return _predictions(connect, noted.get(CHAINS[0], (0, GENESIS))) or _labels(connect, noted.get(CHAINS[1], (0, GENESIS)))


def _predictions(connect: Connect, noted: tuple[int, bytes]) -> Broken | None:
    of, payloads = tables().predictions, tables().payloads
    unpack = Unpacking()

    def content_holds(connection: sa.Connection, row: Any) -> bool:
        content = unpack(connection, row.dictionary, row.content)
        Content.read(content)
        return digest(bytes(row.salt), content) == row.digest

    return _broken(connect, of, payloads, seal, content_holds, noted, "prediction")


def _labels(connect: Connect, noted: tuple[int, bytes]) -> Broken | None:
    of, truths = tables().labels, tables().truths

    def content_holds(_: sa.Connection, row: Any) -> bool:
        about = About(None if row.id is None else bytes(row.id), row.row, row.horizon, row.target_time, row.entity)
        content = labels_.content(row.workload, about.text(), Value(row.name, row.number), row.actor)
        # A column that the text does not state may not hold anything either.
        stated = About.read(about.text()) == about and row.truth_of == row.workload
        return stated and digest(bytes(row.salt), content) == row.digest

    return _broken(connect, of, truths, labels_.seal, content_holds, noted, "label")


def _broken(
    connect: Connect,
    chain: sa.Table,
    contents: sa.Table,
    seal_of: Callable[[bytes, Any], bytes],
    content_holds: Callable[[sa.Connection, Any], bool],
    noted: tuple[int, bytes],
    what: str,
) -> Broken | None:
    sequence, previous = 0, GENESIS
    width = len(chain.columns) - 1  # all but the hash
    with connect() as connection:
        end = _end(connection, chain.name)  # before the records: those that come meanwhile lie after it
    for connection, row in _rows(connect, chain, contents):
        sequence += 1
        if row.sequence != sequence:
            return Broken(sequence, f"the {what} is missing (the next one is {row.sequence})")
        try:
            if seal_of(previous, row[:width]) != row.hash:
                return Broken(sequence, f"the {what} was changed, or does not follow the one before it")
            if row.salt is not None and not content_holds(connection, row):
                return Broken(sequence, f"the {what}'s content was changed")
        except _OF_ANOTHER_KIND as error:
            return Broken(sequence, f"the {what} was changed: {error}")
        previous = bytes(row.hash)
        if sequence == noted[0] and previous != noted[1]:
            return Broken(sequence, f"the chain was rewritten: it had another end at this {what}")
        if sequence == end[0] and previous != end[1]:
            return Broken(sequence, f"the chain's end is not this {what}")
    if sequence < max(end[0], noted[0]):
        return Broken(sequence + 1, f"the {what} is missing: the chain was cut off")
    with connect() as connection:
        return _beyond(connection, chain, contents, what) or (
            Broken(sequence, f"the chain's end is another {what}") if _end(connection, chain.name)[0] < sequence else None
        )


def _rows(connect: Connect, chain: sa.Table, contents: sa.Table) -> Iterator[tuple[sa.Connection, Any]]:
    """Every record with its content, in order; a page is read and given back whole."""
    import sqlalchemy as sa

    # A sequence or a workload of the content's own would hide the record's.
    own = [c.label("truth_of") if c.name == "workload" else c for c in contents.columns if c.name != "sequence"]
    joined = sa.select(chain, *own).join_from(chain, contents, chain.c.sequence == contents.c.sequence, isouter=True)
    after = -(2**62)
    while True:
        with connect() as connection:
            page = connection.execute(joined.where(chain.c.sequence > after).order_by(chain.c.sequence).limit(_PAGE)).all()
            for row in page:
                yield connection, row
        if len(page) < _PAGE:
            return
        after = page[-1].sequence


def _end(connection: sa.Connection, chain: str) -> tuple[int, bytes]:
    of = tables().chain_ends
    found = connection.execute(of.select().where(of.c.chain == chain)).one_or_none()
    return (0, GENESIS) if found is None else (found.sequence, bytes(found.hash))


def _beyond(connection: sa.Connection, chain: sa.Table, contents: sa.Table, what: str) -> Broken | None:
    """A content without a record: inserted, or its record was moved."""
    import sqlalchemy as sa

    of = contents.c.sequence
    # The chain has no gaps here, so a stray content lies before its first or behind its last record.
    last = connection.execute(sa.select(sa.func.max(chain.c.sequence))).scalar_one() or 0
    stray = connection.execute(sa.select(sa.func.min(of)).where(sa.or_(of < 1, of > last))).scalar_one()
    return None if stray is None else Broken(stray, f"a content without a {what} was inserted")
