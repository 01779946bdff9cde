"""The tables of the records. What is chained is never changed; what can be deleted, or made again, lies in tables of its own.

| table | holds | may lose rows |
|---|---|---|
| predictions, labels | the two chains: who, when, a salted digest of the content, the seal over it and the one before | never |
| payloads, truths | what the digests are of, and their salts | by erasure |
| chain_ends | one row per chain: its newest record, locked by each append | never |
| dictionaries | what payloads were compressed with: the names in a workload's requests, no value of any | never |
| derived.outcomes | one row per predicted quantity, and the label that gives its truth | made again by `absorb` |
| derived.cursors | how far `absorb` has read, by workload | the same |
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

DERIVED = "derived"  # the schema of what can be made again
CHAINS = ("predictions", "labels")


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables by name."""

    metadata: sa.MetaData
    predictions: sa.Table
    payloads: sa.Table
    dictionaries: sa.Table
    labels: sa.Table
    truths: sa.Table
    chain_ends: sa.Table
    outcomes: sa.Table
    cursors: sa.Table


def unindexed(column: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """A text column's value as no index has it: another condition, which finds fewer rows, is to choose the index."""
    return column.concat("")


@cache
def tables() -> Tables:
    """The tables, built once; SQLAlchemy is imported here."""
    import sqlalchemy as sa
    from sqlalchemy import Column, Index, Table

    metadata = sa.MetaData()
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # only INTEGER is SQLite's own row number
    small, real, raw, text = sa.SmallInteger, sa.Double, sa.LargeBinary, sa.Text

    def sequence() -> Column[int]:
        return Column("sequence", number, primary_key=True, autoincrement=False)

    predictions = Table(
        "predictions",
        metadata,
        sequence(),
        *(Column(n, t, nullable=False) for n, t in [("id", raw), ("workload", text), ("version", text), ("role", small)]),
        *(Column(n, t, nullable=False) for n, t in [("at", real), ("rows", sa.Integer), ("status", small)]),
        *(Column(n, t, nullable=False) for n, t in [("latency_ms", real), ("digest", raw), ("hash", raw)]),
        Index("predictions_by_id", "id", "role", unique=True),
        Index("predictions_of_a_workload", "workload", "sequence"),
    )
    payloads = Table(
        "payloads",
        metadata,
        sequence(),
        *(Column(n, t, nullable=False) for n, t in [("salt", raw), ("dictionary", sa.Integer), ("content", raw)]),
    )
    dictionaries = Table(
        "dictionaries",
        metadata,
        Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *(Column(n, t, nullable=False) for n, t in [("workload", text), ("version", text), ("form", text), ("content", raw)]),
        Index("dictionaries_of_a_workload", "workload", "version", "form", unique=True),
    )
    labels = Table(
        "labels",
        metadata,
        sequence(),
        *(Column(n, t, nullable=False) for n, t in [("workload", text), ("at", real), ("digest", raw), ("hash", raw)]),
    )
    truths = Table(
        "truths",
        metadata,
        sequence(),
        *(Column(n, t, nullable=False) for n, t in [("salt", raw), ("workload", text), ("actor", text), ("name", text)]),
        Column("number", real),  # null where the value is no number
        Column("id", raw),  # about a prediction's row: id, row, horizon (0: none stated)
        *(Column(n, sa.Integer, nullable=False) for n in ("row", "horizon")),
        Column("target_time", number),  # or about what was true then of the entity ("": of the only one)
        Column("entity", text, nullable=False),
    )
    by_id, by_time = truths.c.id.is_not(None), truths.c.target_time.is_not(None)
    Index("truths_by_id", "id", "row", "horizon", _table=truths, sqlite_where=by_id, postgresql_where=by_id)
    Index(
        "truths_by_time",
        *("workload", "target_time", "entity"),
        _table=truths,
        sqlite_where=by_time,
        postgresql_where=by_time,
    )
    chain_ends = Table(
        "chain_ends",
        metadata,
        Column("chain", text, primary_key=True),
        Column("sequence", number, nullable=False),
        Column("hash", raw, nullable=False),
    )
    outcomes = Table(
        "outcomes",
        metadata,
        sequence(),
        *(Column(n, sa.Integer, primary_key=True, autoincrement=False) for n in ("row", "horizon")),  # horizon 0: there is none
        Column("workload", text, nullable=False),
        Column("entity", text),
        *(Column(n, number, nullable=False) for n in ("time", "target_time")),
        *(Column(n, real) for n in ("prediction", "low", "high", "confidence")),
        *(Column(n, text) for n in ("label", "probabilities")),
        Column("truth", number),  # the label's sequence
        schema=DERIVED,
        sqlite_with_rowid=False,
    )
    Index("outcomes_by_time", outcomes.c.workload, outcomes.c.target_time, outcomes.c.entity)
    known = outcomes.c.truth.is_not(None)
    Index(
        "outcomes_labelled",
        outcomes.c.workload,
        outcomes.c.target_time,
        outcomes.c.truth,
        sqlite_where=known,
        postgresql_where=known,
    )
    cursors = Table(
        "cursors",
        metadata,
        Column("workload", text, primary_key=True),
        *(Column(n, number, nullable=False) for n in ("predictions", "labels", "unread")),
        Column("task", text, nullable=False),
        *(Column(n, sa.Boolean, nullable=False) for n in ("one_entity", "one_horizon")),
        schema=DERIVED,
    )
    return Tables(
        metadata=metadata,
        predictions=predictions,
        payloads=payloads,
        dictionaries=dictionaries,
        labels=labels,
        truths=truths,
        chain_ends=chain_ends,
        outcomes=outcomes,
        cursors=cursors,
    )
