import math

import numpy as np
import pandas as pd
import pytest

from data.errors import UserError
from tests.training import exported
from training.predictor import BATCH, OnnxPredictor, as_tensor, point
from training.signature import MISSING_TIME, Input

NAN = math.nan
ECHOED = [
    ("number", False, [1.5, NAN], [1.5, NAN]),
    ("number", True, [1.5, None], [1.5, NAN]),
    ("integer", False, [1, 2], [1, 2]),
    ("integer", True, [1.0, NAN], [1.0, NAN]),
    ("boolean", False, [True, False], [True, False]),
    ("boolean", True, [1.0, NAN], [1.0, NAN]),
    ("category", False, ["köln", "b"], ["köln", "b"]),
    ("category", True, ["köln", None], ["köln", ""]),
    ("time", False, pd.to_datetime(["1970-01-02", "1969-12-31"], utc=True), [86_400, -86_400]),
    ("time", True, pd.to_datetime(["1970-01-02", None], utc=True), [86_400, MISSING_TIME]),
]


@pytest.mark.parametrize(("kind", "nullable", "values", "seen"), ECHOED)
def test_each_kind_reaches_the_graph_as_the_signature_says(tmp_path, kind, nullable, values, seen):
    """Every kind of column arrives in the graph in its element type, missing values in their stated form."""
    folder = exported.echo(tmp_path, Input(name="a column", kind=kind, nullable=nullable, tensor="x0"))
    got = OnnxPredictor(folder).predict(pd.DataFrame({"a column": values}))["seen"]
    if kind == "category":
        assert list(got) == seen
    else:
        np.testing.assert_array_equal(got, np.array(seen))


def test_images_arrive_in_their_shape(tmp_path):
    """Flat lists and nested lists of pixels give one float tensor [rows, H, W]."""
    column = Input(name="image", kind="image", shape=(2, 3), tensor="x0")
    flat, nested = [1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]
    got = OnnxPredictor(exported.echo(tmp_path, column)).predict(pd.DataFrame({"image": [flat, nested]}))["seen"]
    assert (got.shape, got.dtype) == ((2, 2, 3), np.float32)
    np.testing.assert_array_equal(got[0], got[1])


def test_a_table_larger_than_a_batch_keeps_its_order(tmp_path):
    """Rows come back in their order, however many batches they took; no rows give empty arrays."""
    predictor = OnnxPredictor(exported.regression(tmp_path, scale=2.0))
    x = np.arange(BATCH * 2 + 3, dtype=float)
    got = predictor.predict(pd.DataFrame({"x": x}))
    np.testing.assert_array_equal(got["prediction"], 2 * x)
    assert got["quantiles"].shape == (len(x), 3)
    assert predictor.predict(pd.DataFrame({"x": x[:0]}))["quantiles"].shape == (0, 3)


BAD = [
    (Input(name="n", kind="integer", tensor="x0"), [1.0, NAN], "1 of 2 values are missing"),
    (Input(name="c", kind="category", tensor="x0"), ["a", None], "1 of 2 values are missing"),
    (Input(name="x", kind="number", tensor="x0"), ["a", "b"], "not of kind number"),
    (Input(name="i", kind="image", shape=(2, 2), tensor="x0"), [[1, 2, 3], [1, 2, 3, 4]], "2 x 2 numbers"),
    (Input(name="i", kind="image", shape=(1, 2), tensor="x0"), [[1, NAN]], "missing or infinite"),
]


@pytest.mark.parametrize(("column", "values", "said"), BAD)
def test_what_the_model_cannot_take_is_named(column, values, said):
    """A value that the graph has no form for is refused with the column's name."""
    with pytest.raises(UserError, match=said) as error:
        as_tensor(pd.Series(values), column)
    assert column.name in str(error.value)


def test_a_missing_column_is_named(tmp_path):
    """A table without a column that the model reads is refused, naming it."""
    with pytest.raises(UserError, match="lacks: x"):
        OnnxPredictor(exported.regression(tmp_path)).predict(pd.DataFrame({"y": [1.0]}))


def test_the_point_is_the_label_or_the_prediction(tmp_path):
    """The single best answer of a classifier is its likeliest label, of the others the prediction."""
    classes = OnnxPredictor(exported.classification(tmp_path / "c", ("no", "yes")))
    table = pd.DataFrame({"x": [-2.0, 3.0]})
    assert list(point(classes.predict(table), classes.signature)) == ["no", "yes"]
    numbers = OnnxPredictor(exported.regression(tmp_path / "r"))
    assert list(point(numbers.predict(table), numbers.signature)) == [-2.0, 3.0]
