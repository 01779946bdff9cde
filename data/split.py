"""Which rows a model may learn from, and which are kept to judge it. Pure: the same rows always fall on the same side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import numpy as np
    import pandas as pd

TRAIN, HOLDOUT, FROZEN, NEITHER = "train", "holdout", "frozen", ""
_BUCKETS = 10_000
_PIXELS = 1 << 18  # that are spelled out at once


def by_time(time: pd.Series, share: float, reach_seconds: int = 0) -> np.ndarray:
    """The newest `share` of the rows is the holdout; a row is for training only if its truth (`reach_seconds` later) was known
    before the holdout begins. What lies between is neither."""
    import numpy as np
    import pandas as pd

    if not len(time):
        return np.array([], dtype=object)
    ordered = time.sort_values(ignore_index=True)
    begins = ordered.iloc[min(len(ordered) - 1, int(np.ceil(len(ordered) * (1 - share))))]
    known = time + pd.Timedelta(seconds=reach_seconds)
    return np.where(time >= begins, HOLDOUT, np.where(known < begins, TRAIN, NEITHER)).astype(object)


def by_window(
    time: pd.Series,
    begins: datetime,
    until: datetime,
    reaches: Sequence[int],
    delay_seconds: int = 0,
    frozen: tuple[datetime, datetime] | None = None,
) -> np.ndarray:
    """The holdout is every row whose whole truth (one `reaches` seconds after it, for each) lies in [begins, until); a row is for
    training only if its whole truth was known before `begins`. A row with any truth in `frozen` is not for training; one with all
    of it there is FROZEN, unless it is holdout. So no truth that judges was ever a truth to learn from."""
    import numpy as np
    import pandas as pd

    truths = [time + pd.Timedelta(seconds=reach) for reach in reaches]

    def within(start: datetime, end: datetime) -> list[np.ndarray]:
        return [((truth >= start) & (truth < end)).to_numpy(dtype=bool) for truth in truths]

    holdout = np.logical_and.reduce(within(begins, until))
    train = (time + pd.Timedelta(seconds=max(reaches) + delay_seconds) < begins).to_numpy(dtype=bool)
    kept = np.zeros(len(time), dtype=bool)
    if frozen is not None:
        inside = within(*frozen)
        train &= ~np.logical_or.reduce(inside)
        kept = np.logical_and.reduce(inside) & ~holdout
    return np.select([holdout, kept, train], [HOLDOUT, FROZEN, TRAIN], NEITHER).astype(object)


def by_order(table: pd.DataFrame, rows: int) -> np.ndarray:
    """The last `rows` rows are the holdout, the ones before are for training, but for those that repeat a row of the holdout."""
    import numpy as np

    seen = _hashes(table)
    begins = max(0, len(table) - rows)
    side = np.where(np.isin(seen, seen[begins:]), NEITHER, TRAIN).astype(object)
    side[begins:] = HOLDOUT
    return side


def by_content(table: pd.DataFrame, share: float) -> np.ndarray:
    """A stable hash of each row's content decides: rows that are added move no other row, and duplicates fall on one side."""
    import numpy as np

    if not len(table):
        return np.array([], dtype=object)
    return np.where(_hashes(table) % _BUCKETS < share * _BUCKETS, HOLDOUT, TRAIN).astype(object)


def _hashes(table: pd.DataFrame) -> np.ndarray:
    """Each row's content as a number. Images are spelled out for that, in 16 characters a pixel: some rows at a time."""
    import numpy as np
    import pandas as pd

    plain = table[sorted(table.columns, key=str)]
    images = [name for name, values in plain.items() if _nested(values)]
    if not images:
        return pd.util.hash_pandas_object(plain, index=False).to_numpy()
    rows = max(1, _PIXELS // max(1, sum(np.size(plain[name].iloc[0]) for name in images)))
    blocks = (plain.iloc[start : start + rows] for start in range(0, len(plain), rows))
    spelled = (block.assign(**{str(name): block[name].map(_spelled) for name in images}) for block in blocks)
    return np.concatenate([pd.util.hash_pandas_object(block, index=False).to_numpy() for block in spelled])


def _nested(values: pd.Series) -> bool:
    import numpy as np

    return values.dtype == object and len(values) > 0 and isinstance(values.iloc[0], list | tuple | np.ndarray)


def _spelled(image: object) -> str:
    import numpy as np

    return np.asarray(image, dtype=float).tobytes().hex()
