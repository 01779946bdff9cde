"""A file nobody has seen -> a draft of its workload: task, kinds, roles and first expectations, for a person to curate.

TFX's habit: what is inferred is written down where it can be read and changed, and what is left out is said. It names columns
and kinds; how they are learnt it does not know. The YAML itself is written by `data/draft.py`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data import sources
from data.draft import register, registered, render, unregister
from data.errors import UserError
from data.guess import Guess, Rhythm, duration, guess, rhythm
from data.kinds import MISSING, Misfit, texts, times
from data.places import Places
from data.schema import Task
from data.section import DataSection

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

__all__ = ["Inferred", "infer", "register", "registered", "render_yaml", "unregister"]

_MOST_CLASSES = 20  # of whole numbers; more distinct ones are a quantity
_MOST_VALUES = 12  # of a category whose values are written down as the only ones
_MOST_HISTORY = 8  # other columns whose past is shown to a forecast


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """The draft: the sections as they stand in the YAML, and what a person should know of the guesses."""

    task: Task
    family: str
    data: dict[str, Any]
    quality: dict[str, Any]
    features: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def render_yaml(name: str, inferred: Inferred) -> str:
    """The draft as the text of a `defs.yaml`, with comments. UserError where the name cannot be one."""
    return render(name, inferred.task, inferred.family, inferred.data, inferred.quality, inferred.features, inferred.notes)


def infer(
    source: str,
    target: str,
    *,
    time: str | None = None,
    entity: str | None = None,
    horizons: Sequence[int] | None = None,
    root: Path | None = None,
) -> Inferred:
    """Read the file (a path or glob, seen from here or from `root`) and guess its workload. UserError says what cannot be meant."""
    import pandas as pd

    project = (root or Path.cwd()).resolve()
    places = Places(root=project, home=Path(os.environ.get("AIPRIME_HOME") or project / ".aiprime"))
    named = _source(source, places)
    raw = sources.read(DataSection(source=named, target=target, columns={target: "category?"}), places)
    _refuse_names([str(name) for name in raw], {"target": target, "time": time, "entity": entity}, named)
    columns = _guess_all(raw, time, entity, named)
    notes: list[str] = []
    task = _task(columns[target], notes, named)
    if task == "classification":
        columns[target] = _classes(columns[target], pd.Series(raw[target]), notes)
    if time is None and horizons:
        raise UserError("horizons belong to a series", where=named, next_step="name its time column too: --time COL")
    if time is None and entity is not None and (repeats := int(pd.Series(columns[entity].values).duplicated().sum())):
        what = f"{repeats:,} rows repeat an {entity!r}, and no time column says which of them is newer"
        raise UserError(what, where=named, next_step="name its time column too: --time COL, or leave --entity out")
    pace = _pace(columns, time, entity, target, named, task, must=bool(horizons)) if time is not None else None
    if pace is not None and not pace.step_seconds:
        notes.append(f"{time!r} has no regular step: the time is an input, and the newest rows are held out")
    if pace is not None and pace.step_seconds and not horizons and task == "classification":
        every = duration(pace.step_seconds)
        notes.append(f"the rows follow each other every {every}: to predict ahead write data.step and features.horizons")
    if pace is None or pace.step_seconds is None or (task == "classification" and not horizons):
        pace = None
        if columns[target].missing:
            notes.append(f"{columns[target].missing:,} rows without a value of {target!r} are left out")
    if task == "number":
        task = "regression" if pace is None else "forecasting"
    ignored = _ignored(columns, target, {time, entity}, task, notes)
    features = _features(columns, pace, horizons, {target, time, entity, *ignored}, notes)
    data = _data_section(columns, named, target, time, entity, pace, ignored, task)
    quality = _quality_section(columns, target, {time, entity, *ignored}, task)
    return Inferred(task=task, family="tabular", data=data, quality=quality, features=features, notes=notes)  # pyright: ignore[reportArgumentType]


def _source(source: str, places: Places) -> str:
    """The source as the YAML names it: from the project's root where it lies below it."""
    if source.partition(":")[0] in ("bundled", "fetch"):
        return source
    given = Path(source).expanduser()
    here = given if given.is_absolute() else Path(os.path.normpath(Path.cwd() / given))
    there = here if _any_file(here) else places.root / given
    return there.relative_to(places.root).as_posix() if there.is_relative_to(places.root) else there.as_posix()


def _any_file(pattern: Path) -> bool:
    import glob

    return pattern.exists() or bool(glob.glob(str(pattern), recursive=True))  # noqa: PTH207 (absolute patterns)


def _refuse_names(there: list[str], roles: dict[str, str | None], source: str) -> None:
    for role, name in roles.items():
        if name is not None and name not in there:
            near = get_close_matches(name, there, n=3, cutoff=0.5)
            step = f"did you mean {' or '.join(near)}?" if near else f"its columns: {', '.join(there[:40])}"
            raise UserError(f"there is no column {name!r} for the {role}", where=source, next_step=step)
    given = [name for name in roles.values() if name is not None]
    if len(set(given)) < len(given):
        raise UserError("target, time and entity must be different columns", where=source, next_step="name each once")
    if ours := [name for name in there if name.startswith("__")]:
        step = "rename them: such names are kept for AI Prime"
        raise UserError(f"columns begin with two underscores: {', '.join(ours)}", where=source, next_step=step)


def _guess_all(raw: pd.DataFrame, time: str | None, entity: str | None, source: str) -> dict[str, Guess]:
    found: dict[str, Guess] = {}
    for name, column in raw.items():
        values = _arrow(column)
        try:
            found[str(name)] = _time(str(name), values) if name == time else guess(str(name), values)
        except (ValueError, Misfit) as error:
            step = "name another column, or write its values as ISO 8601" if name == time else "take the column out of the file"
            raise UserError(f"{name!r}: {error}", where=source, next_step=step) from error
    for role, name in {"time": time, "entity": entity}.items():
        if name is not None and found[name].missing:
            what = f"{found[name].missing:,} rows have no value in the {role} {name!r}"
            raise UserError(what, where=source, next_step="fill them, or take the rows out")
    return found


def _arrow(column: pd.Series) -> pa.ChunkedArray:
    import pyarrow as pa

    found = pa.array(column, from_pandas=True)
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def _time(name: str, values: pa.ChunkedArray) -> Guess:
    converted = times(values)
    return Guess(
        name=name,
        kind="time",
        values=converted,
        rows=len(values),
        missing=int(converted.isna().sum()),
        distinct=len(converted.unique()),
    )


def _task(target: Guess, notes: list[str], source: str) -> Any:
    """classification, or `number`: a regression or a forecast, which the times decide."""
    present = target.rows - target.missing
    if target.distinct < 2:
        what = f"the target {target.name!r} has {'one value only' if present else 'no values'}"
        raise UserError(what, where=source, next_step="name another column")
    if target.kind == "time":
        raise UserError(
            f"the target {target.name!r} holds times", where=source, next_step="name a column of numbers or classes"
        )
    if target.infinite:
        notes.append(f"{target.infinite:,} infinite values of {target.name!r} count as missing")
    whole = target.kind == "integer"
    if whole and target.distinct <= min(_MOST_CLASSES, max(2, present // 20)):
        notes.append(
            f"{target.name!r} has {target.distinct} distinct whole numbers: taken for classes (for a quantity write task: regression, kind: number)"
        )
    elif target.numeric:
        return "number"
    if target.distinct > max(present / 2, 2):
        what = f"the target {target.name!r} is text, and {target.distinct:,} of {present:,} values are different"
        raise UserError(what, where=source, next_step="name a column of numbers or of classes that repeat")
    return "classification"


def _classes(target: Guess, raw: pd.Series, notes: list[str]) -> Guess:
    """The target as the text that its classes have in the table."""
    import pandas as pd

    values = texts(_arrow(raw))
    counts = {str(value): int(n) for value, n in pd.Series(values).value_counts().items()}
    if said := [value for value in counts if value.lower() in MISSING]:
        notes.append(
            f"{target.name!r} has the class {said[0]!r} ({counts[said[0]]:,} rows): leave the cell empty where there is no value"
        )
    if rare := [value for value, n in counts.items() if n < 5]:
        notes.append(f"{target.name!r} has classes with fewer than 5 rows: {', '.join(rare[:5])}")
    missing = int(pd.isna(values).sum())
    return Guess(name=target.name, kind="category", values=values, rows=target.rows, missing=missing, distinct=len(counts))


def _pace(
    columns: dict[str, Guess], time: str, entity: str | None, target: str, source: str, task: str, *, must: bool
) -> Rhythm:
    """The rhythm of the rows; UserError where times repeat within a series, which a forecast cannot have."""
    import numpy as np
    import pandas as pd

    moments = np.asarray(pd.Series(columns[time].values).astype("int64"))
    codes = pd.factorize(pd.Series(columns[entity].values))[0] if entity else np.zeros(len(moments), dtype=np.int64)
    found = rhythm(moments, codes)
    repeats = int(pd.DataFrame({"moment": moments, "entity": codes}).duplicated().sum())
    if must and not found.step_seconds:
        raise UserError(
            f"{time!r} has no regular step, so there is nothing to count horizons in",
            where=source,
            next_step="leave --horizons out",
        )
    if repeats and entity is not None:
        what = f"{repeats:,} rows repeat a time of {time!r} within one {entity!r}"
        raise UserError(what, where=source, next_step="keep one row of each, or name the column that tells the series apart")
    if repeats and (must or (found.step_seconds and task == "number")):
        telling = [c.name for c in columns.values() if c.name not in (time, target) and _tells_apart(c, moments)]
        apart = f"name the column that tells the series apart: --entity {' or '.join(telling[:3]) or 'COLUMN'}"
        step = f"{apart}; or leave --time out to take the rows as independent"
        raise UserError(
            f"{repeats:,} rows repeat a time of {time!r}, so there is more than one series", where=source, next_step=step
        )
    return found


def _tells_apart(column: Guess, moments: np.ndarray) -> bool:
    """Whether this column and the time together name every row, with far fewer values than rows."""
    import pandas as pd

    if column.kind not in ("category", "integer") or not 2 <= column.distinct <= len(moments) / 3:
        return False
    return not pd.DataFrame({"c": column.values, "t": moments}).duplicated().any()


def _ignored(columns: dict[str, Guess], target: str, roles: set[str | None], task: str, notes: list[str]) -> list[str]:
    """The columns that a model should not see, each with a note that says why."""
    found = []
    for column in columns.values():
        if column.name == target or column.name in roles:
            continue
        why = column.unfit or ("it tells the target outright (a leak?)" if _leaks(column, columns[target], task) else "")
        if why:
            found.append(column.name)
            notes.append(f"{column.name!r} is ignored: {why}")
        elif column.infinite:
            notes.append(f"{column.infinite:,} infinite values of {column.name!r} count as missing")
    return found


def _leaks(column: Guess, target: Guess, task: str) -> bool:
    """Whether the column equals the target, is a straight line of it, or names its classes one to one."""
    import numpy as np
    import pandas as pd

    if target.rows < 20 or column.missing > target.missing:
        return False
    if task == "classification":
        if column.distinct != target.distinct or column.kind == "time":
            return False
        pairs = pd.DataFrame({"a": column.values, "b": target.values}).dropna().drop_duplicates()
        return len(pairs) == column.distinct and pairs["a"].is_unique and pairs["b"].is_unique
    if not (column.numeric and target.numeric):
        return False
    both = np.isfinite(column.values) & np.isfinite(target.values)
    a, b = np.asarray(column.values, dtype=float)[both], np.asarray(target.values, dtype=float)[both]
    if len(a) < 20 or a.std() == 0 or b.std() == 0:
        return False
    return bool(1 - abs(np.corrcoef(a, b)[0, 1]) < 1e-12)


def _features(
    columns: dict[str, Guess], pace: Rhythm | None, horizons: Sequence[int] | None, taken: set[str | None], notes: list[str]
) -> dict[str, Any]:
    if pace is None or pace.step_seconds is None:
        return {}
    day = 86_400 // pace.step_seconds
    season = next((s for s in (pace.season, day) if s and s > 1 and pace.length >= 2 * s), None)
    if not horizons:
        horizons = [1, season] if season and pace.length >= 4 * season else [1]
    section: dict[str, Any] = {"horizons": list(horizons)} | ({"season": season} if season else {})
    others = [c.name for c in columns.values() if c.name not in taken]
    history = [name for name in others if columns[name].numeric][:_MOST_HISTORY]
    if history:
        section["history"] = history
    if left := [name for name in others if name not in history]:
        notes.append(
            f"not shown to the forecast: {', '.join(left)} (name those known ahead, such as a holiday, under features.known)"
        )
    return section


def _data_section(
    columns: dict[str, Guess],
    source: str,
    target: str,
    time: str | None,
    entity: str | None,
    pace: Rhythm | None,
    ignored: list[str],
    task: str,
) -> dict[str, Any]:
    def kind(column: Guess) -> str:
        if column.name in ignored:
            return "category?"  # nothing in it can stop a run
        if column.name == entity:
            return "category"
        if column.name == target:
            named = "category" if task == "classification" else "number"
            return named + ("?" if column.missing else "")
        return column.kind + ("?" if column.missing else "")

    roles = {"source": source, "target": target, "time": time, "entity": entity}
    section: dict[str, Any] = {key: value for key, value in roles.items() if value is not None}
    if pace is not None and pace.step_seconds:
        section["step"] = duration(pace.step_seconds)
    section["columns"] = {column.name: kind(column) for column in columns.values()}
    return section | ({"ignore": ignored} if ignored else {})


def _quality_section(columns: dict[str, Guess], target: str, skipped: set[str | None], task: str) -> dict[str, Any]:
    """First expectations with slack: half the rows, ranges wider by half their span, missing shares, the values of few classes."""
    rows = next(iter(columns.values())).rows
    expected = {
        c.name: found for c in columns.values() if c.name not in skipped and (found := _expected(c, c.name == target, task))
    }
    return {"rows": {"min": max(2, rows // 2)}} | ({"columns": expected} if expected else {})


def _expected(column: Guess, is_target: bool, task: str) -> dict[str, Any]:
    import numpy as np

    found: dict[str, Any] = {}
    if column.numeric and not (is_target and task == "classification"):
        low, high = float(np.nanmin(column.values)), float(np.nanmax(column.values))
        if high > low:
            found |= {"min": 0 if low >= 0 else _outward(low - (high - low) / 2, high - low, math.floor)}
            found |= {"max": _outward(high + (high - low) / 2, high - low, math.ceil)}
    few = column.distinct <= (50 if is_target else _MOST_VALUES) and column.distinct * 10 <= column.rows
    if few and column.kind == "category":
        found["values"] = sorted({v for v in column.values if v is not None})
    if column.missing:
        found["missing"] = min(1.0, math.ceil((1.5 * column.missing / column.rows + 0.05) * 100) / 100)
    return found


def _outward(value: float, span: float, rounding: Any) -> float | int:
    """Two digits of the span are enough for a bound."""
    unit = 10.0 ** (math.floor(math.log10(span)) - 1)
    found = round(rounding(value / unit) * unit, max(0, -math.floor(math.log10(unit))))
    return int(found) if found == int(found) and abs(found) < 1e15 else found
