"""The truth that came back: what the ledger joined to predictions, as the rows that a retrain learns from."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from assets.spec import Spec
from data.files import write_atomically
from data.labels import ENTITY, VALUE, WHEN
from data.places import Places

if TYPE_CHECKING:
    import pyarrow as pa


def labels(spec: Spec, places: Places, until: datetime) -> pa.Table:
    """The truth that the ledger knows of times before `until`: entity, time (UTC) and value, sorted, one per entity and time.

    Labels by time count whether a prediction was made of them or not; labels by id through the prediction that they are about.
    """
    import pandas as pd
    import pyarrow as pa

    from serving.records import Records

    records, end = Records.at(places.home), math.ceil(until.timestamp())
    joined = records.outcomes(spec.name, since=None, until=end, roles=None, labelled=True).to_pandas()
    joined = joined.sort_values("sequence")[["entity", "target_time", "truth"]].rename(columns={"target_time": "time"})
    told = records.truths(spec.name, until=end).to_pandas()
    told["truth"] = told["name"] if spec.task == "classification" else told["number"]
    found = pd.concat([part for part in (joined, told[["entity", "time", "truth"]]) if len(part)] or [joined])
    found = found.drop_duplicates(["entity", "time"], keep="last").sort_values(["time", "entity"])
    times = pd.to_datetime(found["time"].astype("int64"), unit="s", utc=True).dt.as_unit("us")
    entity = found["entity"].map(lambda one: None if one is None else str(one))
    truth = found["truth"].astype(str if spec.task == "classification" else float)
    return pa.table({ENTITY: pa.array(entity, pa.string()), WHEN: pa.array(times), VALUE: pa.array(truth)})


def known_until(spec: Spec, places: Places) -> datetime | None:
    """Just after the newest truth that `labels` can give; None where none came back."""
    import pyarrow.compute as pc

    newest = pc.max(labels(spec, places, datetime.max.replace(tzinfo=UTC))[WHEN]).as_py()  # pyright: ignore[reportAttributeAccessIssue]  (made at run time)
    return None if newest is None else newest + timedelta(seconds=1)


def write(path: Path, table: pa.Table) -> None:
    """The labels as a file, whole; the same labels give the same bytes."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())
