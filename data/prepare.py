"""Raw rows to the canonical table: declared kinds, one order, no ambiguity. It refuses what the section does not describe.

The same rows give the same table and the same digest, whatever file format they came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Literal

from data.canonical import table_digest, write
from data.errors import UserError
from data.kinds import Misfit, convert
from data.labels import join
from data.schema import Column
from data.section import seconds

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from data.cutoff import Cutoff
    from data.section import DataSection

__all__ = ["Change", "SchemaDrift", "prepare", "table_digest", "write"]

_ALIKE = 0.6  # of two column names, from where on a rename is guessed


@dataclass(frozen=True)
class Change:
    """One difference between the columns that the YAML declares and those that are there."""

    how: Literal["added", "removed", "renamed", "retyped", "values"]
    column: str
    text: str


class SchemaDrift(UserError):
    """The source's columns are no longer those of `data.columns`; `changes` says which, and how."""

    def __init__(self, changes: list[Change], source: str) -> None:
        self.changes = tuple(changes)
        step = "mend the source, or say in data.columns what is meant now (a column to leave out: also under data.ignore)"
        super().__init__("the columns changed: " + "; ".join(c.text for c in changes), where=source, next_step=step)


def prepare(raw: pd.DataFrame, data: DataSection, cutoff: Cutoff | None = None, known: pa.Table | None = None) -> pd.DataFrame:
    """The canonical table: the columns of `data.columns` in that order, with the types that `data/kinds.py` lists.

    Sorted by time, then entity, where there is a time; otherwise in the order of the source. Rows without a target are
    dropped (a series keeps them; `.attrs["left_out"]` counts them). A `cutoff` ends the rows in the place of `data.until`, and
    `known` are the labels that join them (data/labels.py). SchemaDrift or another UserError says what is refused.
    """
    import pandas as pd

    columns = _typed(raw, data)
    df = pd.DataFrame({name: columns[name] for name in data.columns}, copy=False)
    _refuse_missing(df, data)
    if data.sha256 is not None:
        _refuse_other(df, data)
    if known is not None:
        df = join(df, known, data)
    left_out: dict[str, int] = {}
    if data.step is None:
        df = _keep(df, df[data.target].notna(), "rows without a target", left_out)
    if data.time is not None:
        df = _keep(df, _inside(df, data.time, data, cutoff), "rows outside since/until", left_out)
        df = _sorted(df, data)
    if len(df) < 2:
        what = f"{len(df)} rows are left of {len(raw)}; left out: {', '.join(f'{n} {why}' for why, n in left_out.items())}"
        raise UserError(what, where=data.source, next_step="check data.since, data.until and the target")
    df = df.reset_index(drop=True)
    df.attrs["left_out"] = left_out
    return df


def _refuse_other(df: pd.DataFrame, data: DataSection) -> None:
    """Another table than the one that `sha256` names: all rows in the source's order, before since/until leave any out."""
    if (digest := table_digest(df)) != data.sha256:
        what = f"the table is not the one that data.sha256 names: it has {digest}"
        step = "fetch the file again, or, where the change is meant, write the new digest"
        raise UserError(what, where=data.source, next_step=step)


def _keep(df: pd.DataFrame, rows: Any, why: str, left_out: dict[str, int]) -> pd.DataFrame:
    if bool(rows.all()):
        return df
    left_out[why] = int((~rows).sum())
    return df.loc[rows]


def _typed(raw: pd.DataFrame, data: DataSection) -> dict[str, Any]:
    """Every declared column with its kind; SchemaDrift with all differences at once."""
    import pyarrow as pa

    made = {*data.constants, *({data.time} if data.start else ())}
    if both := sorted(made & {str(name) for name in raw}):
        what = f"the source already has the column {', '.join(both)}"
        raise UserError(what, where=data.source, next_step="take it out of data.constants, or data.start out of the section")
    there = {str(name): _arrow(column) for name, column in raw.items()}
    declared = {c.name: c for c in data.schema_columns}
    changes = _names_changed([n for n in declared if n not in made], there, declared)
    there |= {name: pa.chunked_array([pa.repeat(value, len(raw))]) for name, value in data.constants.items()}
    typed: dict[str, Any] = _counted(data, len(raw)) if data.start else {}
    for name, values in there.items():
        if name in declared:
            try:
                typed[name] = convert(values, declared[name])
            except Misfit as misfit:
                changes.append(_misfit(misfit, declared[name]))
    if changes:
        raise SchemaDrift(changes, data.source)
    return typed


def _arrow(column: pd.Series) -> pa.ChunkedArray:
    import pyarrow as pa

    found = pa.array(column, from_pandas=True)
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def _counted(data: DataSection, rows: int) -> dict[str, Any]:
    """The time column of a source without one: `start` + row * `step`."""
    import numpy as np
    import pandas as pd

    assert data.start is not None and data.step is not None and data.time is not None  # noqa: S101, PT018 (the section's rule)
    micros = np.datetime64(data.start, "us") + np.arange(rows) * np.timedelta64(seconds(data.step), "s")
    return {data.time: pd.Series(micros).dt.tz_localize("UTC").array}


def _names_changed(expected: list[str], raw: dict[str, Any], declared: dict[str, Column]) -> list[Change]:
    """Which columns were added, removed or renamed; a rename is guessed from a like name and values of the same kind."""
    removed, added = [n for n in expected if n not in raw], [n for n in raw if n not in expected]
    changes = []
    for old in list(removed):
        fitting = sorted(((_likeness(old, new), new) for new in added if _fits(raw[new], declared[old])), reverse=True)
        if fitting and (fitting[0][0] >= _ALIKE or (len(removed) == len(added) == 1 and not changes)):
            new = fitting[0][1]
            changes.append(Change("renamed", old, f"{old!r} was renamed to {new!r}, it seems"))
            removed.remove(old)
            added.remove(new)
    changes += [Change("removed", n, f"{n!r} was removed") for n in removed]
    return changes + [Change("added", n, f"{n!r} was added") for n in added]


def _likeness(old: str, new: str) -> float:
    first, second = ("".join(ch for ch in name.casefold() if ch.isalnum()) or name for name in (old, new))
    return SequenceMatcher(None, first, second).ratio()


def _fits(values: pa.ChunkedArray, column: Column) -> bool:
    try:
        convert(values, column)
    except Misfit:
        return False
    return True


def _misfit(misfit: Misfit, column: Column) -> Change:
    """A few bad values are the values' fault; many mean that the column now is something else."""
    few = misfit.of and misfit.bad < misfit.of / 2
    share = f" ({misfit.bad} of {misfit.of})" if misfit.of else ""
    if few:
        return Change("values", column.name, f"{column.name!r} is declared {column.kind} and {misfit}{share}")
    return Change("retyped", column.name, f"{column.name!r} was retyped: it is declared {column.kind} and {misfit}{share}")


def _refuse_missing(df: pd.DataFrame, data: DataSection) -> None:
    """Columns without any value; missing times, entities and (unless declared `?`) targets."""
    if empty := [str(name) for name in df if name not in data.ignore and bool(df[name].isna().all())]:
        step = "fill it, or name it under data.ignore"
        raise UserError(f"no row has a value in: {', '.join(empty)}", where=data.source, next_step=step)
    if data.time is not None and df[data.time].dtype.kind != "M":
        what = f"data.time names {data.time!r}, which is declared {data.columns[data.time]}"
        raise UserError(what, where="data.columns", next_step="declare it: time")
    nullable = {c.name for c in data.schema_columns if c.nullable}
    for role, name in {"time": data.time, "entity": data.entity, "target": data.target}.items():
        if name is None or (role == "target" and name in nullable):
            continue
        missing = df[name].isna().to_numpy()
        if missing.any():
            rows = ", ".join(str(row + 1) for row in missing.nonzero()[0][:5])
            step = "fill them, or take the rows out" + (
                "; or write a ? after its kind to leave them out" if role == "target" else ""
            )
            raise UserError(
                f"{missing.sum()} rows have no value in the {role} {name!r}: rows {rows}", where=data.source, next_step=step
            )


def _inside(df: pd.DataFrame, column: str, data: DataSection, cutoff: Cutoff | None) -> pd.Series:
    import pandas as pd

    time: Any = df[column]
    inside = time.notna()
    if data.since is not None:
        inside &= time >= pd.Timestamp(data.since, tz="UTC")
    if cutoff is not None:
        inside &= time < cutoff.until
    elif data.until is not None:
        inside &= time < pd.Timestamp(data.until, tz="UTC")
    return inside


def _sorted(df: pd.DataFrame, data: DataSection) -> pd.DataFrame:
    """By time, then entity; two rows of one series at one time are refused, with examples by their row in the source."""
    import numpy as np
    import pandas as pd

    if len(df) == 0:
        return df
    assert data.time is not None  # noqa: S101 (the caller's)
    time = df[data.time].astype("int64").to_numpy()
    entity = pd.factorize(df[data.entity], sort=True)[0] if data.entity else np.zeros(len(df), dtype=np.int64)
    order = np.lexsort((entity, time))
    if data.step is not None or data.entity is not None:
        time, entity = time[order], entity[order]
        again = np.flatnonzero((np.diff(time) == 0) & (np.diff(entity) == 0))
        if len(again):
            raise _duplicates(df, data, order, again)
    return df if (np.diff(order) == 1).all() else df.take(order)


def _duplicates(df: pd.DataFrame, data: DataSection, order: np.ndarray, again: np.ndarray) -> UserError:
    shown = []
    for i in again[:3]:
        first = df.iloc[order[i]]
        who = f"{first[data.entity]}, " if data.entity else ""
        shown.append(
            f"{who}{first[data.time].isoformat()} (rows {df.index[order[i]] + 1} and {df.index[order[i + 1]] + 1})".replace(
                "+00:00", "Z"
            )
        )
    key = f"({data.entity}, {data.time})" if data.entity else data.time
    step = "keep one row of each" + ("" if data.entity else ", or name the column that tells the series apart: data.entity")
    return UserError(f"{len(again)} rows repeat {key}: {'; '.join(shown)}", where=data.source, next_step=step)
