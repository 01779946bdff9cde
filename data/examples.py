"""From the canonical table to examples: what was known, and the truth that belongs to it. Pure pandas, no feature store.

A series (horizons) gives one example per entity and time, with the past as inputs; any other table one example per row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data import series, split
from data.cutoff import Cutoff
from data.errors import UserError
from data.schema import ROW_ID, SPLIT, TARGET, TIME, Column, TableSchema, Task, baseline_column, target_column
from data.section import DataSection, FeaturesSection, seconds

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_ENTITIES_AS_INPUT = 1000  # more of them are ids, not something to learn by


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The examples, and the values by entity and time that a feature store is to keep (None where it keeps none)."""

    table: pd.DataFrame  # ROW_ID, SPLIT (data/split.py), TIME, entity, inputs, truth, baselines: data/schema.py
    stored: pd.DataFrame | None  # the entity, TIME, and the columns of `schema.stored`, for every row of the source
    schema: TableSchema


def make(df: pd.DataFrame, task: Task, data: DataSection, features: FeaturesSection, cutoff: Cutoff | None = None) -> Examples:
    """The examples of a canonical table; `cutoff` is the one that the table was made with, and decides what judges in the place of
    `data.holdout`. UserError where no row has a truth, or too few are left for training."""
    of = _of_series if features.horizons else _of_rows
    found = of(df, task, data, features, cutoff)
    counts = found.table[SPLIT].value_counts()
    for side in (split.TRAIN, split.HOLDOUT):
        if counts.get(side, 0) < 2:
            raise UserError(
                f"{counts.get(side, 0)} rows are left for {'training' if side == split.TRAIN else 'the holdout'}",
                where="data.holdout, features.horizons" if cutoff is None else f"the cutoff {cutoff.plain()}",
                next_step="bring more rows, shorten the horizons, or change data.holdout"
                if cutoff is None
                else "a wider window judges on more rows and leaves fewer to learn from; it must span the horizons",
            )
    return found


def sides(
    table: pd.DataFrame, time: pd.Series | None, data: DataSection, cutoff: Cutoff | None, reaches: tuple[int, ...] = (0,)
) -> np.ndarray:
    """Which side each row of a canonical table is on; its truth lies `reaches` seconds after it."""
    delay = seconds(data.label_delay)
    if cutoff is None:
        return (
            split.by_content(table, data.holdout) if time is None else split.by_time(time, data.holdout, max(reaches) + delay)
        )
    if time is None:
        return split.by_order(table, cutoff.window_rows or round(data.holdout * len(table)))
    begins = cutoff.begins or time.nlargest(cutoff.window_rows or 0).iloc[-1].to_pydatetime()
    return split.by_window(time, begins, cutoff.until, reaches, delay, cutoff.frozen)


def sides_of(df: pd.DataFrame, data: DataSection, features: FeaturesSection, cutoff: Cutoff | None) -> np.ndarray:
    """Which side each row of a canonical table will be on as an example."""
    step = seconds(data.step) if data.step else 0
    reaches = tuple(horizon * step for horizon in features.horizons) or (0,)
    return sides(df, df[data.time] if data.time else None, data, cutoff, reaches)


def _of_rows(df: pd.DataFrame, task: Task, data: DataSection, features: FeaturesSection, cutoff: Cutoff | None) -> Examples:
    import numpy as np

    columns = {column.name: column for column in data.schema_columns}
    left_out = {data.target, *data.ignore, data.entity}
    inputs = tuple(column for name, column in columns.items() if name not in left_out)
    table = df[[column.name for column in inputs]].copy()
    if data.entity:
        table[data.entity] = df[data.entity]
    table[TARGET] = (
        _labels(df[data.target], columns[data.target]) if task == "classification" else df[data.target].astype(float)
    )
    if data.time:
        table[TIME] = df[data.time]
    table[SPLIT] = sides(df, df[data.time] if data.time else None, data, cutoff)
    table = table[table[TARGET].notna() & (table[SPLIT] != split.NEITHER)].reset_index(drop=True)
    table[ROW_ID] = np.arange(len(table))
    stored = None
    kept: tuple[str, ...] = ()
    if data.entity:
        kept = tuple(column.name for column in inputs if column.name not in {*features.known, data.time})
        stored = df[[data.entity, *kept]].copy()
        stored[TIME] = df[data.time] if data.time else _always(df, data.entity)
        if not data.time:
            table[TIME] = stored[TIME].iloc[0]
    return Examples(table=table, stored=stored, schema=_schema(table, task, data, features, inputs, stored=kept))


def _always(df: pd.DataFrame, entity: str) -> Any:
    """Without a time column each entity has one row, which always held."""
    import pandas as pd

    if df[entity].duplicated().any():
        raise UserError(
            f"{entity!r} repeats, and no time column says which row is newer",
            where="data.entity",
            next_step="name data.time, or take data.entity out",
        )
    return pd.Timestamp("2000-01-01", tz="UTC").as_unit("us")


def _of_series(df: pd.DataFrame, task: Task, data: DataSection, features: FeaturesSection, cutoff: Cutoff | None) -> Examples:
    import numpy as np
    import pandas as pd

    columns = {column.name: column for column in data.schema_columns}
    step, time, entity, target = seconds(data.step or ""), data.time or "", data.entity, data.target
    df = df.sort_values([entity, time] if entity else [time], ignore_index=True)
    numeric = task != "classification"
    plan = series.target_plan(target, features.horizons, step, features.season, numeric=numeric)
    for name in features.history:
        plan += series.history_plan(
            name, features.horizons, step, features.season, numeric=columns[name].kind in {"number", "integer", "boolean"}
        )
    plan = tuple(dict.fromkeys(plan))
    reach = max([max(feature.steps) for feature in plan] + list(features.horizons)) * 2
    line = series.Timeline.of(df[entity] if entity else None, df[time], step, reach)
    values = {name: _values(df[name], columns[name], text=name == target and not numeric) for name in {f.column for f in plan}}
    past = pd.DataFrame(series.compute(line, values, plan))
    past[TIME] = df[time]
    if entity:
        past[entity] = df[entity]

    truth = values[target]
    extra: dict[str, np.ndarray] = {}
    for horizon in features.horizons:
        extra[target_column(horizon)] = line.pick(truth, horizon)
        for kind, naive in series.baselines(line, truth, horizon, features.season).items():
            extra[baseline_column(kind, horizon)] = naive
    known: list[Column] = []
    for name in features.known:
        for horizon in features.horizons:
            column = columns[name].model_copy(update={"name": name if len(features.horizons) == 1 else f"{name}_h{horizon}"})
            extra[column.name] = line.pick(_values(df[name], column), horizon)
            known.append(column)
    table = pd.concat([past, pd.DataFrame(extra)], axis=1)
    table[time] = table[TIME]
    targets = [target_column(horizon) for horizon in features.horizons]
    table[SPLIT] = sides(df, table[TIME], data, cutoff, tuple(horizon * step for horizon in features.horizons))
    complete = table[targets].notna().all(axis=1)
    table = table[complete & (table[SPLIT] != split.NEITHER)].reset_index(drop=True)
    for column in known:
        table[column.name] = _typed(table[column.name], column)
    table[ROW_ID] = np.arange(len(table))

    inputs = [Column(name=time, kind="time")]
    if entity and 1 < df[entity].nunique() <= _ENTITIES_AS_INPUT:
        inputs.append(Column(name=entity, kind=columns[entity].kind))
    inputs += [
        Column(name=f.name, kind="category" if values[f.column].dtype == object else "number", nullable=True) for f in plan
    ]
    stored = past[[*([entity] if entity else []), TIME, *(f.name for f in plan)]]
    schema = _schema(table, task, data, features, (*inputs, *known), stored=tuple(f.name for f in plan), known=known, step=step)
    return Examples(table=table, stored=stored, schema=schema)


def _schema(
    table: pd.DataFrame,
    task: Task,
    data: DataSection,
    features: FeaturesSection,
    inputs: tuple[Column, ...],
    *,
    stored: tuple[str, ...],
    known: list[Column] | None = None,
    step: int | None = None,
) -> TableSchema:
    targets = tuple(target_column(h) for h in features.horizons) or (TARGET,)
    return TableSchema(
        task=task,
        target=data.target,
        inputs=inputs,
        targets=targets,
        stored=stored,
        known=tuple(column.name for column in known or ()),
        entity=data.entity,
        time=data.time,
        horizons=features.horizons,
        step_seconds=step,
        season=features.season,
        ttl_seconds=seconds(features.ttl) if features.ttl else None,
        on_stale=features.on_stale,
        level_free=features.level_free,
        classes=_classes(table[targets[0]]) if task == "classification" else (),
    )


def _classes(labels: pd.Series) -> tuple[str, ...]:
    found = labels.dropna().unique().tolist()
    return tuple(sorted(found, key=lambda label: (0, float(label), label) if label.lstrip("-").isdigit() else (1, 0.0, label)))


def _labels(values: pd.Series, column: Column) -> pd.Series:
    """Class labels as text: whole numbers without a point, booleans in lower case."""
    known = values.notna()
    if column.kind in {"integer", "boolean"}:
        text = (
            values[known].astype("int64").astype(str)
            if column.kind == "integer"
            else values[known].astype(bool).map({True: "true", False: "false"})
        )
    else:
        text = values[known].astype(str)
    labels = text.reindex(values.index).astype(object)
    return labels.where(known, None)  # pyright: ignore[reportArgumentType]  (None is a value here)


def _values(values: pd.Series, column: Column, *, text: bool = False) -> np.ndarray:
    """float64 (missing NaN), or object (text, missing None): what data/series.py computes with."""
    import pandas as pd

    if text or column.kind == "category":
        labels = _labels(values, column) if text else values.astype(object)
        found = labels.to_numpy(object, copy=True)
        found[(labels.isna() | (labels == "")).to_numpy()] = None
        return found
    if column.kind == "time":
        raise UserError(
            f"{column.name!r} is a time: it cannot be a feature of a series", where="features.known, features.history"
        )
    return pd.to_numeric(values, errors="coerce").to_numpy("float64", na_value=float("nan"))


def _typed(values: pd.Series, column: Column) -> pd.Series:
    """A picked column back in its own kind; missing values stay where the column allows them."""
    if column.kind == "category" or column.nullable:
        return values
    kind: Any = {"integer": "int64", "boolean": "bool"}.get(column.kind, "float64")
    return values.astype(kind)
