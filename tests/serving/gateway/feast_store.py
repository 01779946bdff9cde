"""`python -m tests.serving.gateway.feast_store HOME`: two workloads' online stores written by Feast, and what Feast reads from them.

HOME/feast/{texts,numbers}/ get online.db and names.json as data/features.py writes them; Feast's own answers are printed as JSON.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

TIMES = [datetime(2026, 3, 8, 2, 30, 15, tzinfo=UTC), datetime(1958, 3, 29, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)]
ENTITIES: dict[str, list[Any]] = {"texts": ["mauna-loa", "größe ☃ '\" x", ""], "numbers": [0, -7, 2**62]}
VALUES = {
    "f0": ("Float64", [314.95, float("nan"), -1e300]),
    "f1": ("Int64", [1, -(2**63), 2**63 - 1]),
    "f2": ("Int32", [-1, 0, 2**31 - 1]),
    "f3": ("String", ["a", "", "ünïcode ☃"]),
    "f4": ("Bool", [True, False, True]),
    "f5": ("Float32", [0.5, -2.25, 1e30]),
    "f6": (
        "UnixTimestamp",
        [datetime(1969, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, 12, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)],
    ),
    "f7": ("Bytes", [b"\x00\xff", b"", b"x" * 300]),
}


def write(home: Path, workload: str) -> list[dict[str, Any]]:
    """Publish one workload's values with Feast; returns what `get_online_features` gives for each entity and for an unknown one."""
    import feast
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast import types as feast_types

    folder = home / "feast" / workload
    folder.mkdir(parents=True)
    entities = ENTITIES[workload]
    table = pd.DataFrame({"key": entities, "__time": TIMES} | {name: values for name, (_, values) in VALUES.items()})
    source_file = folder / "view.parquet"
    table.to_parquet(source_file)
    kind = ValueType.STRING if workload == "texts" else ValueType.INT64
    key = Entity(name="key", join_keys=["key"], value_type=kind)
    view = FeatureView(
        name="stored",
        entities=[key],
        ttl=timedelta(0),
        schema=[Field(name="key", dtype=feast_types.String if workload == "texts" else feast_types.Int64)]
        + [Field(name=name, dtype=getattr(feast_types, dtype)) for name, (dtype, _) in VALUES.items()],
        source=FileSource(path=str(source_file), timestamp_field="__time"),
    )
    store = FeatureStore(
        config=RepoConfig(
            project=workload,
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
        )
    )
    store.apply([key, view])
    store.write_to_online_store("stored", table)
    names = {
        "project": workload,
        "view": "stored",
        "join_key": "key",
        "entity_type": kind.name,
        "features": {name: f"column {name}" for name in VALUES},
    }
    (folder / "names.json").write_text(json.dumps(names))

    asked = [*entities, "unknown" if workload == "texts" else 99]
    given = store.get_online_features(
        features=[f"stored:{name}" for name in VALUES], entity_rows=[{"key": one} for one in asked]
    )
    times = [result.event_timestamps for result in given.proto.results]
    values = given.to_dict()
    _ = feast
    return [
        {
            "entity": entity,
            "at": times[-1][row].ToJsonString(),
            "values": {f"column {name}": shown(values[name][row]) for name in VALUES},
        }
        for row, entity in enumerate(asked)
    ]


def shown(value: Any) -> Any:
    """A value with its type, as JSON can carry it."""
    if isinstance(value, datetime):
        value = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return [type(value).__name__, value.isoformat() if isinstance(value, datetime) else repr(value)]


if __name__ == "__main__":
    print(json.dumps({workload: write(Path(sys.argv[1]), workload) for workload in ENTITIES}))
