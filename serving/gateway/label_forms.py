"""A body of labels as plain rows: one JSON object, a JSON batch, CSV, Parquet. Knows nothing of what a label must say.

A small body can state very many rows: they are counted before they are made, where the form allows it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from data import caps
from data.errors import UserError
from serving import strict_json
from serving.gateway.refusal import Refusal

MOST_ROWS = 500_000  # of one upload
_CAPS = caps.Caps(bytes=256 << 20, rows=MOST_ROWS, columns=64)
CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
_NEXT = 'send {"workload": ..., "labels": [{"prediction_id": ..., "value": ...}]}, or CSV or Parquet with ?workload='


def rows(body: bytes, content_type: str, workload: str | None) -> tuple[str, list[Any]]:
    """(workload, rows); Refusal 400 where the body is not what its type says or no workload is named."""
    if content_type in (CSV, PARQUET):
        found = list(_csv(body)) if content_type == CSV else _parquet(body)
        if not workload:
            raise Refusal(400, "an upload names its workload in the URL: POST /v1/labels?workload=NAME")
        return workload, found
    _refuse_many(body.count(b"{"))
    try:
        document = strict_json.parsed(body)
    except strict_json.NotStrict as error:
        raise Refusal(400, f"{error}; {_NEXT}") from None
    if not isinstance(document, dict) or not isinstance(named := document.get("workload") or workload, str):
        raise Refusal(400, f"no workload is named; {_NEXT}")
    if "labels" not in document:
        return named, [{key: value for key, value in document.items() if key != "workload"}]
    if not isinstance(document["labels"], list):
        raise Refusal(400, f"labels is not a list; {_NEXT}")
    _refuse_many(len(document["labels"]))
    return named, document["labels"]


def _csv(body: bytes) -> Iterator[dict[str, Any]]:
    """Cells that are empty are not there."""
    try:
        reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        caps.refuse_width(len(reader.fieldnames or ()), "the body", _CAPS)
        for number, row in enumerate(reader, 1):
            _refuse_many(number)
            if None in row or None in row.values():
                raise Refusal(400, f"line {reader.line_num} has not as many cells as the header; quote cells that hold commas")
            yield {name: cell for name, cell in row.items() if cell != ""}
    except UserError as error:
        raise Refusal(413, error.what) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refusal(400, f"the body is not CSV in UTF-8: {error}") from None


def _parquet(body: bytes) -> list[dict[str, Any]]:
    import pyarrow as pa

    try:
        table = caps.parquet(body, "the body", _CAPS)
    except UserError as error:
        raise Refusal(413, f"{error.what}; send fewer labels at a time") from None
    except (pa.ArrowException, OSError) as error:
        raise Refusal(400, f"the body is not Parquet: {str(error)[:200]}") from None
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


def _refuse_many(rows: int) -> None:
    if rows > MOST_ROWS + 1:  # in JSON the batch itself is an object
        raise Refusal(413, f"there are more than {MOST_ROWS:,} labels; send fewer at a time")
