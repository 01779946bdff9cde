"""What the feature store knew of an entity at a time: one row of what was published, at or before it. A bounded read.

The online store keeps each entity's newest row only; the rows of before lie in the file that it is filled from.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.gateway.online import Names, OnlineStore

LARGEST = 128 << 20  # bytes of a file that is looked through for one row
_JOIN_KEY, _AT = "entity", "event_timestamp"


@dataclass(frozen=True, kw_only=True)
class Known:
    """The values by column, the time that they are of, and where they were found; `said` why there are none."""

    values: Mapping[str, Any]
    at: datetime | None
    source: str
    said: str = ""


def known(home: Path, workload: str, entity: Any, at: datetime | None) -> Known:
    """The newest row of an entity (None: of a series without one) at or before `at` (None: the newest that there is)."""
    try:
        return _newest(home, workload) if entity is None else _of_entity(home, workload, entity, at)
    except FileNotFoundError:
        return Known(values={}, at=None, source="", said="no features were published for this workload, or they were deleted")
    except (OSError, ValueError, LookupError, sqlite3.Error) as error:
        return Known(values={}, at=None, source="", said=f"the feature store cannot be read: {str(error)[:200]}")


def _newest(home: Path, workload: str) -> Known:
    file = home / "features" / workload / "latest.json"
    written = json.loads(file.read_bytes())
    return Known(
        values=written["values"], at=_utc(datetime.fromisoformat(written["time"])), source=f"features/{workload}/latest.json"
    )


def _of_entity(home: Path, workload: str, entity: Any, at: datetime | None) -> Known:
    folder = home / "feast" / workload
    file = folder / "source.parquet"
    if at is None or not file.is_file() or file.stat().st_size > LARGEST:
        return _online(folder, workload, entity)
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    names = Names.read(folder / "names.json").features
    rows = ds.dataset(file)
    key = rows.schema.field(_JOIN_KEY).type
    wanted = str(entity) if not pa.types.is_integer(key) else int(entity)
    moment = pa.scalar(at, pa.timestamp("us", "UTC")).cast(rows.schema.field(_AT).type)
    mine = (pc.field(_JOIN_KEY) == wanted) & (pc.field(_AT) <= moment)
    times = rows.to_table(columns=[_AT], filter=mine).column(_AT)
    if not len(times):
        return Known(values={}, at=None, source=f"feast/{workload}/source.parquet", said="nothing was known of it by then")
    newest = max(times.to_pylist())
    mine &= pc.field(_AT) == pa.scalar(newest, times.type)
    found = rows.to_table(filter=mine).slice(0, 1).to_pylist()[0]
    values = {names[name]: value for name, value in found.items() if name in names}
    return Known(values=values, at=_utc(found[_AT]), source=f"feast/{workload}/source.parquet")


def _online(folder: Path, workload: str, entity: Any) -> Known:
    store = OnlineStore(folder)
    try:
        found = store.read(entity)
    finally:
        store.close()
    source = f"feast/{workload}/online.db"
    if found is None:
        return Known(values={}, at=None, source=source, said="nothing is known of it")
    return Known(values=found.values, at=max(found.times.values()), source=source)


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
