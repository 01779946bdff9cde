"""The rows that a model grew up with, as a monitor remembers them: a bounded sample, and what each column looked like in all of them.

Stored as one Parquet file whose metadata holds the columns' traits. Knows no window and no threshold.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.drift import measured
from data.drift.measured import Trait
from data.errors import UserError
from data.schema import Column

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

ROWS = 5000
_WARM_UP = 0.2
_META = b"aiprime.drift"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """`table` holds a column per trait: float64, or the class as text (None: missing). `rows` of `all_rows` were sampled with `seed`."""

    table: pd.DataFrame
    traits: tuple[Trait, ...]
    all_rows: int
    seed: int

    @property
    def rows(self) -> int:
        return len(self.table)

    def write(self, path: Path) -> None:
        """One Parquet file, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        meta = {"traits": [asdict(trait) for trait in self.traits], "all_rows": self.all_rows, "seed": self.seed}
        table = pa.Table.from_pandas(self.table, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _META: json.dumps(meta).encode()})
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        pq.write_table(table, part)
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> Reference:
        """What `write` wrote; UserError where the file is something else."""
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        meta = (table.schema.metadata or {}).get(_META)
        if meta is None:
            raise UserError(
                "this Parquet file is no drift reference", where=str(path), next_step="make it again: it is derived"
            )
        found = json.loads(meta)
        known = tuple(Trait(**{**trait, "levels": tuple(trait["levels"])}) for trait in found["traits"])
        return cls(table=table.to_pandas(), traits=known, all_rows=found["all_rows"], seed=found["seed"])


def reference(
    frame: pd.DataFrame, columns: Sequence[Column], *, rows: int = ROWS, seed: int = 0, ordered: bool = True
) -> Reference:
    """At most `rows` random rows of `frame`, spread evenly and in its order, and the traits of all of them.

    In order of time (`ordered`), the first rows, in which a lag or mean had no past yet, are left out: they are no time like others.
    UserError where there are no rows or no column can be compared.
    """
    import pandas as pd

    if frame.empty:
        raise UserError("there are no rows to remember as the reference", next_step="train on data first")
    frame, known, drawn = remembered(frame, columns, rows=rows, seed=seed, ordered=ordered)
    sample = frame.iloc[drawn]
    return Reference(
        table=pd.DataFrame({trait.name: column(sample, trait) for trait in known}), traits=known, all_rows=len(frame), seed=seed
    )


def remembered(
    frame: pd.DataFrame, columns: Sequence[Column], *, rows: int, seed: int, ordered: bool
) -> tuple[pd.DataFrame, tuple[Trait, ...], np.ndarray]:
    """The rows that count, the traits of all of them, and which of them the reference holds.

    Distances are in units of the sample's spread, as Evidently takes them. UserError where no column can be compared.
    """
    known = measured.traits(frame, columns)
    if not known:
        raise UserError("no column can be compared: times are not", next_step="add a number, category, boolean or image")
    if ordered and len(later := settled(frame, known)) < len(frame):
        frame, known = later, measured.traits(later, columns)
    drawn = places(len(frame), rows, seed)
    sample = {trait.name: trait for trait in measured.traits(frame.iloc[drawn], columns)}
    return frame, tuple(measured.in_units_of(trait, sample[trait.name]) for trait in known), drawn


def places(rows: int, most: int, seed: int) -> np.ndarray:
    """Which rows a sample of at most `most` holds, ascending; the same for the same seed. One at random of each of `most` equal
    stretches: every season has its share."""
    import numpy as np

    if rows <= most:
        return np.arange(rows)
    edges = np.linspace(0, rows, most + 1).astype(np.int64)
    return edges[:-1] + (np.random.default_rng(seed).random(most) * np.diff(edges)).astype(np.int64)


def settled(frame: pd.DataFrame, traits: Sequence[Trait]) -> pd.DataFrame:
    """The rows from the first on at which every column has had a value; at most a fifth is left out."""
    import numpy as np

    begins = 0
    for trait in traits:
        known = np.flatnonzero(frame[trait.column].notna()) if trait.column in frame.columns else np.zeros(0)
        if len(known) and known[0] <= _WARM_UP * len(frame):
            begins = max(begins, int(known[0]))
    return frame.iloc[begins:]


def column(frame: pd.DataFrame, trait: Trait) -> np.ndarray:
    """A trait's column as it is stored and handed on: float64, or the shown class as text with None for missing."""
    import numpy as np

    if not trait.of_classes:
        return measured.numbers(frame, trait)
    labels = np.array([*measured.names(trait), None], dtype=object)
    return labels[measured.shown(measured.codes(frame, trait), trait)]  # -1 takes the last: missing


def classes(texts: np.ndarray, trait: Trait) -> np.ndarray:
    """The stored text of `column` as places in `measured.names`; -1 missing."""
    import numpy as np

    place = {name: i for i, name in enumerate(measured.names(trait))}
    return np.array([-1 if text is None else place[text] for text in texts], dtype=np.int64)
