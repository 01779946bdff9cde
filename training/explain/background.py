"""The usual inputs that an answer is compared with: a sample of the rows that a version was trained on, kept beside the version.

One Parquet file of the input columns, and the entity's where the table has one, so that a person who is forgotten can be found here too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import UserError
from data.schema import SPLIT
from data.split import TRAIN
from training.signature import Signature

if TYPE_CHECKING:
    import pandas as pd

NAME = "background.parquet"
ROWS = 100  # the usual answer is their mean: twice as many move it by little and cost twice the time
_LARGEST = 64 << 20  # bytes of a file that is read


def sample(table: pd.DataFrame, signature: Signature, rows: int = ROWS) -> pd.DataFrame:
    """At most `rows` train rows of a table of examples (all rows where it states no side), drawn at random, the same ones each time."""
    kept = table[table[SPLIT] == TRAIN] if SPLIT in table.columns else table
    names = [column.name for column in signature.inputs]
    if signature.entity is not None and signature.entity in table.columns and signature.entity not in names:
        names.append(signature.entity)
    return kept[names].sample(min(rows, len(kept)), random_state=0).reset_index(drop=True)


def read(file: Path, signature: Signature) -> pd.DataFrame:
    """The sample; UserError where there is none, or where it is none of this model."""
    import pandas as pd

    step = f"aiprime run {signature.workload} makes it anew for the version whose data is there"
    if not file.is_file():
        raise UserError("no usual inputs were kept with this version to compare with", where=str(file), next_step=step)
    if file.stat().st_size > _LARGEST:
        raise UserError(f"the usual inputs are larger than {_LARGEST >> 20} MB", where=str(file), next_step=step)
    found = pd.read_parquet(file)
    missing = [column.name for column in signature.inputs if column.name not in found.columns]
    if missing or found.empty:
        raise UserError(f"the usual inputs lack {', '.join(missing) or 'rows'}", where=str(file), next_step=step)
    return found
