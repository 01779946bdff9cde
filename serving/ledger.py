"""The ledger: every decision about a model, append-only and hash-chained. The champion is what its newest promotion says.

SQLite in WAL mode with synchronous=FULL by default (WAL + NORMAL loses acknowledged commits at a power cut, measured); any
other database by its URL. The chain's end is noted in a file beside the database too, so a ledger that was cut short or rolled
back does not verify. Knows nothing of servers, of MLflow, or of how a decision was reached.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from data.errors import UserError
from data.files import write_json
from serving.chain import GENESIS, Broken, Chain, Decision, Kind, tables
from serving.database import damaged, explained, opened
from serving.release import CHANGES, Release, refusal

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["Broken", "Conflict", "Decision", "Kind", "Ledger"]


class Conflict(UserError):
    """Another change of the release won: it is not the one that the caller looked at. `.champion` is the version that is champion."""

    def __init__(self, workload: str, happened: str, champion: str | None) -> None:
        self.champion = champion
        super().__init__(
            f"{workload}: {happened}", next_step="look at what serves now (aiprime release list), then decide again"
        )


class Ledger:
    """The decisions of one AIPRIME_HOME. Cheap to make; connects on first use and holds no connection between calls."""

    def __init__(self, url: str | Path, noted: Path | None = None) -> None:
        """`url` is a SQLAlchemy URL or an SQLite file's path; `noted` is the file that keeps the chain's end."""
        self._url = url
        self._noted = noted

    @classmethod
    def at(cls, home: Path) -> Ledger:
        """HOME/ledger.db, or the database that AIPRIME_LEDGER_URL names."""
        return cls(os.environ.get("AIPRIME_LEDGER_URL") or home / "ledger.db", noted=home / "ledger.head")

    def record(
        self,
        kind: Kind,
        workload: str,
        version: str | int,
        payload: Mapping[str, Any] | None = None,
        *,
        actor: str = "aiprime",
        key: str | None = None,
    ) -> Decision:
        """Append a decision, durable on return. A `key` that is already there returns the first record instead.

        ValueError where the key belongs to another kind or workload; a change of the release goes through `promote` or `change`.
        """
        if kind not in get_args(Kind) or kind in {*CHANGES} - {"retired"}:
            raise ValueError(f"{kind!r} cannot be recorded")
        first = None if key is None else self._once(key)
        if first is None:
            with self._appending() as chain:
                first = None if key is None else chain.by_key(key)  # again, now that nobody else can append
                if first is None:
                    return chain.append(kind, workload, str(version), payload or {}, actor=actor, key=key)
        if (first.kind, first.workload) != (kind, workload):
            raise ValueError(f"the key {key!r} belongs to a {first.kind} record of {first.workload}")
        return first

    def promote(
        self,
        workload: str,
        version: str | int,
        *,
        expected: str | int | None,
        reason: str,
        actor: str = "aiprime",
        payload: Mapping[str, Any] | None = None,
        fence: int | None = None,
    ) -> Decision:
        """Make `version` the champion if the champion is still `expected` (None: there is none), else raise Conflict.

        With `fence`, also where the release changed since in any other way: the challenger was rolled back, the release paused.
        A version that already is the champion gives the record that made it so: a caller that was cut off may ask again.
        """
        wanted = None if expected is None else str(expected)
        with self._appending() as chain:
            champion = chain.champion(workload)
            if champion is not None and champion.version == str(version):
                return champion
            current = None if champion is None else champion.version
            if current != wanted:
                won = f"the champion is {current or 'none'}, not {wanted or 'none'}: another promotion won"
                raise Conflict(workload, won, current)
            if fence is not None:
                _unchanged(chain, workload, fence)
            reasons = {"reason": reason, "replaces": current, **(payload or {})}
            return chain.append("promoted", workload, str(version), reasons, actor=actor, key=None)

    def change(
        self,
        kind: Kind,
        workload: str,
        version: str | int,
        payload: Mapping[str, Any] | None = None,
        *,
        expected: int,
        actor: str = "aiprime",
    ) -> Decision:
        """Change the workload's release if its fence is still `expected`, else raise Conflict; a promotion goes through `promote`.

        UserError where the release is such that the change would be none: a held version exposed, a pause of what is paused.
        """
        if kind == "promoted":
            raise ValueError("a promotion goes through `promote`")
        with self._appending() as chain:
            release = _unchanged(chain, workload, expected)
            if reason := refusal(release, kind, str(version), payload or {}):
                raise UserError(f"{workload}: {reason}", next_step="aiprime release list shows what serves")
            return chain.append(kind, workload, str(version), payload or {}, actor=actor, key=None)

    def release(self, workload: str, *, expected: int | None = None) -> Release:
        """What of the workload may serve: champion, challenger and its step, and the fence to change it by.

        Conflict where the fence is not `expected` any more.
        """
        with self._reading() as chain:
            return chain.release(workload) if expected is None else _unchanged(chain, workload, expected)

    def champion(self, workload: str) -> Decision | None:
        """The promotion that holds: `.version` is what must serve, `.sequence` its fencing token."""
        with self._reading() as chain:
            return chain.champion(workload)

    def champions(self) -> dict[str, Decision | None]:
        """Every workload that was ever decided on, and its champion (None: nothing of it may serve)."""
        with self._reading() as chain:
            return {workload: chain.champion(workload) for workload in chain.workloads()}

    def workloads(self) -> list[str]:
        """Every workload that was ever decided on, by name."""
        with self._reading() as chain:
            return chain.workloads()

    def history(self, workload: str | None = None, kind: Kind | None = None) -> list[Decision]:
        """The decisions in order, oldest first; of one workload and of one kind where given."""
        with self._reading() as chain:
            return list(chain.decisions(workload, kind))

    def latest(self, workload: str, count: int, kinds: Collection[Kind] | None = None) -> list[Decision]:
        """The newest `count` decisions of a workload, oldest first; of some kinds where given."""
        with self._reading() as chain:
            return chain.latest(workload, count, kinds)

    def first(self, workload: str, kind: Kind, *, after: int = 0) -> Decision | None:
        """The first decision of a workload and a kind behind sequence number `after`."""
        with self._reading() as chain:
            return chain.first(workload, kind, after)

    def newest(self) -> int:
        """The sequence number of the last decision; 0 where there is none."""
        with self._reading() as chain:
            return chain.newest()

    def verify(self) -> Broken | None:
        """The first place where the chain does not hold, or None: edited, deleted, inserted, reordered, cut off."""
        from sqlalchemy.exc import DatabaseError, InvalidRequestError

        unlike = (
            ValueError,
            TypeError,
            InvalidRequestError,
        )  # a value of another kind, no head: SQLite takes anything in any column
        end = json.loads(self._noted.read_bytes()) if self._noted and self._noted.exists() else {"sequence": 0, "hash": GENESIS}
        try:
            with self._reading() as chain:
                return chain.first_broken((end["sequence"], end["hash"]))
        except (UserError, DatabaseError, *unlike) as error:
            if isinstance(error, UserError) and not damaged(error.__cause__):
                raise  # locked, or out of reach: nothing is known
            return Broken(0, f"the ledger cannot be read: {error}")

    def _once(self, key: str) -> Decision | None:
        with self._reading() as chain:
            return chain.by_key(key)

    @cached_property
    def _engine(self) -> sa.Engine:
        return opened(self._url, _create)

    @contextmanager
    def _reading(self) -> Iterator[Chain]:
        with explained(self._url, "the ledger"), self._engine.connect() as connection:
            yield Chain(connection)

    @contextmanager
    def _appending(self) -> Iterator[Chain]:
        """The chain, locked for one append; committed on leaving, then its end noted."""
        with explained(self._url, "the ledger"), self._engine.begin() as connection:
            chain = Chain(connection)
            chain.lock()
            yield chain
        if self._noted is not None and (end := chain.appended):
            # An end that lies behind (two writers in the wrong order, a full disk) is still one that the chain had.
            with suppress(OSError):
                write_json(self._noted, {"sequence": end.sequence, "hash": end.hash})


def _unchanged(chain: Chain, workload: str, fence: int) -> Release:
    release = chain.release(workload)
    if release.fence == fence:
        return release
    won = next((d for d in chain.decisions(workload) if d.sequence == release.fence), None)
    happened = f"version {won.version} was {won.kind} by {won.actor}" if won else "the ledger was replaced"
    raise Conflict(workload, f"the release changed meanwhile: {happened}", release.champion)


def _create(engine: sa.Engine) -> None:
    decisions, head = tables()
    with engine.begin() as connection:
        decisions.metadata.create_all(connection)
        for index in decisions.indexes:  # a ledger of before there was one gets it now
            index.create(connection, checkfirst=True)
        if connection.execute(head.select()).one_or_none() is None:
            connection.execute(head.insert().values(id=1, sequence=0, hash=GENESIS))
