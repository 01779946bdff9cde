import numpy as np
import pandas as pd
import pytest

from data.schema import TableSchema
from training.naive import answers, label_codes

CLASSES = ("a", "b", "c")
LABELS = TableSchema(task="classification", target="y", inputs=(), classes=CLASSES)
STATES = LABELS.model_copy(update={"horizons": (1,), "targets": ("__target_h1",), "step_seconds": 60})
NUMBERS = TableSchema(task="regression", target="y", inputs=())
SERIES = TableSchema(task="forecasting", target="y", inputs=(), horizons=(1, 2), targets=("__target_h1", "__target_h2"))


def test_majority_states_the_shares_of_the_train_rows():
    """Every row gets the train rows' shares, one counted beside, so that no class is impossible."""
    train, rows = pd.DataFrame({"__target": list("aaab")}), pd.DataFrame(index=range(5))
    p = answers("majority", train, rows, LABELS, CLASSES).probabilities
    np.testing.assert_allclose(p, np.tile([4 / 7, 2 / 7, 1 / 7], (5, 1)))


def test_the_last_label_is_as_likely_as_it_was_right():
    """The repeated label gets the share of train rows on which repeating was right; the others share the rest."""
    train = pd.DataFrame({"__persistence_h1": list("aabb"), "__target_h1": list("aabc")})
    rows = pd.DataFrame({"__persistence_h1": ["c", None, "unseen"]})
    p = answers("persistence", train, rows, STATES, CLASSES).probabilities
    np.testing.assert_allclose(p[0], [0.125, 0.125, 0.75])
    assert np.isnan(p[1:]).all()


def test_a_repeated_label_is_always_the_answer():
    """Where repeating was mostly wrong the label is still the baseline's answer, only with little certainty."""
    train = pd.DataFrame({"__persistence_h1": list("aaaa"), "__target_h1": list("bbbb")})
    p = answers("persistence", train, pd.DataFrame({"__persistence_h1": ["b"]}), STATES, CLASSES).probabilities
    assert p.argmax() == 1
    assert p.sum() == pytest.approx(1)


def test_numbers_of_rows_and_of_series():
    """Mean and median come from the train rows, a series' baselines from the table, one per horizon."""
    train, rows = pd.DataFrame({"__target": [1.0, 2.0, 9.0]}), pd.DataFrame(index=range(2))
    assert answers("mean", train, rows, NUMBERS, ()).point.tolist() == [[4], [4]]
    assert answers("median", train, rows, NUMBERS, ()).point.tolist() == [[2], [2]]
    table = pd.DataFrame({"__persistence_h1": [1.0], "__persistence_h2": [np.nan]})
    np.testing.assert_array_equal(answers("persistence", table, table, SERIES, ()).point, [[1.0, np.nan]])
    with pytest.raises(KeyError):
        answers("seasonal-naive", table, table, SERIES, ())


def test_labels_are_found_by_their_text():
    """A label's index is found whatever type it has; missing and unknown ones are -1."""
    assert label_codes(pd.Series([2, 1, 7]), ("1", "2")).tolist() == [1, 0, -1]
    assert label_codes(pd.Series(["a", None, np.nan]), CLASSES).tolist() == [0, -1, -1]
