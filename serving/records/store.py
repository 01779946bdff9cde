"""The records of one AIPRIME_HOME: predictions and labels, each appended to a hash chain of its own, and what is derived from both.

SQLite by default (HOME/records.db; what can be made again in outcomes.db beside it, so that reading traffic in never holds the lock of
those who append), any other database by its URL. The chains' ends are noted in a file too, at most once a second. Knows nothing of
servers or of HTTP, nor of how a prediction was made.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from data.errors import UserError
from data.files import write_json
from serving.chain import Broken
from serving.database import damaged, explained, opened
from serving.records import label as labels_
from serving.records import outcomes, reading, truths
from serving.records.appending import Appender
from serving.records.bounds import Bounds, bounds
from serving.records.erasing import Chosen, Erased, count, entities, erase
from serving.records.label import Label, Labelled
from serving.records.outcomes import Agreement, Traffic, Watermark, Window
from serving.records.prediction import GENESIS, Prediction, Role
from serving.records.tables import CHAINS, DERIVED, tables

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

    from training.signature import Signature

_WHAT = "the store of predictions"
_LABELS = 500  # in one transaction: a long list must not hold up the predictions
_NOTED_S = 1.0
T = TypeVar("T")


class Records:
    """Predictions, labels and outcomes. Cheap to make; connects on first use. Any thread may use it, and a forked process too."""

    def __init__(self, url: str | Path, noted: Path | None = None) -> None:
        """`url` is a SQLAlchemy URL or an SQLite file's path; `noted` is the file that keeps the chains' ends."""
        self._url, self._noted = url, noted
        self._writing = threading.Lock()
        self._appender: Appender | None = None
        self._foreign: list[Appender] = []  # a parent process's: never closed here, for that would take its locks
        self._noted_at = 0.0

    @classmethod
    def at(cls, home: Path) -> Records:
        """HOME/records.db, or the database that AIPRIME_LEDGER_URL names."""
        return cls(os.environ.get("AIPRIME_LEDGER_URL") or home / "records.db", noted=home / "records.head")

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Keep a group in one transaction, durable on return: all of them or none.

        UserError where the database cannot be written; sqlalchemy's IntegrityError where an (id, role) is there already.
        """
        if predictions:
            self._write(lambda appender: appender.append(predictions))

    def label(self, labels: Sequence[Label]) -> Labelled:
        """Keep labels, durable on return. One that says what is known already is no record; another value is, and wins.

        UserError for the first whose form is wrong: then none is kept. Those before a failure of the database are.
        """
        read = [(one, *labels_.read(one, number)) for number, one in enumerate(labels)]
        done = Labelled()
        for start in range(0, len(read), _LABELS):
            group = read[start : start + _LABELS]
            done += self._write(lambda appender, group=group: appender.label(group))
        return done

    def find(self, prediction_id: str) -> list[Prediction]:
        """Every role's record of an id, which may name a row (ID/N); empty where none was kept. Erased contents are empty."""
        with self._reading() as connection:
            return reading.find(connection, prediction_id)

    def sizes(self, ids: Iterable[str]) -> dict[str, tuple[str, int]]:
        """(workload, rows) of each id that was kept; ids that were not are not there."""
        with self._reading() as connection:
            return reading.sizes(connection, list(ids))

    def labels_of(self, prediction_id: str) -> list[Label]:
        """The labels that name an id, each thing's newest."""
        with self._reading() as connection:
            return reading.labels_of(connection, prediction_id)

    def labels_at(self, workload: str, moments: Sequence[tuple[int, str | None]]) -> list[Label]:
        """The newest label about each of these times and entities (None: of any)."""
        with self._reading() as connection:
            return reading.labels_at(connection, workload, moments)

    def predictions(
        self, workload: str, *, after: int = 0, limit: int | None = None, role: Role | None = None
    ) -> Iterator[Prediction]:
        """A workload's predictions behind sequence number `after`, in order, read as they are asked for."""
        unpack = reading.Unpacking()

        def page(after: int, limit: int) -> list[Prediction]:
            with self._reading() as connection:
                return reading.page(connection, unpack, workload, after, limit, role)

        return reading.pages(page, after, limit)

    def newest(self, workload: str, *, back: int = 0) -> int:
        """The sequence number of a workload's last prediction, or of the one that came `back` before it; 0 where there is none."""
        with self._reading() as connection:
            return reading.newest(connection, workload, back)

    def absorb(self, signature: Signature, sole_entity: str | None = None) -> int:
        """Read new predictions of `signature.workload`, and new labels, into the outcomes; the number of predictions read.

        `sole_entity` is the workload's only entity, where it has one only. What cannot be parsed is logged and counted, never fatal.
        """
        from serving.records.absorbing import absorb  # reads answers with numpy, which who only keeps them does without

        with explained(self._url, _WHAT):
            return absorb(self._engine.begin, signature, sole_entity)

    def outcomes(
        self,
        workload: str,
        *,
        since: int | None,
        until: int | None,
        roles: Collection[Role] | None,
        versions: Collection[str] | None = None,
        labelled: bool | None = None,
        after: int = 0,
        told: tuple[int, int] | None = None,
        most: int | None = None,
    ) -> pa.Table:
        """One row per predicted quantity that was absorbed, with its newest truth (null: not known); by target time, [since, until).

        Columns: sequence, id (16 bytes), row, horizon (null: none), entity, time and target_time (seconds since 1970), version, role, at; then
        prediction, low, high (the 0.1 and 0.9 quantiles), truth, or for classes label, confidence, truth, p_true.
        With `told` only those whose truth is a label of the sequence numbers (told[0], told[1]]; see `told`. With `most` at the most so many,
        the newest: by sequence where `after` alone bounds them, else by target time.
        """
        window = Window(
            since=since, until=until, roles=roles, versions=versions, labelled=labelled, after=after, told=told, most=most
        )
        self._settle(workload)
        with self._reading() as connection:
            return outcomes.table(connection, workload, window)

    def unlabelled(self, workload: str, *, since: int, until: int, roles: Collection[Role], after: int = 0) -> int:
        """How many outcomes of target times in [since, until) have no truth yet; counted in the database, for they may be all."""
        window = Window(since=since, until=until, roles=roles, labelled=False, after=after)
        self._settle(workload)
        with self._reading() as connection:
            return outcomes.count(connection, workload, window)

    def watermark(self, workload: str, *, since: int | None = None) -> Watermark:
        """How far truth is known of what was absorbed; `since` (a target time) bounds what is counted."""
        self._settle(workload)
        with self._reading() as connection:
            return outcomes.watermark(connection, workload, since)

    def told(self, workload: str, *, after: int) -> truths.Told:
        """How far outcomes were joined with labels, and how far back those behind sequence number `after` reach."""
        self._settle(workload)
        with self._reading() as connection:
            return truths.told(connection, workload, after)

    def truths(self, workload: str, *, until: int | None = None) -> pa.Table:
        """The labels by time, joined to a prediction or not, of times before `until`: entity, time, number, name; the newest wins."""
        with self._reading() as connection:
            return truths.series(connection, workload, until)

    def joined(self, workload: str, *, until: int | None = None) -> pa.Table:
        """The same of labels that were joined to a prediction, one per time and entity: that of the newest prediction."""
        self._settle(workload)
        with self._reading() as connection:
            return truths.joined(connection, workload, until)

    def labelled_until(self, workload: str) -> int | None:
        """The newest target time of a prediction with a truth; None where none has one. Takes no longer with each year."""
        self._settle(workload)
        with self._reading() as connection:
            return outcomes.labelled_until(connection, workload)

    def told_until(self, workload: str) -> int | None:
        """The newest time that a label by time is about, joined or not; None where there is none."""
        with self._reading() as connection:
            return truths.told_until(connection, workload)

    def traffic(self, workload: str, *, after: int) -> dict[tuple[str, Role], Traffic]:
        """By version and role, requests, errors and latencies behind sequence number `after`."""
        with self._reading() as connection:
            return outcomes.traffic(connection, workload, after)

    def agreement(self, workload: str, *, after: int, version: str | None = None, role: Role = "shadow") -> Agreement:
        """A shadow's answers beside the champion's to the same requests, of what was absorbed."""
        with self._reading() as connection:
            return outcomes.agreement(connection, workload, after, version, role)

    def erase(self, workload: str, *, before: float | None = None, entity: Any = None, ids: Sequence[str] = ()) -> Erased:
        """Delete the contents, outcomes and labels of predictions: all that is given must hold. Both chains still verify.

        Records that it went: nothing. The caller does, as the ledger's decision "erased". ValueError where nothing is given.
        """
        chosen = Chosen.of(workload, before, entity, ids)
        with explained(self._url, _WHAT):
            return erase(self._reading, self._engine.begin, chosen)

    def count(self, workload: str, *, entity: Any) -> Erased:
        """How much `erase` would delete of an entity; changes nothing."""
        with explained(self._url, _WHAT):
            return count(self._reading, Chosen.of(workload, None, entity, ()))

    def entities(self, workload: str) -> set[str]:
        """Every entity that anything kept of a workload names, as text."""
        with explained(self._url, _WHAT):
            return entities(self._reading, workload)

    def export(self, workload: str, folder: Path) -> list[Path]:
        """Write predictions, labels and absorbed outcomes as Parquet files; their paths."""
        from serving.records.exporting import export

        self._settle(workload)
        return export(self._reading, workload, folder)

    def bounds(self, workload: str | None = None) -> Bounds:
        """How much is kept: of one workload or of all; the bytes are always the whole store's."""
        with self._reading() as connection:
            return bounds(connection, workload)

    def verify(self) -> Broken | None:
        """The first place where a chain does not hold, or None: edited, deleted, inserted, reordered, cut off."""
        from sqlalchemy.exc import DatabaseError

        from serving.records.verification import first_broken

        try:
            return first_broken(self._reading, self._noted_ends())
        except (UserError, DatabaseError, ValueError) as error:
            if isinstance(error, UserError) and not damaged(error.__cause__):
                raise  # locked, or out of reach: nothing is known
            return Broken(0, f"the records cannot be read: {error}")

    def close(self) -> None:
        """Note the chains' ends and give the writer's connection back; it is opened again when it is needed."""
        with self._writing:
            if self._appender is not None and self._appender.process == os.getpid():
                self._note(self._appender, at_once=True)
                self._appender.close()
            self._appender = None

    def _write(self, write: Callable[[Appender], T]) -> T:
        with self._writing, explained(self._url, _WHAT):
            appender = self._own_appender()
            try:
                done = write(appender)
            except BaseException:
                self._appender = None  # its dictionaries may be of what was undone
                appender.close()
                raise
            self._note(appender)
            return done

    def _settle(self, workload: str) -> None:
        from serving.records.absorbing import settle

        with explained(self._url, _WHAT):
            settle(self._engine.begin, workload)

    def _own_appender(self) -> Appender:
        if self._appender is not None and self._appender.process != os.getpid():
            self._foreign.append(self._appender)
            self._appender = None
        if self._appender is None:
            self._appender = Appender(self._engine.connect())
        return self._appender

    def _note(self, appender: Appender, *, at_once: bool = False) -> None:
        """Write the ends down. Ends that lie behind (another writer, a full disk) are still ends that the chains had."""
        if self._noted is None or not appender.ends or (not at_once and time.monotonic() < self._noted_at + _NOTED_S):
            return
        self._noted_at = time.monotonic()
        ends = {chain: {"sequence": sequence, "hash": end.hex()} for chain, (sequence, end) in appender.ends.items()}
        with suppress(OSError):
            write_json(self._noted, ends)

    def _noted_ends(self) -> dict[str, tuple[int, bytes]]:
        if self._noted is None or not self._noted.exists():
            return {}
        noted = json.loads(self._noted.read_bytes())
        return {chain: (end["sequence"], bytes.fromhex(end["hash"])) for chain, end in noted.items()}

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with explained(self._url, _WHAT), self._engine.connect() as connection:
            yield connection

    @cached_property
    def _engine(self) -> sa.Engine:
        return opened(self._url, _create, beside={DERIVED: "outcomes.db"})


def _create(engine: sa.Engine) -> None:
    of = tables()
    with engine.begin() as connection:
        of.metadata.create_all(connection)
        if connection.execute(of.chain_ends.select()).first() is None:
            connection.execute(of.chain_ends.insert(), [{"chain": name, "sequence": 0, "hash": GENESIS} for name in CHAINS])
