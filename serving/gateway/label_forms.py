"""A body of labels as plain rows: one JSON object, a JSON batch, CSV, Parquet. Knows nothing of what a label must say."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import orjson

from serving.gateway.refusal import Refusal

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
_NEXT = 'send {"workload": ..., "labels": [{"prediction_id": ..., "value": ...}]}, or CSV or Parquet with ?workload='


def rows(body: bytes, content_type: str, workload: str | None) -> tuple[str, list[Any]]:
    """(workload, rows); Refusal 400 where the body is not what its type says or no workload is named."""
    if content_type in (CSV, PARQUET):
        found = list(_csv(body)) if content_type == CSV else _parquet(body)
        if not workload:
            raise Refusal(400, "an upload names its workload in the URL: POST /v1/labels?workload=NAME")
        return workload, found
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error}; {_NEXT}") from None
    if not isinstance(document, dict) or not isinstance(named := document.get("workload") or workload, str):
        raise Refusal(400, f"no workload is named; {_NEXT}")
    if "labels" not in document:
        return named, [{key: value for key, value in document.items() if key != "workload"}]
    if not isinstance(document["labels"], list):
        raise Refusal(400, f"labels is not a list; {_NEXT}")
    return named, document["labels"]


def _csv(body: bytes) -> Iterator[dict[str, Any]]:
    """Cells that are empty are not there."""
    try:
        reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        for row in reader:
            if None in row or None in row.values():
                raise Refusal(400, f"line {reader.line_num} has not as many cells as the header; quote cells that hold commas")
            yield {name: cell for name, cell in row.items() if cell != ""}
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refusal(400, f"the body is not CSV in UTF-8: {error}") from None


def _parquet(body: bytes) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(body))
    except (pa.ArrowException, OSError) as error:
        raise Refusal(400, f"the body is not Parquet: {str(error)[:200]}") from None
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
