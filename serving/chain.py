"""The ledger's hash chain within one transaction: its records, its tables, where it is broken. Opens and commits nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from serving.release import CHANGES, Release, fold

if TYPE_CHECKING:
    import sqlalchemy as sa

Kind = Literal[
    "registered",
    "refused",
    "promoted",
    "deployed",
    "retired",
    "exposed",  # a challenger is at a step of its rollout
    "rolled_back",  # ... and is not any more
    "paused",
    "resumed",
    "approved",
    "window",  # what a monitor saw
    "retrain",
    "declined",  # a retrain that was not asked for, and why
    "called",  # a person
    "erased",
    "replay",
    "cleared",  # a version may be released: the statement that a server asks for is signed from this record
    "forgotten",  # an entity, everywhere
    "restored",
    "migrated",
]
GENESIS = "0" * 64  # what the first decision names as the one before


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One record. `sequence` counts all decisions from 1 without gaps and is the fencing token of a promotion."""

    kind: Kind
    workload: str
    version: str
    payload: Mapping[str, Any]
    actor: str
    key: str
    sequence: int = 0
    at: str = ""  # UTC, ISO 8601; order is by sequence, never by the clock
    previous: str = GENESIS
    hash: str = ""

    def digest(self) -> str:
        """What `hash` must be: SHA-256 over every other field, the hash before it included."""
        fields = vars(self) | {"hash": ""}
        return hashlib.sha256(canonical(fields).encode()).hexdigest()


@dataclass(frozen=True)
class Broken:
    """Where the chain does not hold: the sequence number and what is wrong with it."""

    sequence: int
    what: str


def canonical(value: Any) -> str:
    """The one way a value is written, so that it has one digest; NaN is refused (ValueError)."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Chain:
    """The decisions as one transaction sees them."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._decisions, self._head = tables()
        self.appended: Decision | None = None

    def lock(self) -> None:
        """Keep other writers out until the transaction ends."""
        # A write that changes nothing, and first: SQLite takes its write lock with the snapshot, PostgreSQL locks the row.
        self._connection.execute(self._head.update().values(hash=self._head.c.hash))

    def append(
        self, kind: Kind, workload: str, version: str, payload: Mapping[str, Any], *, actor: str, key: str | None
    ) -> Decision:
        """Seal a new record to the chain's end; `lock` must have been called."""
        head = self._connection.execute(self._head.select()).one()
        stored = json.loads(canonical(payload))  # what will be read back is what is hashed
        decision = Decision(kind=kind, workload=workload, version=version, payload=stored, actor=actor, key=key or uuid4().hex)
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        decision = replace(decision, sequence=head.sequence + 1, at=at, previous=head.hash)
        decision = replace(decision, hash=decision.digest())
        self._connection.execute(self._decisions.insert().values(vars(decision) | {"payload": canonical(stored)}))
        self._connection.execute(self._head.update().values(sequence=decision.sequence, hash=decision.hash))
        self.appended = decision
        return decision

    def by_key(self, key: str) -> Decision | None:
        """The record that was appended under `key`."""
        row = self._connection.execute(self._decisions.select().where(self._decisions.c.key == key)).one_or_none()
        return None if row is None else _decision(row)

    def champion(self, workload: str) -> Decision | None:
        """The newest promotion, unless its version was retired after it."""
        of = self._decisions.c
        changes = self._decisions.select().where(of.workload == workload, of.kind.in_(["promoted", "retired"]))
        retired = set()
        for row in self._connection.execute(changes.order_by(of.sequence.desc())):
            if row.kind == "promoted":
                return None if row.version in retired else _decision(row)
            retired.add(row.version)
        return None

    def release(self, workload: str) -> Release:
        """What of the workload may serve: its decisions folded."""
        of = self._decisions.c
        changes = self._decisions.select().where(of.workload == workload, of.kind.in_(CHANGES)).order_by(of.sequence)
        return fold(workload, map(_decision, self._connection.execute(changes)))

    def newest(self) -> int:
        """The last record's sequence number."""
        return self._connection.execute(self._head.select()).one().sequence

    def workloads(self) -> list[str]:
        """Every workload that was ever decided on, by name."""
        import sqlalchemy as sa

        return list(
            self._connection.scalars(sa.select(self._decisions.c.workload).distinct().order_by(self._decisions.c.workload))
        )

    def decisions(self, workload: str | None = None, kind: Kind | None = None) -> Iterator[Decision]:
        """The records in order, oldest first."""
        chosen = self._decisions.select().order_by(self._decisions.c.sequence)
        if workload is not None:
            chosen = chosen.where(self._decisions.c.workload == workload)
        if kind is not None:
            chosen = chosen.where(self._decisions.c.kind == kind)
        for row in self._connection.execute(chosen):
            yield _decision(row)

    def latest(self, workload: str, count: int, kinds: Collection[Kind] | None) -> list[Decision]:
        """The newest `count` of a workload, oldest first; of some kinds where given."""
        of = self._decisions.c
        chosen = self._decisions.select().where(of.workload == workload, *(() if kinds is None else (of.kind.in_(kinds),)))
        newest = self._connection.execute(chosen.order_by(of.sequence.desc()).limit(count)).all()
        return [_decision(row) for row in reversed(newest)]

    def first(self, workload: str, kind: Kind, after: int) -> Decision | None:
        """The first of a workload and kind behind sequence number `after`."""
        of = self._decisions.c
        chosen = self._decisions.select().where(of.workload == workload, of.kind == kind, of.sequence > after)
        row = self._connection.execute(chosen.order_by(of.sequence).limit(1)).one_or_none()
        return None if row is None else _decision(row)

    def first_broken(self, noted: tuple[int, str]) -> Broken | None:
        """The first record that is not what was sealed; `noted` is an end (sequence, hash) that the chain once had."""
        sequence, previous = 0, GENESIS
        for decision in self.decisions():
            sequence += 1
            if decision.sequence != sequence:
                return Broken(sequence, f"the record is missing (the next one is {decision.sequence})")
            if decision.previous != previous:
                return Broken(sequence, "the record does not follow the one before it")
            if decision.hash != decision.digest():
                return Broken(sequence, "the record was changed")
            previous = decision.hash
            if sequence == noted[0] and previous != noted[1]:
                return Broken(sequence, "the chain was rewritten: it had another end here")
        head = self._connection.execute(self._head.select()).one()
        if sequence < max(head.sequence, noted[0]):
            return Broken(sequence + 1, "the record is missing: the chain was cut off")
        return (
            None
            if (head.sequence, head.hash) == (sequence, previous)
            else Broken(sequence, "the head is not the last record's")
        )


@cache
def tables() -> tuple[sa.Table, sa.Table]:
    """`decisions`, and the one row of `head` that each append locks."""
    import sqlalchemy as sa

    metadata = sa.MetaData()
    text = [
        sa.Column(name, sa.Text, nullable=False)
        for name in ("at", "kind", "workload", "version", "payload", "actor", "previous", "hash")
    ]
    decisions = sa.Table(
        "decisions",
        metadata,
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        *text,
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Index("decisions_of_a_workload", "workload", "sequence"),
        sa.Index("decisions_of_a_kind", "workload", "kind", "sequence"),
    )
    head = sa.Table(
        "head",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    return decisions, head


def _decision(row: sa.Row[Any]) -> Decision:
    fields = row._asdict()
    return Decision(**fields | {"payload": json.loads(fields["payload"])})
