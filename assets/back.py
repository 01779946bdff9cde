"""The truth that came back: what the ledger joined to predictions, as the rows that a retrain learns from."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assets.spec import Spec
from data.files import write_atomically
from data.labels import ENTITY, VALUE, WHEN
from data.places import Places

if TYPE_CHECKING:
    import pyarrow as pa


def labels(spec: Spec, places: Places, until: datetime) -> pa.Table:
    """The truth that the ledger joined to predictions before `until`: entity, time (UTC) and value, sorted, one per entity and time."""
    import pandas as pd
    import pyarrow as pa

    from serving.records import Records

    end = until.timestamp()
    found = Records.at(places.home).outcomes(spec.name, since=None, until=None, roles=None, labelled=True).to_pandas()
    found = found[found["target_time"] < end].sort_values("sequence").drop_duplicates(["entity", "target_time"], keep="last")
    found = found.sort_values(["target_time", "entity"])
    times = pd.to_datetime((found["target_time"] * 1e6).round().astype("int64"), unit="us", utc=True)
    entity = found["entity"].map(lambda one: None if one is None else str(one))
    truth = found["truth"].astype(str if spec.task == "classification" else float)
    return pa.table({ENTITY: pa.array(entity, pa.string()), WHEN: pa.array(times), VALUE: pa.array(truth)})


def write(path: Path, table: pa.Table) -> None:
    """The labels as a file, whole; the same labels give the same bytes."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())
