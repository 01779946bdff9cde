"""Which rows a model may learn from."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import split
from data.split import HOLDOUT, NEITHER, TRAIN, by_content, by_time


@given(st.lists(st.integers(0, 500), min_size=1, max_size=200), st.floats(0.05, 0.8), st.integers(0, 50))
def test_no_training_row_reaches_into_the_holdout(days: list[int], share: float, reach: int):
    """Every training row's truth was known before the first holdout row."""
    time = pd.Series(pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(days, "D"))
    side = by_time(time, share, reach * 86_400)
    assert set(side) <= {TRAIN, HOLDOUT, NEITHER}
    assert (side == HOLDOUT).any()
    begins = time[side == HOLDOUT].min()
    assert (time[side == TRAIN] + pd.Timedelta(days=reach) < begins).all()


@given(st.lists(st.tuples(st.integers(-5, 5), st.text(max_size=3)), min_size=1, max_size=60), st.integers(1, 30))
def test_rows_that_are_added_move_no_other_row(rows: list[tuple[int, str]], first: int):
    """A row's side depends on its content alone, so duplicates fall together."""
    table = pd.DataFrame(rows, columns=["a", "b"])
    whole, part = by_content(table, 0.3), by_content(table.head(first), 0.3)
    assert list(whole[: len(part)]) == list(part)
    assert (pd.Series(whole).groupby([table["a"], table["b"]]).nunique() == 1).all()


def test_the_share_is_kept():
    """About the declared share is held out, also of pictures."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"image": list(rng.random((5000, 4))), "y": "a"})
    assert 0.13 < (by_content(table, 0.15) == HOLDOUT).mean() < 0.17


def pictures(count: int, size: int) -> pd.DataFrame:
    pixels = np.random.default_rng(0).random((count, size), dtype=np.float32)
    return pd.DataFrame({"image": list(pixels), "y": [None if n % 7 == 0 else "ab"[n % 2] for n in range(count)]})


@pytest.mark.parametrize("at_once", [1, 40, 1 << 18])
def test_pictures_fall_where_they_always_did(monkeypatch: pytest.MonkeyPatch, at_once: int):
    """Hashed some at a time, a row's side is the one that it had when all were spelled out at once: no split moves."""
    monkeypatch.setattr(split, "_PIXELS", at_once)
    table = pictures(300, 16)
    spelled = table.assign(image=table["image"].map(lambda one: np.asarray(one, dtype=float).tobytes().hex()))
    seen = pd.util.hash_pandas_object(spelled, index=False).to_numpy()
    assert (split._hashes(table) == seen).all()
    assert (split._hashes(table.assign(image=[one.tolist() for one in table["image"]])) == seen).all()


def test_many_large_pictures_are_hashed_in_little_memory():
    """The side of 40 MB of pictures is found in less than a quarter of what they take."""
    table = pictures(160, 1 << 16)
    tracemalloc.start()
    try:
        by_content(table, 0.2)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()
