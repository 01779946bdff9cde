"""The exported graph: the same answers as the module's, from raw columns, whatever a request holds."""

import numpy as np
import pandas as pd
import pytest
import torch

from data.schema import SPLIT
from tests.training.tabular.tables import classes, fitted, hourly, numbers, series_of
from training.signature import MISSING_TIME
from training.tabular.predictor import load


def skewed():
    table, schema = numbers(300)
    return table.assign(__target=np.exp(table["__target"])), schema


CASES = {
    "numbers": lambda: numbers(300),
    "classes": lambda: classes(300),
    "skewed": skewed,
    "difference": lambda: series_of(hourly(30)),
    "ratio": lambda: series_of(hourly(30, grows=0.3, proportional=True)),
}


def odd(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that no training saw: huge, infinite and missing numbers, levels that never were, times before 1970."""
    table = table.head(60).reset_index(drop=True).copy()
    for place, column in enumerate(table.columns):
        if pd.api.types.is_float_dtype(table[column]):
            table.loc[[1, 2, 3, 4, 5 + place % 40], column] = [1e299, -np.inf, np.inf, -1e-300, np.nan]
        elif str(table[column].dtype).startswith("datetime"):
            table.loc[6, column] = pd.Timestamp("1912-02-29 23:30", tz="UTC")
        elif column in ("cat", "shop"):
            table.loc[[7, 8], column] = ["nie gesehen", ""]
    return table


@pytest.mark.parametrize("name", CASES)
def test_the_graph_answers_as_the_module(name, tmp_path):
    """ONNX on raw columns equals numpy and torch on the same rows, also where values are absurd; a loaded folder equals both."""
    table, schema = CASES[name]()
    prepared, predictor = fitted(table, schema, tmp_path, max_steps=60)
    if name in ("difference", "ratio"):
        assert prepared.module.recipe.level.how == name
    assert prepared.module.target.log == (name == "skewed")
    rows = odd(table)
    served = predictor.predict(rows)
    for module in (prepared.module, load(tmp_path / "model")):
        e = module.recipe.encode(rows)
        level = np.stack([e.location_N, e.scale_N, np.ones(len(rows))], axis=1)
        batch = [torch.from_numpy(part) for part in (e.x_NC, e.missing_NM, e.code_NJ, *[np.zeros(1)] * 3, level)]
        with torch.no_grad():
            own = module.predict_step(tuple(batch))
        for key in served:
            truth = own[key].numpy()
            assert np.isfinite(truth).all()
            # A level of 1e299 loses every digit of what is added to it: compared relative to the answer's own size.
            assert (np.abs(served[key] - truth) / np.maximum(1.0, np.abs(truth))).max() < 1e-5


@pytest.mark.parametrize("name", ["numbers", "ratio"])
def test_quantiles_never_cross(name, tmp_path):
    """Quantiles rise, and the prediction is their middle, on any row."""
    table, schema = CASES[name]()
    _, predictor = fitted(table, schema, tmp_path, max_steps=60)
    answers = predictor.predict(odd(table))
    assert (np.diff(answers["quantiles"], axis=-1) >= 0).all()
    np.testing.assert_array_equal(answers["prediction"], answers["quantiles"][..., 3])


def test_probabilities_are_probabilities(tmp_path):
    """They are in [0, 1] and sum to 1, whatever the row holds."""
    table, schema = classes(300)
    found = fitted(table, schema, tmp_path, max_steps=60)[1].predict(odd(table))["probabilities"]
    assert found.shape == (60, 3)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_level_never_seen_is_like_any_other(tmp_path):
    """Two unknown levels get one answer; an empty text is a missing one."""
    table, schema = numbers(300)
    _, predictor = fitted(table, schema, tmp_path, max_steps=60)
    rows = table.head(1).loc[[0] * 4].reset_index(drop=True)
    rows["cat"] = ["Ω", "zzz", "", None]
    answers = predictor.predict(rows)["prediction"]
    assert answers[0] == answers[1]
    assert answers[2] == answers[3]


def test_the_graph_takes_no_column_by_its_name(tmp_path):
    """Tensors are x0, x1, ... and y0, y1; a column called `cat` or `x0` does no harm."""
    import onnx

    table, schema = numbers(60)
    fitted(table, schema, tmp_path, max_steps=5)
    graph = onnx.load(tmp_path / "model" / "model.onnx").graph
    assert [tensor.name for tensor in graph.input] == [f"x{i}" for i in range(len(schema.inputs))]
    assert [tensor.name for tensor in graph.output] == ["y0", "y1"]


def test_a_missing_time_is_missing(tmp_path):
    """The smallest int64 means no time: the same as NaT in a table, and no overflow."""
    table, schema = numbers(200)
    prepared, _ = fitted(table, schema, tmp_path, max_steps=5)
    rows = table[table["born"].isna()].head(3)
    encoded = prepared.module.recipe.encode(rows)
    assert np.isnan(prepared.module.recipe.values(rows)[0][:, -3:]).all()
    assert MISSING_TIME < 0
    assert (encoded.code_NJ[:, -1] == 1).all()


def test_holdout_rows_are_not_learnt_from(tmp_path):
    """Changing every row of the holdout changes nothing of what is prepared."""
    table, schema = numbers(200)
    table.loc[150:, SPLIT] = "holdout"
    changed = table.copy()
    changed.loc[150:, ["価格", "__target"]] = 1e9
    weights = [
        fitted(t, schema, tmp_path / str(i), max_steps=20)[0].module.state_dict() for i, t in enumerate((table, changed))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
