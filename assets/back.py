"""The truth that came back: what the ledger joined to predictions, as the rows that a retrain learns from."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assets.spec import Spec
from data.errors import UserError
from data.files import write_atomically
from data.labels import ENTITY, VALUE, WHEN
from data.places import Places

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.records import Records

_TOLD, _OWN = 20, 0.5  # labels that can be judged at the least, and the share of them that may be equal to the prediction
_LOOKED = 20_000  # of the newest labelled quantities, at the most


def labels(spec: Spec, places: Places, until: datetime) -> pa.Table:
    """The truth that the ledger knows of times before `until`: entity, time (UTC) and value, sorted, one per entity and time,
    however many predictions were made of it.

    Labels by time count whether a prediction was made of them or not; labels by id through the prediction that they are about.
    UserError where they are the model's own answers: a model that learns from what it said is taught by nobody.
    """
    import pandas as pd
    import pyarrow as pa

    from serving.records import Records

    records, end = Records.at(places.home), math.ceil(until.timestamp())
    _refuse_own(spec, records, end)
    joined, told = (table.to_pandas() for table in (records.joined(spec.name, until=end), records.truths(spec.name, until=end)))
    found = pd.concat([part for part in (joined, told) if len(part)] or [joined])
    found = found.drop_duplicates(["entity", "time"], keep="last").sort_values(["time", "entity"])
    times = pd.to_datetime(found["time"].astype("int64"), unit="s", utc=True).dt.as_unit("us")
    entity = found["entity"].map(lambda one: None if one is None else str(one))
    truth = found["name"].astype(str) if spec.task == "classification" else found["number"].astype(float)
    return pa.table({ENTITY: pa.array(entity, pa.string()), WHEN: pa.array(times), VALUE: pa.array(truth)})


def _refuse_own(spec: Spec, records: Records, until: int | None) -> None:
    """No measurement is a forecast to its last digit, time after time. (Of classes a good model's answers are the truth: nothing to see.)

    The newest are looked at: years of honest labels do not make up for the lately told.
    """
    if spec.task == "classification":
        return
    table = records.outcomes(spec.name, since=None, until=until, roles=None, labelled=True, most=_LOOKED)
    joined = table.to_pandas()
    if "prediction" not in joined:
        return
    digits = joined[joined["prediction"] != joined["prediction"].round(3)]
    same = digits["prediction"] == digits["truth"]
    if len(digits) >= _TOLD and same.mean() > _OWN:
        raise UserError(
            f"{int(same.sum()):,} of {len(digits):,} labels are what was predicted, to the last digit: they are no truth",
            where=f"the labels of {spec.name}",
            next_step="send what was measured (a label again corrects it), or set retrain.labels: false",
        )


def known_until(spec: Spec, places: Places) -> datetime | None:
    """Just after the newest truth that `labels` can give; None where none came back."""
    from serving.records import Records

    records = Records.at(places.home)
    _refuse_own(spec, records, None)
    known = [one for one in (records.labelled_until(spec.name), records.told_until(spec.name)) if one is not None]
    return datetime.fromtimestamp(max(known) + 1, UTC) if known else None


def write(path: Path, table: pa.Table) -> None:
    """The labels as a file, whole; the same labels give the same bytes."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())
