"""Which rows a model may learn from, and which are kept to judge it. Pure: the same rows always fall on the same side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TRAIN, HOLDOUT, NEITHER = "train", "holdout", ""
_BUCKETS = 10_000


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


def by_content(table: pd.DataFrame, share: float) -> np.ndarray:
    """A stable hash of each row's content decides: rows that are added move no other row, and duplicates fall on one side."""
    import numpy as np
    import pandas as pd

    if not len(table):
        return np.array([], dtype=object)
    plain = {}
    for name in sorted(table.columns, key=str):
        values = table[name]
        nested = values.dtype == object and len(values) and isinstance(values.iloc[0], list | tuple | np.ndarray)
        plain[name] = values.map(lambda v: np.asarray(v, dtype=float).tobytes().hex()) if nested else values
    bucket = pd.util.hash_pandas_object(pd.DataFrame(plain), index=False).to_numpy() % _BUCKETS
    return np.where(bucket < share * _BUCKETS, HOLDOUT, TRAIN).astype(object)
