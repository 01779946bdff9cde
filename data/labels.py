"""Truth that came back from serving joins the re-read rows. Pure: two tables in, one out; it knows no ledger."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.kinds import Misfit, convert
from data.schema import Column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from data.section import DataSection

ENTITY, WHEN, VALUE = "entity", "time", "value"


def read(path: Path, expected: str) -> pa.Table:
    """The labels: columns `entity` (null where there is none), `time` (UTC) and `value`. UserError for other bytes than the expected."""
    import pyarrow.parquet as pq

    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise UserError("the labels changed while the run was reading them", where=str(path), next_step="run again")
    return pq.read_table(io.BytesIO(content))


def join(df: pd.DataFrame, labels: pa.Table, data: DataSection) -> pd.DataFrame:
    """The typed rows `df` with the truth of `labels`, the last one where a time has several.

    Where a row is only entity, time and target (co2), a label is a whole row: rows of the source before `data.until`, then
    labels; a label wins over a row of the same time. Otherwise a label fills or replaces the target of the row it belongs to,
    and one without a row is left. A label that names no entity is of the only one there is. UserError where a value is not of the target's kind.
    """
    import pandas as pd

    if data.time is None or not labels.num_rows:
        return df
    keys = [data.entity, data.time] if data.entity else [data.time]
    kinds = {column.name: column for column in data.schema_columns}
    known = pd.DataFrame({data.time: _converted(labels[WHEN], kinds[data.time])})
    if data.entity:
        named = pd.Series(_converted(labels[ENTITY], kinds[data.entity]))
        entities = df[data.entity].unique()
        known[data.entity] = named.fillna(entities[0]) if len(entities) == 1 else named
    known[data.target] = _converted(labels[VALUE], kinds[data.target])
    known = known[known[[*keys, data.target]].notna().all(axis=1)].drop_duplicates(keys, keep="last")
    if set(data.columns) == {*keys, data.target}:
        if data.until is not None:
            df = df[df[data.time] < pd.Timestamp(data.until, tz="UTC")]
        joined = pd.concat([df, known[df.columns]]).drop_duplicates(keys, keep="last")
        return joined.sort_values(data.time, kind="stable", ignore_index=True)
    found = df[keys].merge(known, on=keys, how="left", validate="many_to_one")[data.target].to_numpy()
    theirs = pd.Series(found, index=df.index)
    joined = theirs.where(theirs.notna(), df[data.target])
    return df.assign(**{data.target: joined.astype(df[data.target].dtype) if df[data.target].notna().all() else joined})


def _converted(values: Any, column: Column) -> Any:
    try:
        return convert(values, column)
    except Misfit as error:
        raise UserError(
            f"labels of {column.name!r} {error}", where="the ledger's labels", next_step="correct them: POST /v1/labels"
        ) from error
