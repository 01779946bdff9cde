"""What the rows are that a version was made from: how many, of when, what each column holds. Read from Parquet's own statistics."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from assets.spec import Spec
from data import versions
from data.places import Places
from data.schema import SPLIT, TIME, Column, TableSchema

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_LISTED = 12  # values of a category that are named; of more, how many there are
_NAMES = {"": "neither"}


@dataclass(frozen=True, kw_only=True)
class Values:
    """One column: what it was declared as, and what was found. Both ends are None where it holds no number and no time."""

    name: str
    kind: str
    low: str | None = None
    high: str | None = None
    missing: int = 0
    values: tuple[str, ...] = ()
    distinct: int | None = None

    @property
    def said(self) -> str:
        """What it holds, in a few words."""
        parts = [f"{self.low} to {self.high}"] if self.low is not None else []
        if self.distinct is not None:
            parts.append(", ".join(self.values) if self.values else f"{self.distinct} values")
        return "; ".join([*parts, *([f"{self.missing} missing"] if self.missing else [])]) or "nothing missing"


@dataclass(frozen=True, kw_only=True)
class Part:
    """The rows of one side of the split: train, holdout, frozen or neither."""

    name: str
    rows: int
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The dataset and what was made of it. `md5` are DVC's hashes by path; `sources` has name, bytes and sha256 of each file."""

    dataset_md5: str
    features_md5: str
    rows: int
    columns: tuple[Values, ...]
    parts: tuple[Part, ...]
    source: str
    sources: tuple[dict[str, Any], ...]
    sources_sha256: str

    def column(self, name: str | None) -> Values | None:
        """The column of that name."""
        return next((one for one in self.columns if one.name == name), None)

    def part(self, name: str) -> Part | None:
        """The rows of that side."""
        return next((one for one in self.parts if one.name == name), None)


def rows(spec: Spec, places: Places) -> Rows:
    """The rows of the model in the workload's store."""
    import pyarrow.parquet as pq

    store, hashes = places.store(spec.name), versions.locked(places.root, spec.name)
    told = json.loads((store / "source.json").read_bytes())
    with pq.ParquetFile(store / "dataset.parquet") as file:
        hidden = {spec.data.entity} - set(spec.data.constants)  # an entity may be a person: how many, and not who
        columns = tuple(_values(file, column, hidden=column.name in hidden) for column in spec.data.schema_columns)
        count = file.metadata.num_rows
    return Rows(
        dataset_md5=hashes.get("dataset", ""),
        features_md5=hashes.get("features", ""),
        rows=count,
        columns=columns,
        parts=_parts(spec, places),
        source=told["source"],
        sources=tuple(told["files"]),
        sources_sha256=told["sha256"],
    )


def schema(spec: Spec, places: Places) -> TableSchema:
    """What the features table holds."""
    return TableSchema.model_validate_json((places.store(spec.name) / "features" / "schema.json").read_bytes())


def _values(file: pq.ParquetFile, column: Column, *, hidden: bool) -> Values:
    import pyarrow as pa
    import pyarrow.compute as pc

    name, whole = column.name, file.metadata
    places = [i for i in range(whole.num_columns) if whole.schema.column(i).path.split(".")[0] == name]
    parts = [whole.row_group(group).column(i).statistics for group in range(whole.num_row_groups) for i in places[:1]]
    kept = [one for one in parts if one is not None]
    about = {"name": name, "kind": str(column), "missing": sum(one.null_count or 0 for one in kept)}
    if column.kind == "category":
        found = sorted(str(value) for value in pc.unique(file.read(columns=[name])[name]).to_pylist() if value is not None)  # pyright: ignore[reportAttributeAccessIssue]  (made at run time)
        return Values(**about, distinct=len(found), values=tuple(found) if len(found) <= _LISTED and not hidden else ())
    ends = [one for one in kept if one.has_min_max and not hidden]
    if column.kind == "image" or not ends or pa.types.is_nested(file.schema_arrow.field(name).type):
        return Values(**about)
    return Values(**about, low=said(min(one.min for one in ends)), high=said(max(one.max for one in ends)))


def _parts(spec: Spec, places: Places) -> tuple[Part, ...]:
    """Each side of the split with its first and last time."""
    import pandas as pd
    import pyarrow.parquet as pq

    file = places.store(spec.name) / "features" / "table.parquet"
    timed = spec.data.time is not None and TIME in pq.read_schema(file).names  # an entity without a time is given one
    table = pd.read_parquet(file, columns=[SPLIT, *([TIME] if timed else [])])
    found = []
    for name, side in table.groupby(SPLIT, sort=True):
        ends = (said(side[TIME].min()), said(side[TIME].max())) if timed else (None, None)
        found.append(Part(name=_NAMES.get(str(name), str(name)), rows=len(side), start=ends[0], end=ends[1]))
    return tuple(sorted(found, key=lambda one: (one.name == "neither", one.name != "train", one.name)))


def said(value: Any) -> str:
    """A cell for a person: a time without what is zero in it, a number with the figures that say something."""
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat(" ", "seconds")
        return text.removesuffix(" 00:00:00").removesuffix(":00")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value + 0.0:.6g}" if math.isfinite(value) else "not a number"  # Parquet's least zero is -0.0
    return str(value)
