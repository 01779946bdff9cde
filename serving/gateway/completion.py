"""Requests that name only the entity: what the signature calls stored is filled in from the online store, the rest is left alone.

A series without an entity is filled in from HOME/features/WORKLOAD/latest.json, the newest row. A value older than the workload's
`ttl` is refused (503, `stale`) or, where the workload says so, flagged in the answer, for Feast's store serves it for ever. Its age is that at
the request's own time where it states one (what is asked of 1990 is not stale today), else now; it goes into a header. Never guesses: no
default stands in for a value that is not there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import sqlite3
import time
from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from serving import strict_json
from serving.freshness import span
from serving.gateway.online import OnlineStore, Row
from serving.gateway.refusal import Refusal
from serving.inference.times import epoch_seconds
from serving.routes import Route
from training.signature import Input, Signature

log = logging.getLogger("aiprime.gateway")
AGE_HEADER, STALE_HEADER = "x-aiprime-feature-age-seconds", "x-aiprime-stale"
_LOCKED_S = 2.0  # a store that is being written to is waited for
_KEPT_SIGNATURES = 1000


class Completed(NamedTuple):
    """A request as the model server is sent it."""

    body: bytes
    rows: int = 0  # 0: not known, for the body was not read
    entities: tuple[Any, ...] = ()  # by row, where the rows name them
    notes: dict[str, str] = {}  # noqa: RUF012  headers for the answer (never changed)


class Completion:
    """Fills requests in, for every workload of one home."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._signatures: dict[str, Signature] = {}  # by model folder, which never changes
        self._stores: dict[str, OnlineStore] = {}
        self._latest: dict[str, tuple[int, Row]] = {}

    def signature(self, route: Route) -> Signature | None:
        """The signature of the route's model; None where its folder cannot be read."""
        if route.model is None:
            return None
        if route.model not in self._signatures:
            if len(self._signatures) >= _KEPT_SIGNATURES:
                self._signatures.clear()
            try:
                self._signatures[route.model] = Signature.read(Path(route.model))
            except (OSError, ValueError) as error:
                log.error("%s: the signature cannot be read: %s", route.workload, error)
                return None
        return self._signatures[route.model]

    async def complete(self, route: Route, kind: str, body: bytes, *, binary: bool = False) -> Completed:
        """The body to send on. A whole request, a binary one, and one that is not understood, come back as they are."""
        signature = self.signature(route)
        if signature is None or not signature.stored or binary:
            return Completed(body)
        document, rows = _read(kind, body, signature)
        if not rows:
            return Completed(body)
        entities = _entities(rows, signature)
        filling = _Filling(self, route, signature)
        changed = [row for row in rows if filling.lacks(row)]
        if not changed:
            return Completed(body, len(rows), entities)
        for row in changed:
            await filling.fill(row)
        if kind == "v2":
            document["inputs"] = _v2_inputs(document["inputs"], rows, filling)
        return Completed(orjson.dumps(document), len(rows), entities, filling.notes)

    def alike(self, one: Route, other: Route) -> bool:
        """Whether what completes a request for the one completes it for the other."""
        if one.model == other.model:
            return True
        a, b = self.signature(one), self.signature(other)
        return a is None or b is None or (a.inputs, a.stored, a.entity, a.time) == (b.inputs, b.stored, b.entity, b.time)

    def entities(self, route: Route, kind: str, body: bytes) -> tuple[Any, ...]:
        """The entity of each row, where the rows name them; reads the body."""
        signature = self.signature(route)
        if signature is None or signature.entity is None:
            return ()
        return _entities(_read(kind, body, signature)[1], signature)

    async def row(self, route: Route, signature: Signature, entity: Any) -> Row:
        """The newest stored values; Refusal where there are none."""
        if signature.entity is None:
            return self._newest(route)
        end = time.monotonic() + _LOCKED_S
        while True:
            try:
                found = self.store(route.workload).read(entity)
                break
            except FileNotFoundError:
                raise Refusal(503, f"{route.workload}: no features were published yet", retry_after_s=10) from None
            except ValueError as error:
                raise Refusal(400, f"{signature.entity} is {_shown(entity)}; expected {error}") from None
            except sqlite3.Error as error:
                locked = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
                if not locked or time.monotonic() > end:
                    self._stores.pop(route.workload, None)  # it may have been mended when it is asked for again
                    log.warning("%s: the online store cannot be read: %s", route.workload, error)
                    raise Refusal(
                        503, f"{route.workload}: the online store cannot be read: {error}", retry_after_s=1
                    ) from error
                await asyncio.sleep(0.02)
        if found is None:
            raise Refusal(404, f"{route.workload}: nothing is known of {signature.entity} {_shown(entity)}")
        return found

    def unknown(self, workload: str, entities: Collection[str]) -> list[str]:
        """Which of these entities, named by text, have no stored values; none where that cannot be told. For a thread: opens the store anew."""
        if not entities:
            return []
        try:
            with closing(OnlineStore(self._home / "feast" / workload)) as store:
                return sorted(one for one in entities if not store.holds(one))
        except (OSError, sqlite3.Error, ValueError):  # nothing was published, or it is being written
            return []

    def store(self, workload: str) -> OnlineStore:
        """The workload's online store; FileNotFoundError where nothing was published."""
        if workload not in self._stores:
            self._stores[workload] = OnlineStore(self._home / "feast" / workload)
        return self._stores[workload]

    def _newest(self, route: Route) -> Row:
        path = self._home / "features" / route.workload / "latest.json"
        try:
            stamp = path.stat().st_mtime_ns
            if self._latest.get(route.workload, (0, None))[0] != stamp:
                written = json.loads(path.read_bytes())
                at = datetime.fromisoformat(written["time"])
                at = at if at.tzinfo else at.replace(tzinfo=UTC)
                self._latest[route.workload] = stamp, Row(written["values"], dict.fromkeys(written["values"], at))
        except FileNotFoundError:
            raise Refusal(503, f"{route.workload}: no features were published yet", retry_after_s=10) from None
        return self._latest[route.workload][1]


class _Filling:
    """One request's filling in: which columns, from which rows, and how old the oldest was."""

    def __init__(self, completion: Completion, route: Route, signature: Signature) -> None:
        self._completion, self._route, self._signature = completion, route, signature
        names = {*signature.stored, *([signature.time] if signature.time else [])}
        self.columns = [column for column in signature.inputs if column.name in names]
        inputs = {column.name for column in signature.inputs}
        self.key = signature.entity if signature.entity not in inputs else None  # names the row; the model does not take it
        self.age_s: float | None = None
        self.stale = False

    def lacks(self, row: dict[str, Any]) -> bool:
        """Whether the row cannot be sent on as it is."""
        return self.key in row or any(column.name not in row for column in self.columns)

    async def fill(self, row: dict[str, Any]) -> None:
        """Give a row what it lacks; Refusal where the store cannot."""
        lacking = [column for column in self.columns if column.name not in row]
        if lacking:
            entity = self._signature.entity
            if entity is not None and entity not in row:
                raise Refusal(400, f"{self._route.workload}: name the {entity}, or bring every input")
            found = await self._completion.row(self._route, self._signature, row.get(entity) if entity else None)
            at = self._time_of(found, row.get(entity) if entity else None, row.get(self._signature.time or ""))
            for column in lacking:
                of_time = column.name == self._signature.time and column.name not in found.values
                row[column.name] = self._json(column, at if of_time else found.values.get(column.name))
        if self.key is not None:
            row.pop(self.key, None)

    @property
    def notes(self) -> dict[str, str]:
        """What the answer says of how old the values were."""
        aged = {} if self.age_s is None else {AGE_HEADER: str(max(0, round(self.age_s)))}
        return aged | ({STALE_HEADER: "true"} if self.stale else {})

    def _time_of(self, found: Row, entity: Any, asked: Any) -> datetime:
        """The time up to which the stored values are known; Refusal where that is longer before the request's own time than the ttl."""
        of = f" of {self._signature.entity} {_shown(entity)}" if self._signature.entity else ""
        stored = [name for name in self._signature.stored if name in found.times]
        if not stored:
            raise Refusal(503, f"{self._route.workload}: the online store has no value{of} that this version reads")
        at = found.at(stored)
        own = epoch_seconds(asked) if isinstance(asked, str) else None
        age_s = (time.time() if own is None else own) - at.timestamp()
        self.age_s = max(self.age_s or 0.0, age_s)
        ttl_s = self._signature.ttl_seconds
        if ttl_s is not None and age_s > ttl_s:
            if self._signature.on_stale == "refuse":
                raise Refusal(503, f"stale: the values{of} are {span(age_s)} old (from {_iso(at)}), older than {span(ttl_s)}")
            self.stale = True
        return at

    def _json(self, column: Input, value: Any) -> Any:
        """A stored value as a v1 instance states it."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            if column.nullable:
                return None
            raise Refusal(503, f"{self._route.workload}: the online store has no value for {column.name!r}")
        if column.kind == "time":
            return (
                value
                if isinstance(value, str)
                else _iso(value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC))
            )
        return {"integer": int, "boolean": bool, "number": float}.get(column.kind, lambda same: same)(value)


def _read(kind: str, body: bytes, signature: Signature) -> tuple[Any, list[dict[str, Any]]]:
    """The document and its rows; no rows where it is not one of the protocol."""
    try:
        document = strict_json.parsed(body)
    except strict_json.NotStrict:  # the model server says so too
        return None, []
    return document, (_v1_rows(document) if kind == "v1" else _v2_rows(document, signature)) or []


def _entities(rows: list[dict[str, Any]], signature: Signature) -> tuple[Any, ...]:
    named = tuple(row.get(signature.entity) for row in rows) if signature.entity is not None else ()
    return named if any(one is not None for one in named) else ()


def _v1_rows(document: Any) -> list[dict[str, Any]] | None:
    instances = document.get("instances") if isinstance(document, dict) else None
    if isinstance(instances, list) and all(isinstance(one, dict) for one in instances):
        return instances
    return None


def _v2_rows(document: Any, signature: Signature) -> list[dict[str, Any]] | None:
    """A v2 request by rows: the names that it brings, and the entity's values, by which the others are looked up."""
    inputs = document.get("inputs") if isinstance(document, dict) else None
    if not isinstance(inputs, list) or not all(isinstance(one, dict) and isinstance(one.get("data"), list) for one in inputs):
        return None
    brought: dict[str, Any] = dict.fromkeys(str(one.get("name")) for one in inputs)
    by = next(
        (one for one in inputs if one.get("name") == signature.entity), inputs[0] if inputs else {"data": [None], "shape": [1]}
    )
    values = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in by["data"]]
    if by.get("shape") not in ([len(values)], [len(values), 1]):
        return None  # the model server says what is wrong
    rows = [dict(brought) for _ in values]
    for name in {*brought} & {signature.entity or "", signature.time or ""}:  # by whom, and by when, values are looked up
        given = next(one["data"] for one in inputs if one.get("name") == name)
        for row, value in zip(rows, given if name != signature.entity else values, strict=False):
            row[name] = value[0] if isinstance(value, list) and len(value) == 1 else value
    return rows


def _v2_inputs(given: list[Any], rows: list[dict[str, Any]], filling: _Filling) -> list[Any]:
    brought = {one.get("name") for one in given}
    added = [
        {"name": c.name, "datatype": c.datatype, "shape": [len(rows)], "data": [row[c.name] for row in rows]}
        for c in filling.columns
        if c.name not in brought
    ]
    return [one for one in given if one.get("name") != filling.key or filling.key is None] + added


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
