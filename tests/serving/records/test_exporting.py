"""Export: the records as Parquet, complete enough to check a digest elsewhere."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pyarrow.parquet as pq

from serving.records import Label, Records, by_id, by_time
from tests.serving.records.samples import FORECAST, WEEK, answered, prediction


def test_an_export_holds_everything_of_a_workload(records: Records, tmp_path: Path) -> None:
    """Predictions as they were sent, labels as they were told, outcomes as they were joined; others' are left out."""
    one, gone = answered(FORECAST, [0], [[1, 2]], entities=("a",)), answered(FORECAST, [0], [[3, 4]])
    records.append([one, prediction("other"), gone])
    records.label(
        [Label(workload="co2", about=by_id(one.id, 0, 4), value=5), Label(workload="co2", about=by_time(WEEK), value="x")]
    )
    records.absorb(FORECAST)
    records.erase("co2", ids=[gone.id])
    paths = records.export("co2", tmp_path / "out")
    assert [path.name for path in paths] == ["predictions.parquet", "labels.parquet", "outcomes.parquet"]
    predictions, labels, outcomes = (pq.read_table(path).to_pylist() for path in paths)
    assert [(row["sequence"], row["id"], row["request"], row["entities"]) for row in predictions] == [
        (1, one.id, one.request, '["a"]'),
        (3, gone.id, None, None),
    ]
    assert [(row["about"], row["value"], row["number"]) for row in labels] == [
        (by_id(one.id, 0, 4), "5", 5.0),
        (by_time(WEEK), "x", None),
    ]
    assert [(row["sequence"], row["horizon"], row["truth"]) for row in outcomes] == [(1, 4, 5.0), (1, 52, None)]


def test_a_digest_can_be_checked_from_an_export_alone(records: Records, tmp_path: Path) -> None:
    """SHA-256 of the salt, four lengths, form, entities, request and answer is what the chain holds."""
    records.append([answered(FORECAST, [0], [[1, 2]], "v2/N", entities=("ü", 3))])
    (row,) = pq.read_table(records.export("co2", tmp_path)[0]).to_pylist()
    parts = [row["form"].encode(), row["entities"].encode(), row["request"], row["answer"]]
    content = struct.pack("<4I", *map(len, parts)) + b"".join(parts)
    assert hashlib.sha256(row["salt"] + content).digest() == row["digest"]


def test_an_empty_workload_exports_empty_files(records: Records, tmp_path: Path) -> None:
    """No records are files without rows, with their columns."""
    assert [pq.read_table(path).num_rows for path in records.export("co2", tmp_path)] == [0, 0, 0]
