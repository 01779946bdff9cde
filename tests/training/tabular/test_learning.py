"""What the tabular family learns, and what it refuses to try."""

import time

import numpy as np
import pandas as pd
import pytest

from data.errors import UserError
from data.schema import ROW_ID, SPLIT, TARGET, Column, TableSchema
from tests.training.tabular.tables import classes, fitted, hourly, numbers, series_of
from training.family import TrainSection, settings
from training.tabular import FAMILY
from training.tabular.data import FOLDS, rows_of


def prepare(table: pd.DataFrame, schema: TableSchema, **section):
    return FAMILY.prepare(table, schema, settings(FAMILY, TrainSection(**section)), 0)


def test_it_learns_numbers_and_says_how_sure_it_is(tmp_path):
    """On fresh rows the error is near the noise's, and the 80 % interval holds 75 to 87 % of the truth."""
    table, schema = numbers(2500)
    _, predictor = fitted(table, schema, tmp_path)
    fresh, _ = numbers(2000, seed=1)
    answers, truth = predictor.predict(fresh), fresh[TARGET].to_numpy()
    known = fresh[["cat", "価格", "count?"]].notna().all(axis=1).to_numpy()
    assert np.abs(answers["prediction"] - truth)[known].mean() < 0.30  # the noise alone is 0.24
    covered = (truth >= answers["quantiles"][:, 1]) & (truth <= answers["quantiles"][:, 5])
    assert 0.75 < covered.mean() < 0.87


def test_it_learns_classes_with_honest_probabilities(tmp_path):
    """On fresh rows most labels are right, and the mean confidence is the share that is right, to 5 points."""
    table, schema = classes(2500)
    _, predictor = fitted(table, schema, tmp_path)
    fresh, _ = classes(2000, seed=1)
    found = predictor.predict(fresh)["probabilities"]
    right = np.array(schema.classes, dtype=object)[found.argmax(axis=1)] == fresh[TARGET].to_numpy()
    assert right.mean() > 0.8
    assert abs(found.max(axis=1).mean() - right.mean()) < 0.05


@pytest.mark.parametrize("proportional", [False, True])
def test_a_level_never_seen_is_forecast(proportional, tmp_path):
    """A series that doubles after training is forecast as well as before: the level is taken out, not learnt."""
    table, schema = series_of(hourly(60, grows=0.1, proportional=proportional))
    _, predictor = fitted(table, schema, tmp_path)
    holdout = table[table[SPLIT] == "holdout"]
    truth = holdout[list(schema.targets)].to_numpy(float)
    naive = np.abs(holdout["__seasonal-naive_h24"].to_numpy(float) - truth[:, 1]).mean()
    error = np.abs(predictor.predict(holdout)["prediction"] - truth).mean(axis=0)
    assert error[1] < naive
    assert truth.max() > 1.1 * table.loc[table[SPLIT] == "train", "__target_h1"].max()


def test_no_member_learns_what_it_is_judged_by():
    """Of a series, no row that a member learns from has its truth within a horizon of one it leaves out; of any table, none is both."""
    table, schema = series_of(hourly(90))
    rows = rows_of(table, schema, 4, 0)
    train = table[table[SPLIT] == "train"].reset_index(drop=True)
    hours = train["__time"].astype("int64").to_numpy() // 3_600_000_000
    keep = rows.tensors[5].numpy()
    for member, left_out in enumerate(rows.left_out_KM.numpy()):
        learnt, judged = np.unique(hours[keep[:, member] > 0]), np.unique(hours[left_out])
        assert np.abs(learnt[:, None] - judged).min() > 23
        assert keep[:, member].mean() > 0.6
    for made in (numbers(100), classes(100)):
        rows = rows_of(*made, FOLDS, 0)
        assert all(rows.tensors[5][left_out, member].max() == 0 for member, left_out in enumerate(rows.left_out_KM))


@pytest.mark.parametrize("make", [numbers, classes])
def test_thirty_rows_are_enough(make, tmp_path):
    """Very few rows give a model, not a crash, and its answers are finite."""
    table, schema = make(30)
    answers = fitted(table, schema, tmp_path, max_steps=50)[1].predict(make(50, seed=2)[0])
    assert all(np.isfinite(values).all() for values in answers.values())


def test_rare_classes_are_kept(tmp_path):
    """A class of one row among 500 has a probability of its own."""
    table, schema = classes(500)
    table.loc[0, TARGET] = "selten"
    schema = schema.model_copy(update={"classes": (*schema.classes, "selten")})
    assert fitted(table, schema, tmp_path, max_steps=30)[1].predict(table)["probabilities"].shape == (500, 4)


def test_a_target_of_one_value_is_refused():
    """A number that never varies is named, and so is what to do."""
    table, schema = numbers(60)
    with pytest.raises(UserError, match="is 4 in every train row"):
        prepare(table.assign(**{TARGET: 4.0}), schema)


def test_inputs_of_one_value_are_refused():
    """A table whose inputs never vary has nothing to learn from."""
    table, _ = numbers(60)
    inputs = (Column(name="always", kind="number"), Column(name="never", kind="number", nullable=True))
    with pytest.raises(UserError, match="one value only"):
        prepare(table, TableSchema(task="regression", target="y", inputs=inputs))


def test_too_few_rows_are_refused():
    """Seven rows are counted and refused."""
    with pytest.raises(UserError, match="7 train rows"):
        prepare(*numbers(7))


def test_many_levels_are_bounded():
    """A category of 20,000 levels costs a bounded table; levels seen once count as never seen."""
    rows = 30_000
    rng = np.random.default_rng(0)
    table, _ = numbers(rows)
    table["id"] = [f"u{n}" for n in rng.integers(0, 20_000, rows)]
    table["once"] = [f"r{n}" for n in range(rows)]
    inputs = (
        Column(name="id", kind="category"),
        Column(name="once", kind="category"),
        Column(name="価格", kind="number", nullable=True),
    )
    module = prepare(table, TableSchema(task="regression", target="y", inputs=inputs)).module
    assert [len(levels) for _, levels in module.recipe.categories] == [4096, 0]
    assert sum(p.numel() for p in module.net.parameters()) < 60_000


def test_a_year_seen_twice_is_no_season():
    """The day of the year is read only where at least three years were seen."""
    table, schema = series_of(hourly(60))
    assert not rows_of(table, schema, 4, 0).recipe.years
    born = numbers(200)
    assert [clock.column for clock in rows_of(*born, 4, 0).recipe.years] == ["born"]


@pytest.mark.slow
def test_a_large_table_is_quick(tmp_path):
    """100,000 rows x 50 columns are prepared, fitted at tiny and exported within a minute."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(100_000, 50))
    table = pd.DataFrame(values, columns=[f"n{i}" for i in range(50)])
    table[TARGET] = values[:, 0] + np.abs(values[:, 1]) + rng.normal(size=100_000)
    table[ROW_ID], table[SPLIT] = np.arange(100_000), "train"
    inputs = tuple(Column(name=f"n{i}", kind="number") for i in range(50))
    started = time.perf_counter()
    fitted(table, TableSchema(task="regression", target="y", inputs=inputs), tmp_path)
    assert time.perf_counter() - started < 60
