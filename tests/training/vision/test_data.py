import numpy as np
import pandas as pd
import pytest
import torch

from data.errors import UserError
from data.schema import TARGET, Column, TableSchema
from tests.training.vision.digits import bars
from training.vision.data import image_column, pictures_of


def test_every_row_is_learnt_or_validated():
    """Each train row is on exactly one side, 15 % of each class on the validation side, and a seed fixes which."""
    table, schema = bars(200)
    found, again, other = (pictures_of(table, schema, seed) for seed in (0, 0, 1))
    assert found.x_train.shape == (170, 1, 8, 8)
    assert torch.bincount(found.y_valid).tolist() == [15, 15]
    assert torch.equal(found.x_valid, again.x_valid)
    assert not torch.equal(found.x_valid, other.x_valid)


def test_images_of_any_size_and_channels():
    """[H, W] becomes one channel; [C, H, W] keeps its channels."""
    for shape, expected in (((8, 12), (1, 8, 12)), ((3, 9, 6), (3, 9, 6))):
        assert pictures_of(*bars(40, shape), 0).x_train.shape[1:] == expected


def test_a_class_with_one_row_is_learnt():
    """A rare class is never lost to validation."""
    table, schema = bars(40)
    table.loc[0, TARGET] = "odd"
    schema = schema.model_copy(update={"classes": ("lying", "odd", "upright")})
    assert 1 in pictures_of(table, schema, 0).y_train


IMAGE = Column(name="image", kind="image", shape=(8, 8))
SCHEMAS = [
    (TableSchema(task="regression", target="y", inputs=(IMAGE,)), "classifies"),
    (TableSchema(task="classification", target="y", inputs=()), "0 and beside it nothing"),
    (TableSchema(task="classification", target="y", inputs=(IMAGE, Column(name="age", kind="number"))), "beside it age"),
    (
        TableSchema(task="classification", target="y", inputs=(Column(name="i", kind="image", shape=(8,)),)),
        "sides of at least 4",
    ),
    (
        TableSchema(task="classification", target="y", inputs=(Column(name="i", kind="image", shape=(3, 9)),)),
        "sides of at least 4",
    ),
]


@pytest.mark.parametrize(("schema", "said"), SCHEMAS)
def test_what_is_not_one_image_column_is_refused(schema, said):
    """A workload of another shape is refused before anything is read, saying what it has."""
    with pytest.raises(UserError, match=said):
        image_column(schema)


@pytest.mark.parametrize(
    ("image", "said"), [(np.ones(63), "8 x 8 numbers"), (None, "8 x 8 numbers"), (np.full(64, np.nan), "missing or infinite")]
)
def test_a_broken_image_is_named(image, said):
    """A row that is no image of the declared size is refused with the column's name."""
    table, schema = bars(20)
    table["image"] = pd.Series([image, *table["image"][1:]], dtype=object)
    with pytest.raises(UserError, match=said):
        pictures_of(table, schema, 0)
