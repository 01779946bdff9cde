"""How many rows of the holdout are training rows too, exactly or nearly, beyond what would be anyway. Pure; refuses to know what follows.

Rows are the same where all values fall into the same cells of a grid that begins anywhere. What would be anyway: in time, as training rows
repeat each other; without time, as such rows do once every number is moved a little, by itself: twins part, and what makes rows alike by
nature (few values, columns that go together) stays. Columns that are one another's function are moved together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from data import split
from data.cells import PIXELS, codes, pixels, spread
from data.telling import told

if TYPE_CHECKING:
    import numpy as np

    from data.leaks import Table

WINDOW = 16  # rows of a series that repeat
_GRID, _GRIDS = 0.01, 3  # two rows are nearly the same where all numbers are within so many standard deviations
_MOVED = 0.03  # standard deviations that a number is moved by, up or down
_FEW = 3  # rows that may repeat by chance
_ONE, _SEEN, _MANY = 0.98, 2_000, 60  # one column tells the other so well: they are one; on so many rows, of no more columns
_AT_ONCE, _IMAGES = 256, 1_000  # pixels; images that their spread is taken from


def count(table: Table, sides: np.ndarray) -> int:
    """Rows of the holdout (of a series: stretches of 16) that are among the training rows, and more of them than would be anyway; else 0."""
    names = [name for name in dict.fromkeys([*table.shown, *table.history]) if table.kinds[name] != "time"]
    if not _rich(table, names):
        return 0
    worst = 0
    for grid in range(_GRIDS):
        again, share, anyway = _again(table, _keys(table, names, grid), sides)
        if table.order is None and again > _FEW:
            _, anyway, _ = _again(table, _keys(table, names, grid, moved=True), sides)
        if again > _beyond(again / share if again else 0.0, anyway):
            worst = max(worst, again)
    return worst


def _beyond(rows: float, anyway: float) -> float:
    """How many of so many rows may repeat: twice what would be anyway and 0.2 %, and three standard deviations of such a count."""
    most = rows * (2 * anyway + 0.002)
    return _FEW + most + 3 * math.sqrt(most)


def _rich(table: Table, names: list[str]) -> bool:
    """Whether rows can be told apart at all: an image, or a number of many values. Rows of a few categories repeat by nature."""
    import numpy as np

    if table.horizons:
        return table.order is not None
    sample = table.rows[:5_000]
    numbers = [name for name in names if table.kinds[name] in {"number", "integer"}]
    many = any(len(np.unique(table.df[name].to_numpy("float64")[sample])) > len(sample) / 10 for name in numbers)
    return many or any(table.kinds[name] == "image" for name in names)


def _again(table: Table, keys: np.ndarray, sides: np.ndarray) -> tuple[int, float, float]:
    """How many of the holdout are in the training rows, which share of it that is, and which share of the training rows repeat."""
    import numpy as np

    where = sides
    if table.horizons and table.order is not None:
        keys, where = _stretches(keys[table.order], table.entity[table.order], sides[table.order])
    train, holdout = keys[where == split.TRAIN], keys[where == split.HOLDOUT]
    if not len(train) or not len(holdout):
        return 0, 0.0, 0.0
    unique, counts = np.unique(train, return_counts=True)
    again = int(np.isin(holdout, unique).sum())
    return again, again / len(holdout), float(counts[counts > 1].sum() / len(train))


def _keys(table: Table, names: list[str], grid: int, *, moved: bool = False) -> np.ndarray:
    """One number per row, equal where all values fall into the same cells; `moved`: each number a little, each pixel anywhere."""
    import numpy as np

    rng = np.random.default_rng(grid)
    mixed = np.zeros(len(table.df), dtype=np.uint64)

    def mix(values: np.ndarray) -> None:
        nonlocal mixed
        mixed = (mixed ^ values.astype(np.int64).view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)

    def number(values: np.ndarray, width: float) -> None:
        cell = np.floor(values / (width * _GRID) + rng.random()) if width > 0 else values
        mix(np.where(np.isfinite(cell), np.clip(np.nan_to_num(cell), -(2.0**62), 2.0**62), -(2.0**62)))

    numbers = {name: table.df[name].to_numpy("float64") for name in names if table.kinds[name] not in {"image", "category"}}
    if not table.classes:
        numbers[table.data.target] = table.truth
    for column in _moved(list(numbers.values()), rng) if moved else numbers.values():
        number(column, spread(column))
    for name in names:
        if table.kinds[name] == "image":
            images = table.df[name].to_numpy()
            width = spread(pixels(images[:: max(1, len(images) // _IMAGES)]))  # of all pixels together: many are always black
            step = max(1, -(-len(images[0]) // PIXELS))
            for start in range(0, len(images[0]), step * _AT_ONCE):
                for pixel in np.stack([one[start : start + step * _AT_ONCE : step] for one in images]).T.astype("float64"):
                    number(rng.permutation(pixel) if moved else pixel, width)
        elif table.kinds[name] == "category":
            mix(codes(table.df[name]))
    if table.classes:
        mix(table.truth)
    return mixed


def _moved(columns: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Each column in the order of its values moved a little, so that it keeps its values; columns that are one are moved as one."""
    import numpy as np

    found: list[np.ndarray] = []
    leads = _leads(columns)
    sources: dict[int, np.ndarray] = {}
    for at, lead in enumerate(leads):
        if lead not in sources:
            values = columns[lead]
            near = values + rng.uniform(-_MOVED, _MOVED, len(values)) * spread(values)
            sources[lead] = np.empty(len(values), dtype=np.int64)
            sources[lead][np.argsort(near, kind="stable")] = np.argsort(values, kind="stable")
        found.append(columns[at][sources[lead]])
    return found


def _leads(columns: list[np.ndarray]) -> list[int]:
    """For each column the place of the first that it is one with: either tells the other."""
    import numpy as np

    places = list(range(len(columns)))
    if not 1 < len(columns) <= _MANY:
        return places
    rows = np.random.default_rng(0).permutation(len(columns[0]))[:_SEEN]
    seen = [column[rows] for column in columns]

    def one(a: int, b: int) -> bool:
        return any(told(seen[i], seen[j], classes=False)[0] >= _ONE for i, j in ((a, b), (b, a)))

    for at in places:
        places[at] = next((places[i] for i in range(at) if one(i, at)), at)
    return places


def _stretches(keys: np.ndarray, entity: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The key of each stretch of rows that lies in one series and on one side, and that side. Stretches of one value are left out."""
    import numpy as np

    count = len(keys) - WINDOW + 1
    if count < 1:
        return keys[:0], sides[:0]
    mixed, still = np.zeros(count, dtype=np.uint64), np.ones(count, dtype=bool)
    for n in range(WINDOW):
        part = keys[n : n + count]
        mixed = (mixed ^ part) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(31)
        still &= part == keys[:count]
    first, last = slice(0, count), slice(WINDOW - 1, WINDOW - 1 + count)
    whole = (entity[first] == entity[last]) & (sides[first] == sides[last]) & ~still
    return mixed[whole], sides[first][whole]
