"""Appending to the two chains: a group is one transaction, and durable when it has returned. Reads nothing back.

The statements go to the driver's own cursor: SQLAlchemy's took 80 of the 390 us of CPU of a group of seven.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from data.failpoints import failpoint
from serving.records import label as labels_
from serving.records.label import Label, Labelled
from serving.records.packing import Packer, dictionary_for
from serving.records.prediction import ROLES, SALT, Prediction, id_bytes, seal
from serving.records.tables import tables

if TYPE_CHECKING:
    import sqlalchemy as sa

_CODES = {role: code for code, role in enumerate(ROLES)}
_FORMS = 100  # of which a writer keeps the packers


class _Sealed(NamedTuple):
    """A group as it is written."""

    records: list[tuple[Any, ...]]
    payloads: list[tuple[Any, ...]]
    end: tuple[int, bytes]


def _kind(one: Prediction) -> tuple[str, str, str]:
    return one.workload, one.version, one.form[:2]  # "v1" or "v2", binary too


class Statements:
    """The inserts, in the words of one database's driver."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self.mark = "?" if dialect.paramstyle == "qmark" else "%s"
        of = tables()
        self.prediction, self.payload = self._insert(of.predictions), self._insert(of.payloads)
        self.dictionary = self._insert(of.dictionaries)
        self.label, self.truth = self._insert(of.labels), self._insert(of.truths)
        named = f"WHERE workload = {self.mark} AND version = {self.mark} AND form = {self.mark}"
        self.dictionaries = f"SELECT number, content FROM dictionaries {named}"
        self.last_dictionary = "SELECT coalesce(max(number), 0) FROM dictionaries"
        # SQLite takes its write lock, PostgreSQL locks the row: one row only, or two writers could wait for each other.
        self.lock = f"UPDATE chain_ends SET sequence = sequence WHERE chain = {self.mark}"
        self.ends = "SELECT chain, sequence, hash FROM chain_ends"
        self.end = f"UPDATE chain_ends SET sequence = {self.mark}, hash = {self.mark} WHERE chain = {self.mark}"
        self.move = f"{self.end} AND sequence = {self.mark} AND hash = {self.mark}"

    def _insert(self, table: sa.Table) -> str:
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        return f"INSERT INTO {table.name} ({columns}) VALUES ({', '.join([self.mark] * len(table.columns))})"


class Appender:
    """Appends through one connection. Belongs to whoever holds the writer's lock, in the process that made it."""

    def __init__(self, connection: sa.Connection) -> None:
        self.process = os.getpid()
        self.connection = connection
        self.ends: dict[str, tuple[int, bytes]] = {}  # as of the last commit
        self._say = Statements(connection.dialect)
        self._packers: dict[tuple[str, str, str], Packer] = {}

    def close(self) -> None:
        """Give the connection back; what was under way is undone."""
        self.connection.close()

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Keep a group. sqlalchemy.exc.IntegrityError where one has an id that its role had already: then none is kept."""
        end = self.ends.get("predictions")
        locked = self.ends
        with self._transaction() as cursor:
            sealed = None
            if end is not None and all(_kind(one) in self._packers for one in predictions):
                sealed = self._sealed(predictions, end)  # as if nobody else had appended: one statement finds out, and locks
                cursor.execute(self._say.move, (*sealed.end, "predictions", *end))
                sealed = sealed if cursor.rowcount else None
            if sealed is None:
                locked = self._locked("predictions")
                sealed = self._sealed(predictions, locked["predictions"])
                cursor.execute(self._say.end, (*sealed.end, "predictions"))
            cursor.executemany(self._say.prediction, sealed.records)
            cursor.executemany(self._say.payload, sealed.payloads)
            failpoint("before-commit")
        failpoint("after-commit")
        self.ends = locked | {"predictions": sealed.end}

    def _sealed(self, predictions: Sequence[Prediction], end: tuple[int, bytes]) -> _Sealed:
        """The rows of a group behind an end."""
        sequence, previous = end
        salts = os.urandom(SALT * len(predictions))
        records, payloads = [], []
        for place, one in enumerate(predictions):
            sequence += 1
            salt, content = salts[place * SALT : place * SALT + SALT], one.content()
            kept = (
                *(sequence, id_bytes(one.id), one.workload, one.version, _CODES[one.role]),
                *(one.at, one.rows, one.status, one.latency_ms, hashlib.sha256(salt + content).digest()),
            )
            previous = seal(previous, kept)
            packer = self._packers.get(_kind(one)) or self._packer(one)
            records.append((*kept, previous))
            payloads.append((sequence, salt, packer.number, packer.pack(content)))
        return _Sealed(records, payloads, (sequence, previous))

    def label(self, labels: Sequence[tuple[Label, labels_.About, labels_.Value]]) -> Labelled:
        """Keep those labels that say something new."""
        with self._transaction() as cursor:
            ends = self._locked("labels")
            sequence, previous = ends["labels"]
            known = self._known(labels)
            at, salts = time.time(), os.urandom(SALT * len(labels))
            records, truths, new, corrected = [], [], 0, 0
            for place, (one, about, value) in enumerate(labels):
                before = known.get((one.workload, about))
                if before == value.name:
                    continue
                new, corrected = new + (before is None), corrected + (before is not None)
                known[one.workload, about] = value.name
                sequence += 1
                salt = salts[place * SALT : place * SALT + SALT]
                content = labels_.content(one.workload, about.text(), value, one.actor)
                kept = (sequence, one.workload, at, hashlib.sha256(salt + content).digest())
                previous = labels_.seal(previous, kept)
                records.append((*kept, previous))
                truths.append((sequence, salt, one.workload, one.actor, *value, *about))
            if records:
                cursor.executemany(self._say.label, records)
                cursor.executemany(self._say.truth, truths)
                cursor.execute(self._say.end, (sequence, previous, "labels"))
                failpoint("before-label-commit")
        failpoint("after-label-commit")
        self.ends = ends | {"labels": (sequence, previous)}
        return Labelled(new=new, same=len(labels) - new - corrected, corrected=corrected)

    def _locked(self, chain: str) -> dict[str, tuple[int, bytes]]:
        """Both chains' ends, of which nobody else can move this one until the transaction ends."""
        self._one(self._say.lock, (chain,))
        return {chain: (sequence, bytes(end)) for chain, sequence, end in self.connection.exec_driver_sql(self._say.ends)}

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """A transaction, and the driver's cursor; its errors are told as SQLAlchemy's."""
        from sqlalchemy.exc import DBAPIError

        driver: Any = self.connection.dialect.dbapi
        with self.connection.begin(), closing(self.connection.connection.cursor()) as cursor:
            try:
                yield cursor
            except driver.Error as error:
                raise DBAPIError.instance(None, None, error, driver.Error, dialect=self.connection.dialect) from error

    def _one(self, statement: str, row: tuple[Any, ...]) -> Any:
        return self.connection.exec_driver_sql(statement, row)

    def _packer(self, one: Prediction) -> Packer:
        """The packer for predictions like this one; the first of its kind makes the dictionary."""
        kind = _kind(one)
        found = self._one(self._say.dictionaries, kind).one_or_none()
        if found is None and one.status == 200:
            number = 1 + self.connection.exec_driver_sql(self._say.last_dictionary).scalar_one()
            found = (number, dictionary_for(one))
            self._one(self._say.dictionary, (number, *kind, found[1]))
        if found is None:  # a failed request teaches nothing
            return Packer(0, b"")
        if len(self._packers) >= _FORMS:
            self._packers.clear()
        self._packers[kind] = Packer(found[0], bytes(found[1]))
        return self._packers[kind]

    def _known(self, labels: Sequence[tuple[Label, labels_.About, labels_.Value]]) -> dict[tuple[str, labels_.About], str]:
        """The newest value of each thing that these labels are about, where there is one."""
        import sqlalchemy as sa

        of = tables().truths.c
        found: dict[tuple[str, labels_.About], str] = {}
        by_id, by_time = (of.id, of.row, of.horizon), (of.target_time, of.entity)
        for columns in (by_id, by_time):
            wanted: dict[str, list[tuple[Any, ...]]] = {}
            for one, about, _ in labels:
                if (about.id is not None) == (columns is by_id):
                    wanted.setdefault(one.workload, []).append(about[:3] if columns is by_id else about[3:])
            for workload, keys in wanted.items():
                chosen = sa.select(*by_id, *by_time, of.name).where(of.workload == workload)
                # SQLite uses no index for pairs of values: the first of each pair leads it to the few that there are.
                first = columns[0].in_(sorted({key[0] for key in keys}))
                rows = self.connection.execute(chosen.where(first, sa.tuple_(*columns).in_(keys)).order_by(of.sequence))
                for key, row, horizon, target_time, entity, name in rows:
                    about = labels_.About(None if key is None else bytes(key), row, horizon, target_time, entity)
                    found[workload, about] = name
        return found
