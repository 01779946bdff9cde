"""What is compared of a column: a number as it is, a class by its level, a picture by three numbers.

A `Trait` is what the reference knew of it; values are measured by the trait, so that both sides are measured alike. Times are not
compared. Knows no window and no threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from data.drift.statistics import spread
from data.schema import Column, Kind

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CLASSES = ("category", "boolean")
SHOWN = 50  # levels that are told apart, the most frequent ones; the others are one class
OTHER, NEW = "(other)", "(new)"
_LEVELS = 10_000  # more levels than this are an open set: a new one says nothing
_PICTURE = ("mean", "std", "ink")


@dataclass(frozen=True, kw_only=True)
class Trait:
    """One measure of one column, as the reference has it. `name` is the column's, for a picture `column: ink`."""

    name: str
    column: str
    kind: Kind
    aspect: str = ""  # of a picture: mean, std, or ink (the share of pixels above `ink`)
    missing: float  # share of the rows
    level: float | None = None  # numbers: the mean
    spread: float | None = None  # numbers: what distances are divided by; None without a known value
    constant: bool = False
    levels: tuple[str, ...] = ()  # classes: every level seen, the most frequent first
    open: bool = False  # more levels than are kept
    ink: float | None = None

    @property
    def of_classes(self) -> bool:
        return self.kind in CLASSES

    @property
    def method(self) -> str:
        """Evidently's name of the distance."""
        return "jensenshannon" if self.of_classes else "wasserstein"


def traits(frame: pd.DataFrame, columns: Sequence[Column]) -> tuple[Trait, ...]:
    """What `frame` knows of each column that can be compared; a column that it lacks has every value missing."""
    found: list[Trait] = []
    for column in columns:
        if column.kind == "time":
            continue
        if column.kind in CLASSES:
            found.append(_of_classes(series(frame, column.name), column))
        elif column.kind == "image":
            pixels = [p for p in _pixels(series(frame, column.name)) if p is not None and p.size]
            ink = (min(p.min() for p in pixels) + max(p.max() for p in pixels)) / 2 if pixels else 0.0
            for aspect in _PICTURE:
                named = Trait(
                    name=f"{column.name}: {aspect}",
                    column=column.name,
                    kind="image",
                    aspect=aspect,
                    missing=0.0,
                    ink=float(ink),
                )
                found.append(_of_numbers(numbers(frame, named), named))
        else:
            named = Trait(name=column.name, column=column.name, kind=column.kind, missing=0.0)
            found.append(_of_numbers(numbers(frame, named), named))
    return tuple(found)


def in_units_of(trait: Trait, sample: Trait) -> Trait:
    """A number's trait with the sample's spread; its own where the sample never moves."""
    if trait.of_classes or sample.spread is None:
        return trait
    return replace(trait, spread=trait.spread if sample.constant else sample.spread, constant=sample.constant)


def numbers(frame: pd.DataFrame, trait: Trait) -> np.ndarray:
    """float64, one per row; what is missing, infinite or no number is NaN."""
    import numpy as np
    import pandas as pd

    values = series(frame, trait.column)
    if trait.kind == "image":
        return np.array([_aspect(p, trait) for p in _pixels(values)], dtype=float)
    found = pd.to_numeric(values, errors="coerce").to_numpy(dtype="float64", na_value=np.nan, copy=True)
    found[~np.isfinite(found)] = np.nan
    return found


def codes(frame: pd.DataFrame, trait: Trait) -> np.ndarray:
    """Each row's place in `trait.levels`; one past the last for a level never seen, -1 for a missing one."""
    import numpy as np

    place = {level: i for i, level in enumerate(trait.levels)}
    found, labels = _labelled(series(frame, trait.column), trait.kind)
    mapped = np.array([-1 if label is None else place.get(label, len(place)) for label in labels] + [-1], dtype=np.int64)
    return mapped[found]  # -1 takes the last: missing


def shown(code: np.ndarray, trait: Trait) -> np.ndarray:
    """Codes as the classes that are told apart: the most frequent levels, then OTHER, then NEW; -1 stays missing."""
    import numpy as np

    told, every = min(SHOWN, len(trait.levels)), len(trait.levels)
    return np.where(code >= every, told + 1, np.minimum(code, told))


def counts(classes: np.ndarray, trait: Trait) -> np.ndarray:
    """Rows per class that is told apart."""
    import numpy as np

    return np.bincount(classes[classes >= 0], minlength=min(SHOWN, len(trait.levels)) + 2)


def names(trait: Trait) -> list[str]:
    """The names of the classes that are told apart, in the order of `counts`."""
    return [*trait.levels[:SHOWN], OTHER, NEW]


def series(frame: pd.DataFrame, name: str) -> pd.Series:
    import pandas as pd

    if name not in frame.columns:
        return pd.Series([None] * len(frame), dtype=object)
    found: Any = frame[name]
    return found.iloc[:, -1] if isinstance(found, pd.DataFrame) else found  # a name that stands twice


def _of_numbers(values: np.ndarray, named: Trait) -> Trait:
    import numpy as np

    known = values[np.isfinite(values)]
    if not len(known):
        return replace(named, missing=1.0)
    of = spread(values)
    return replace(
        named,
        missing=1 - len(known) / len(values),
        level=float(known.mean()),
        spread=of,
        constant=bool(known.std() <= np.abs(known).max() * 1e-12),
    )


def _of_classes(values: pd.Series, column: Column) -> Trait:
    import numpy as np

    found, labels = _labelled(values, column.kind)
    count = np.bincount(found[found >= 0], minlength=len(labels))
    tally: dict[str, int] = {}
    for label, n in zip(labels, count.tolist(), strict=True):
        if label is not None and n:
            tally[label] = tally.get(label, 0) + n
    levels = sorted(tally, key=lambda level: (-tally[level], level))
    return Trait(
        name=column.name,
        column=column.name,
        kind=column.kind,
        missing=1 - sum(tally.values()) / len(values) if len(values) else 1.0,
        levels=tuple(levels[:_LEVELS]),
        open=len(levels) > _LEVELS,
    )


def _labelled(values: pd.Series, kind: str) -> tuple[np.ndarray, list[str | None]]:
    """Each row's place among the labels (-1: missing), and the labels as text; None for a label that means missing."""
    import pandas as pd

    try:
        found, labels = pd.factorize(values)
    except TypeError:  # a list is no level, but must not stop a monitor
        found, labels = pd.factorize(values.map(lambda value: None if value is None else str(value)))
    return found, [_text(label, kind) for label in labels]


def _text(label: Any, kind: str) -> str | None:
    if kind == "boolean" and str(label).lower() in {"1", "1.0", "true", "0", "0.0", "false"}:
        return "true" if str(label).lower() in {"1", "1.0", "true"} else "false"
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label) or None


def _pixels(values: pd.Series) -> list[np.ndarray | None]:
    import numpy as np

    def one(value: Any) -> np.ndarray | None:
        if value is None:
            return None
        try:
            return np.asarray(value, dtype=float).ravel()
        except (TypeError, ValueError):
            try:
                return np.concatenate(
                    [np.asarray(row, dtype=float).ravel() for row in value]
                )  # rows, as Parquet gives them back
            except (TypeError, ValueError):
                return None

    return [one(value) for value in values]


def _aspect(pixels: np.ndarray | None, trait: Trait) -> float:
    if pixels is None or not pixels.size:
        return float("nan")
    if trait.aspect == "ink":
        return float((pixels > trait.ink).mean())
    return float(pixels.mean() if trait.aspect == "mean" else pixels.std())
