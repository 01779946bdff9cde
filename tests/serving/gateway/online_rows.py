"""A small writer of Feast's online store, for tests that need no Feast. The contract test says whether the form is Feast's."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from data.files import write_json


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def encoded(value: Any) -> bytes:
    """A feast.types.Value."""
    match value:
        case None:
            return b""
        case bool():
            return b"\x38" + varint(value)
        case int():
            return b"\x20" + varint(value)
        case float():
            return b"\x29" + struct.pack("<d", value)
        case str():
            return b"\x12" + varint(len(value.encode())) + value.encode()
        case datetime():
            return b"\x40" + varint(int(value.timestamp()))
        case _:
            raise TypeError(value)


def write(folder: Path, entity: str | int, values: Mapping[str, Any], at: datetime) -> None:
    """Publish one entity's values (columns by a person's names), as data/features.py has Feast do it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "names.json"
    names = json.loads(file.read_text()) if file.exists() else {"features": {}}
    generated = {column: f"f_{sha256(column.encode()).hexdigest()[:12]}" for column in values}
    kind = "STRING" if isinstance(entity, str) else "INT64"
    features = names["features"] | {feature: column for column, feature in generated.items()}
    stated = {"project": "w", "view": "stored", "join_key": "key", "entity_type": kind, "features": features}
    if names != stated:
        write_json(file, stated)
    raw, number = (entity.encode(), 2) if isinstance(entity, str) else (struct.pack("<q", entity), 4)
    key = struct.pack("<III", 1, 2, 3) + b"key" + struct.pack("<II", number, len(raw)) + raw
    local = int(at.astimezone(UTC).replace(tzinfo=None).timestamp())  # as Feast's adapter does
    db = sqlite3.connect(folder / "online.db")
    with db:
        db.execute(
            'CREATE TABLE IF NOT EXISTS "w_stored" (entity_key BLOB, feature_name TEXT, value BLOB, event_ts timestamp, PRIMARY KEY(entity_key, feature_name))'
        )
        for column, value in values.items():
            db.execute('INSERT OR REPLACE INTO "w_stored" VALUES (?, ?, ?, ?)', (key, generated[column], encoded(value), local))
    db.close()
