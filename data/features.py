"""Feast's door: the table of examples through a point-in-time join, and the online store that completes requests.

Every workload has a Feast project of its own below HOME/feast, so workloads do not race for one registry. Feast's names are ours
(`f_` and a digest); names.json maps them to the columns' names, for the gateway's reader. Without an entity Feast is not imported.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from hashlib import md5
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data import examples
from data.cutoff import Cutoff
from data.errors import UserError
from data.files import sha256, write_atomically, write_json
from data.imports import without_type_checks
from data.schema import ROW_ID, TIME, Column, TableSchema, Task
from data.section import DataSection, FeaturesSection

if TYPE_CHECKING:
    import pandas as pd

VIEW = "features"
JOIN_KEY = "entity"
_EVENT = "event_timestamp"
_UTC = "datetime64[us, UTC]"
_TABLE, _SCHEMA, _VIEW_FILE = "table.parquet", "schema.json", "view.parquet"


def build(
    workload: str,
    df: pd.DataFrame,
    task: Task,
    data: DataSection,
    features: FeaturesSection,
    folder: Path,
    home: Path,
    cutoff: Cutoff | None = None,
) -> TableSchema:
    """Write table.parquet and schema.json into `folder`, and with an entity or a series view.parquet: what the online store keeps.

    With an entity the stored inputs of each example come out of Feast's point-in-time join, so that training sees what serving will.
    UserError where there are too few rows; RuntimeError where the join lost or invented a row.
    """
    made = examples.make(df, task, data, features, cutoff)
    folder.mkdir(parents=True, exist_ok=True)
    table = made.table
    if made.stored is not None:
        made.stored.to_parquet(folder / _VIEW_FILE, index=False)
    if made.schema.entity and made.stored is not None:
        table = _joined(workload, table, made.schema, folder, home)
    table.to_parquet(folder / _TABLE, index=False)
    write_atomically(folder / _SCHEMA, made.schema.model_dump_json(indent=2) + "\n")
    return made.schema


def publish(workload: str, folder: Path, home: Path) -> bool:
    """Bring what completes requests to the newest rows of view.parquet; False where it was there already.

    With an entity that is Feast's online store, else HOME/features/WORKLOAD/latest.json; a table without either has nothing to publish.
    """
    view = folder / _VIEW_FILE
    if not view.is_file():
        return False
    schema = TableSchema.model_validate_json((folder / _SCHEMA).read_text())
    mark = home / "features" / workload / "published.json"
    stamp = {"view": sha256(view), "schema": sha256(folder / _SCHEMA)}
    if mark.is_file() and json.loads(mark.read_text()) == stamp:
        return False
    import pandas as pd

    rows = pd.read_parquet(view)
    if schema.entity:
        newest = rows.sort_values(TIME).drop_duplicates(schema.entity, keep="last")
        with _feast(workload, schema, folder, home) as store:
            store.write_to_online_store(VIEW, _for_feast(newest, schema))
            _write_names(workload, schema, folder, home)
    else:
        latest = rows.sort_values(TIME).iloc[-1]
        values = {name: _plain(latest[name]) for name in schema.stored}
        file = home / "features" / workload / "latest.json"
        older = (
            json.loads(file.read_bytes())["values"] if file.is_file() else {}
        )  # what the champion reads until it is replaced
        write_json(file, {"time": latest[TIME].isoformat(), "values": older | values})
    write_json(mark, stamp)
    return True


def online(workload: str, folder: Path, home: Path, entities: list[Any]) -> list[dict[str, Any]]:
    """What Feast itself answers for these entities, by column name: what the gateway's own reader is held to."""
    schema = TableSchema.model_validate_json((folder / _SCHEMA).read_text())
    names = _feast_names(schema)
    with _feast(workload, schema, folder, home) as store:
        rows = [{JOIN_KEY: entity} for entity in entities]
        found = store.get_online_features([f"{VIEW}:{name}" for name in names], rows).to_dict()
    return [{column: found[name][i] for name, column in names.items()} for i in range(len(entities))]


def _joined(workload: str, table: pd.DataFrame, schema: TableSchema, folder: Path, home: Path) -> pd.DataFrame:
    """The examples with their stored inputs as Feast joins them: at or before each example's time, never after."""
    names = _feast_names(schema)
    entity_rows = table[[ROW_ID, schema.entity, TIME]].rename(columns={schema.entity: JOIN_KEY, TIME: _EVENT})
    with _feast(workload, schema, folder, home) as store, _asof_join():
        found = store.get_historical_features(entity_rows, [f"{VIEW}:{name}" for name in names]).to_df()
    if len(found) != len(table) or found[ROW_ID].nunique() != len(table):
        raise RuntimeError(
            f"Feast joined {len(table)} examples to {len(found)} rows, {found[ROW_ID].nunique()} of them different"
        )
    found = found.set_index(ROW_ID).loc[table[ROW_ID], list(names)].rename(columns=names)
    kinds = {column.name: column for column in schema.inputs}
    joined = {name: _from_feast(found[name], kinds[name]).to_numpy() for name in schema.stored}
    return table.assign(**joined)


@contextmanager
def _asof_join() -> Iterator[None]:
    """Feast's duckdb store joins by `<=` and then throws all but the newest row away: quadratic in the rows of one entity (7 minutes
    for 17,000 rows). The same join by sorting, for as long as the block lasts; a test holds it equal to Feast's own.

    (ibis' own `asof_join` took a quarter of that time, and grew as fast.)
    """
    import ibis
    import pandas as pd
    from feast.infra.offline_stores import ibis as store

    original = store.point_in_time_join

    def joined(entity_table: Any, feature_tables: Any, event_timestamp_col: str = _EVENT, *_: Any, **__: Any) -> Any:
        left = entity_table.to_pandas()
        columns = [name for name in left.columns if name != "entity_row_id"]
        for table, timestamp, _created, keys, references, ttl in feature_tables:
            if ttl:
                raise ValueError("a view with a time to live: the gateway checks ages, the join does not")
            right = table.select(*keys, timestamp, *references).to_pandas().rename(columns={**keys, timestamp: "_at"})
            left[event_timestamp_col], right["_at"] = left[event_timestamp_col].astype(_UTC), right["_at"].astype(_UTC)
            left = pd.merge_asof(
                left.sort_values(event_timestamp_col, kind="stable"),
                right.sort_values("_at", kind="stable"),
                left_on=event_timestamp_col,
                right_on="_at",
                by=list(keys.values()),
            )
            columns += references
        return ibis.memtable(left[columns])

    store.point_in_time_join = joined
    try:
        yield
    finally:
        store.point_in_time_join = original


def _feast_names(schema: TableSchema) -> dict[str, str]:
    """Feast's name of each stored input, and ours. It follows from the column alone: a candidate with other columns renames none."""
    return {f"f_{md5(name.encode(), usedforsecurity=False).hexdigest()[:16]}": name for name in schema.stored}


def _for_feast(rows: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    names = {column: name for name, column in _feast_names(schema).items()}
    kept = rows[[schema.entity, TIME, *names]].rename(columns={schema.entity: JOIN_KEY, TIME: _EVENT, **names})
    return kept.reset_index(drop=True)


def _from_feast(values: pd.Series, column: Column) -> pd.Series:
    if column.kind == "category":
        return values.astype(object).where(values.notna(), None)  # pyright: ignore[reportArgumentType]  (None is a value here)
    if column.kind == "time" or (column.nullable and column.kind != "number"):
        return values
    kind: Any = {"integer": "int64", "boolean": "bool"}.get(column.kind, "float64")
    return values.astype(kind)


@contextmanager
def _feast(workload: str, schema: TableSchema, folder: Path, home: Path) -> Iterator[Any]:
    """A FeatureStore of the workload, its view applied; Feast's prints and its changes of the environment are undone.

    Its registry is made anew each time, for Feast runs the code of functions that it finds in one (dill, and source text).
    """
    before = {name: os.environ.get(name) for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")}
    os.environ.setdefault("FEAST_USAGE", "False")
    import prometheus_client  # noqa: F401  (before feast: it then keeps its metrics in this process's memory)

    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        with without_type_checks():
            import feast
            from feast.data_format import ParquetFormat
            from feast.repo_config import RegistryConfig, RepoConfig

        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        place = home / "feast" / workload
        place.mkdir(parents=True, exist_ok=True)
        (place / "registry.db").unlink(missing_ok=True)
        config = RepoConfig(
            project=workload,
            provider="local",
            registry=RegistryConfig(path=str(place / "registry.db"), cache_ttl_seconds=0),
            offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": str(place / "online.db")},
            entity_key_serialization_version=3,
        )
        store = feast.FeatureStore(config=config, repo_path=None)
        kinds = {column.name: column for column in schema.inputs}
        key_type = _key_type(folder, schema)
        entity = feast.Entity(name=JOIN_KEY, join_keys=[JOIN_KEY], value_type=key_type)
        source = feast.FileSource(
            name="view", path=str(_source(folder, schema, place)), timestamp_field=_EVENT, file_format=ParquetFormat()
        )
        view = feast.FeatureView(
            name=VIEW,
            entities=[entity],
            schema=[feast.Field(name=name, dtype=_dtype(kinds[column])) for name, column in _feast_names(schema).items()],
            source=source,
            ttl=None,
            online=True,
        )
        store.apply([entity, view])
        yield store


def _write_names(workload: str, schema: TableSchema, folder: Path, home: Path) -> None:
    """names.json: what the gateway's reader needs. Columns that only the champion still reads keep their names, and in the store
    their last values, until it is replaced."""
    names = {"project": workload, "view": VIEW, "join_key": JOIN_KEY, "entity_type": _key_type(folder, schema).name}
    file = home / "feast" / workload / "names.json"
    older = json.loads(file.read_bytes())["features"] if file.is_file() else {}
    write_json(file, names | {"features": older | _feast_names(schema)})


def _source(folder: Path, schema: TableSchema, place: Path) -> Path:
    """view.parquet under Feast's names, written once per view."""
    import pyarrow.parquet as pq

    file, mark = place / "source.parquet", place / "source.sha256"
    digest = sha256(folder / _VIEW_FILE)
    if not (file.is_file() and mark.is_file() and mark.read_text() == digest):
        names = {column: name for name, column in _feast_names(schema).items()} | {schema.entity: JOIN_KEY, TIME: _EVENT}
        table = pq.read_table(folder / _VIEW_FILE)
        pq.write_table(table.rename_columns([names[name] for name in table.column_names]), file)
        write_atomically(mark, digest)
    return file


def _key_type(folder: Path, schema: TableSchema) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from feast import ValueType

    kind = pq.read_schema(folder / _VIEW_FILE).field(schema.entity).type
    if pa.types.is_integer(kind):
        return ValueType.INT64
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ValueType.STRING
    raise UserError(
        f"the entity {schema.entity!r} holds {kind}", where="data.entity", next_step="make it a category or an integer"
    )


def _dtype(column: Column) -> Any:
    from feast.types import Bool, Float64, Int64, String, UnixTimestamp

    if column.kind == "image":
        raise UserError(f"{column.name!r} is an image: a feature store keeps none", next_step="take data.entity out")
    if column.kind in {"integer", "boolean"} and column.nullable:
        return Float64
    return {"number": Float64, "integer": Int64, "boolean": Bool, "category": String, "time": UnixTimestamp}[column.kind]


def _plain(value: Any) -> Any:
    """A cell as JSON: missing is None."""
    if value is None or value != value:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.item() if hasattr(value, "item") else value
