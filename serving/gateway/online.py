"""Feast's SQLite online store, read without Feast: one query, and the few lines of protobuf that its values need.

Held equal to `get_online_features` by a contract test (tests/serving/gateway/test_online.py). Feast's own reader takes 7 s and 370 MB to
import; its store, at version 0.67, is a table PROJECT_VIEW of (entity_key, feature_name, value, event_ts).
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

_STRING, _INT32, _INT64 = 2, 3, 4  # feast.types.ValueType
_KEPT = 10_000  # rows held in memory


@dataclass(frozen=True, kw_only=True)
class Names:
    """HOME/feast/WORKLOAD/names.json: what Feast calls what (its names are ours, a person's columns may have any)."""

    project: str
    view: str
    join_key: str
    entity_type: str  # STRING, INT32 or INT64
    features: Mapping[str, str]  # Feast's name -> the column's

    @classmethod
    def read(cls, path: Path) -> Names:
        """The written names; FileNotFoundError where nothing was published."""
        written = json.loads(path.read_bytes())
        return cls(**{name: written[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Row:
    """One entity's newest values by column, and the time that each is of."""

    values: Mapping[str, Any]
    times: Mapping[str, datetime]

    def at(self, columns: Collection[str]) -> datetime:
        """The time of these columns: the oldest, for what a newer view left out stays as old as it is."""
        return min(self.times[column] for column in columns)


class OnlineStore:
    """One workload's online values. Rows are kept in memory until another process writes to the store."""

    def __init__(self, folder: Path) -> None:
        """`folder` is HOME/feast/WORKLOAD. FileNotFoundError where nothing was published."""
        self._folder = folder
        self._file = folder / "online.db"
        self._open()

    def read(self, entity: Any) -> Row | None:
        """The entity's row, or None where it has none. ValueError where the value cannot be one; sqlite3.OperationalError while locked."""
        key = self._key(entity)
        self._renew()
        if key not in self._rows:
            if len(self._rows) >= _KEPT:
                self._rows.clear()
            self._rows[key] = self._read(key)
        return self._rows[key]

    def any_entity(self) -> Any:
        """Some entity that has values, for an example; None where there is none."""
        found = self._db.execute(f'SELECT entity_key FROM "{self._table}" LIMIT 1').fetchone()
        return None if found is None else self._entity(found[0])

    def sole_entity(self) -> Any:
        """The only entity that has values; None where there is none, or another one."""
        found = self._db.execute(f'SELECT DISTINCT entity_key FROM "{self._table}" LIMIT 2').fetchall()
        return self._entity(found[0][0]) if len(found) == 1 else None

    def entities(self) -> list[Any]:
        """Every entity that has values."""
        return [self._entity(key) for (key,) in self._db.execute(f'SELECT DISTINCT entity_key FROM "{self._table}"')]

    def times(self, columns: Collection[str], most: int) -> list[datetime]:
        """The time of these columns by entity, of at the most `most` entities; one that has none of them is left out."""
        names = [feature for feature, column in self._names.features.items() if column in columns]
        some = f'SELECT DISTINCT entity_key FROM "{self._table}" LIMIT ?'
        asked = f'SELECT min(event_ts) FROM "{self._table}" WHERE entity_key IN ({some}) AND feature_name IN ({",".join("?" * len(names))}) GROUP BY entity_key'
        return [_event_time(stored) for (stored,) in self._db.execute(asked, (most, *names))]

    def place(self, entity: str) -> tuple[str, bytes] | None:
        """The table and the key under which the entity, named by text, has its values; None where the text can name none."""
        try:
            return self._table, self._key(entity if self._names.entity_type == "STRING" else int(entity))
        except ValueError:
            return None

    def holds(self, entity: str) -> bool:
        """Whether the entity, named by text, has values; sqlite3.OperationalError while locked."""
        place = self.place(entity)
        asked = f'SELECT 1 FROM "{self._table}" WHERE entity_key = ? LIMIT 1'
        return place is not None and self._db.execute(asked, (place[1],)).fetchone() is not None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _open(self) -> None:
        self._stamp = self._stamped()
        self._names = Names.read(self._folder / "names.json")
        name = self._names.join_key.encode()
        self._head = struct.pack("<III", 1, _STRING, len(name)) + name
        self._table = f"{self._names.project}_{self._names.view}".replace('"', '""')
        self._db = sqlite3.connect(f"file:{quote(str(self._file))}?mode=ro", uri=True, timeout=0, isolation_level=None)
        self._select = f'SELECT feature_name, value, event_ts FROM "{self._table}" WHERE entity_key = ?'
        self._version: int | None = None
        self._rows: dict[bytes, Row | None] = {}

    def _renew(self) -> None:
        """Forget what was read if the store was written to since; open it again if it was replaced."""
        if self._stamped() != self._stamp:
            self._db.close()
            self._open()
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._rows.clear()
            self._version = version

    def _stamped(self) -> tuple[int, int]:
        """The identity of both files; the names are replaced whole, the store is written in place."""
        return self._file.stat().st_ino, (self._folder / "names.json").stat().st_ino

    def _read(self, key: bytes) -> Row | None:
        values, times = {}, {}
        for feature, value, event in self._db.execute(self._select, (key,)):
            name = self._names.features.get(feature)
            if name is not None:
                values[name], times[name] = decoded(value), _event_time(event)
        return Row(values, times) if values else None

    def _entity(self, key: bytes) -> Any:
        raw = key[len(self._head) + 8 :]  # after the value's type and length
        return raw.decode() if self._names.entity_type == "STRING" else int.from_bytes(raw, "little", signed=True)

    def _key(self, entity: Any) -> bytes:
        """Feast's entity key, serialisation 3: count, then type, length and bytes of each name, then of each value."""
        kind = self._names.entity_type
        if kind == "STRING" and isinstance(entity, str):
            number, value = _STRING, entity.encode()
        elif kind in {"INT64", "INT32"} and isinstance(entity, int) and not isinstance(entity, bool):
            number, code = (_INT64, "<q") if kind == "INT64" else (_INT32, "<i")
            try:
                value = struct.pack(code, entity)
            except struct.error as error:
                raise ValueError("a smaller whole number") from error
        else:
            raise ValueError("text" if kind == "STRING" else "a whole number")
        return self._head + struct.pack("<II", number, len(value)) + value


def decoded(message: bytes) -> Any:
    """A `feast.types.Value` of one scalar: str, bytes, int, float, bool, datetime (UTC), or None where no value is set."""
    if not message:
        return None
    tag, at = _varint(message, 0)
    field, wire = tag >> 3, tag & 7
    if wire == 2:
        length, at = _varint(message, at)
        content = message[at : at + length]
        if field in {1, 2}:
            return content if field == 1 else content.decode()
        return _unknown(field)
    if wire == 1 and field == 5:
        return struct.unpack_from("<d", message, at)[0]
    if wire == 5 and field == 6:
        return struct.unpack_from("<f", message, at)[0]
    number, _ = _varint(message, at)
    signed = number - (1 << 64) if number >> 63 else number
    if field in {3, 4}:
        return signed
    if field == 7:
        return bool(number)
    if field == 8:
        return datetime.fromtimestamp(signed, UTC)
    return None if field == 19 else _unknown(field)  # 19: null


def _unknown(field: int) -> Any:
    raise ValueError(f"a Feast value of type {field} cannot be an input")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _event_time(stored: Any) -> datetime:
    """Feast writes the UTC time as if it were local (its adapter takes a naive datetime's timestamp), and reads it back so."""
    naive = datetime.fromtimestamp(stored) if isinstance(stored, int | float) else datetime.fromisoformat(str(stored))
    return naive.replace(tzinfo=UTC)
