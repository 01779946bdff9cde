"""A table's values as plain numbers to look at: codes of any values, an image's pixels within a bound, a spread. Pure; knows no roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PIXELS = 4_096  # of an image that are looked at, evenly spread


def codes(values: pd.Series) -> np.ndarray:
    """Any values as whole numbers, equal for equal ones; -1 for missing."""
    import pandas as pd

    return pd.factorize(values, sort=False)[0].astype("int64")


def pixels(images: np.ndarray, most: int = PIXELS) -> np.ndarray:
    """(image, pixel), float32: of flat images of one size at most `most` pixels each, evenly spread; nothing larger is ever made."""
    import numpy as np

    step = max(1, -(-len(images[0]) // most)) if len(images) else 1
    return np.stack([np.asarray(one)[::step].astype("float32") for one in images])


def spread(values: np.ndarray) -> float:
    """The standard deviation of what is known; 0 where nothing is."""
    import numpy as np

    known = values[np.isfinite(values)]
    return float(known.std()) if len(known) else 0.0
