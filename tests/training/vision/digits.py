"""Tables of pictures for the vision family's tests: made ones, and scikit-learn's digits as the features stage hands them over."""

import numpy as np
import pandas as pd

from data.schema import ROW_ID, SPLIT, TARGET, Column, TableSchema


def bars(rows: int = 60, shape: tuple[int, ...] = (8, 8), *, seed: int = 0) -> tuple[pd.DataFrame, TableSchema]:
    """Noisy images with a bright row or a bright column: two classes that a small net tells apart in seconds."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 0.3, size=(rows, *shape)).astype(np.float32)
    upright = np.arange(rows) % 2 == 0
    for i, place in enumerate(rng.integers(1, min(shape[-2:]) - 1, size=rows)):
        if upright[i]:
            images[i, ..., :, place] = 1
        else:
            images[i, ..., place, :] = 1
    labels = np.where(upright, "upright", "lying")
    table = pd.DataFrame({ROW_ID: np.arange(rows), "image": list(images.reshape(rows, -1)), TARGET: labels, SPLIT: "train"})
    column = Column(name="image", kind="image", shape=shape)
    return table, TableSchema(task="classification", target="way", inputs=(column,), classes=("lying", "upright"))


def digits() -> tuple[pd.DataFrame, TableSchema]:
    """1,797 handwritten digits, 15 % of them held out at random."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = (found.images / 16).astype(np.float32).reshape(len(found.target), -1)
    held = np.random.default_rng(0).random(len(images)) < 0.15
    table = pd.DataFrame({ROW_ID: np.arange(len(images)), "image": list(images), TARGET: found.target.astype(str)})
    table[SPLIT] = np.where(held, "holdout", "train")
    column = Column(name="image", kind="image", shape=(8, 8))
    return table, TableSchema(task="classification", target="digit", inputs=(column,), classes=tuple("0123456789"))
