import json
import time

import numpy as np
import pandas as pd
import pytest

from data.errors import UserError
from data.schema import ROW_ID, SPLIT, TARGET, TIME, Column, TableSchema
from tests.training import exported
from training.evaluate import (
    compare_on_frozen,
    compare_with_baseline,
    compare_with_champion,
    evaluate,
    losses_of,
    read_losses,
)
from training.holdout import gate_window
from training.promote import PromoteSection

X = Column(name="x", kind="number")
RULES = PromoteSection()


def numbers(rows: int = 400, *, noise: float = 0.5) -> tuple[pd.DataFrame, TableSchema]:
    """y = x + noise, a quarter of it held out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    table = pd.DataFrame(
        {ROW_ID: np.arange(rows) * 7, "x": x, "kind": np.where(x > 0, "up", "down"), TARGET: x + noise * rng.normal(size=rows)}
    )
    table[SPLIT] = np.where(np.arange(rows) % 4 == 0, "holdout", "train")
    return table.sample(frac=1, random_state=1), TableSchema(task="regression", target="y", inputs=(X,))


def series(rows: int = 400, horizons: tuple[int, ...] = (4, 52)) -> tuple[pd.DataFrame, TableSchema]:
    """A drifting series: x is a good guess at every horizon, persistence a worse one, seasonal-naive mostly unknown."""
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=rows))
    table = pd.DataFrame(
        {ROW_ID: np.arange(rows), TIME: pd.date_range("2020", periods=rows, freq="h", tz="UTC").as_unit("us"), "x": x}
    )
    for horizon in horizons:
        table[f"{TARGET}_h{horizon}"] = x + horizon**0.5 * 0.1 * rng.normal(size=rows)
        table[f"__persistence_h{horizon}"] = x + horizon**0.5 * 0.3 * rng.normal(size=rows)
        table[f"__seasonal-naive_h{horizon}"] = np.nan
    table[SPLIT] = np.where(np.arange(rows) < rows * 3 // 4, "train", "holdout")
    targets = tuple(f"{TARGET}_h{horizon}" for horizon in horizons)
    schema = TableSchema(
        task="forecasting", target="y", inputs=(X,), targets=targets, horizons=horizons, step_seconds=3600, time="t"
    )
    return table, schema


def labels(rows: int = 400, *, series: bool = False) -> tuple[pd.DataFrame, TableSchema]:
    """Two classes whose log-odds are 3x; as a series, beside the last label."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    truth = np.where(rng.random(rows) < 1 / (1 + np.exp(-3 * x)), "b", "a")
    target = f"{TARGET}_h1" if series else TARGET
    table = pd.DataFrame({ROW_ID: np.arange(rows), "x": x, target: truth, "__persistence_h1": np.roll(truth, 1)})
    table[SPLIT] = np.where(np.arange(rows) < rows // 2, "train", "holdout")
    more = {"targets": (target,), "horizons": (1,), "step_seconds": 60} if series else {}
    return table, TableSchema(task="classification", target="y", inputs=(X,), classes=("a", "b"), **more)


def test_scores_are_of_the_holdout_alone(tmp_path):
    """The score of a perfect rule is the noise of the holdout rows, and the train rows are not asked about."""
    table, schema = numbers()
    table.loc[table[SPLIT] == "train", "x"] = np.nan
    scores = evaluate(exported.regression(tmp_path / "m"), table, schema, RULES, tmp_path / "out", pictures=False)
    held = table[table[SPLIT] == "holdout"]
    assert scores.tree["holdout"]["rows"] == 100
    assert scores.tree["holdout"]["candidate"]["mae"] == pytest.approx((held[TARGET] - held["x"]).abs().mean(), rel=1e-5)


def test_the_files_are_written_and_readable(tmp_path):
    """scores.json, losses.parquet, predictions.parquet and pictures lie in the folder and agree with what is returned."""
    table, schema = series()
    scores = evaluate(exported.forecast(tmp_path / "m", (4, 52)), table, schema, RULES, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == scores.tree
    losses = read_losses(tmp_path / "out")
    assert len(losses) == 100
    assert {"candidate/mae", "candidate/mae/h4", "candidate/pinball/h52", "persistence/mae", "persistence/mae/h52"} < set(
        losses.columns
    )
    drawn = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert set(drawn["horizon"]) == {4, 52}
    assert drawn["time"].min() == table[TIME].iloc[300] + pd.Timedelta(hours=4)
    assert {f.name for f in (tmp_path / "out").glob("*.png")} == {"forecast.png", "errors.png"}


def test_horizons_are_scored_one_by_one_and_together(tmp_path):
    """A forecast has metrics over all horizons and of each, for the model and for the baseline."""
    table, schema = series()
    holdout = evaluate(exported.forecast(tmp_path / "m", (4, 52)), table, schema, RULES, tmp_path / "out").tree["holdout"]
    for who in ("candidate", "baseline"):
        assert holdout[who]["mae"] == pytest.approx((holdout[who]["h4"]["mae"] + holdout[who]["h52"]["mae"]) / 2, rel=1e-4)
    assert set(holdout["candidate"]["h4"]) == {"mae", "rmse", "pinball", "coverage_80"}


def test_the_strongest_baseline_is_chosen_on_the_same_rows(tmp_path):
    """`auto` takes the baseline with the least loss; one that is unknown on most rows is passed over."""
    table, schema = series()
    tree = evaluate(exported.forecast(tmp_path / "m", (4, 52)), table, schema, RULES, tmp_path / "out").tree
    assert tree["baseline"] == "persistence"
    assert set(tree["baselines"]) == {"persistence"}
    table, schema = numbers()
    table[TARGET] = np.exp(2 * table[TARGET])
    assert (
        evaluate(exported.regression(tmp_path / "r"), table, schema, RULES, tmp_path / "o", pictures=False).tree["baseline"]
        == "median"
    )
    mean = PromoteSection(baseline="mean")
    assert (
        evaluate(exported.regression(tmp_path / "r"), table, schema, mean, tmp_path / "o", pictures=False).tree["baseline"]
        == "mean"
    )


def test_a_baseline_that_nobody_knows_is_an_error(tmp_path):
    """Where the declared baseline has no values, the message says so instead of scoring against nothing."""
    table, schema = series()
    with pytest.raises(UserError, match="seasonal-naive"):
        evaluate(
            exported.forecast(tmp_path / "m", (4, 52)),
            table,
            schema,
            PromoteSection(baseline="seasonal-naive"),
            tmp_path / "out",
        )


def test_rows_without_a_baseline_are_left_out_for_both(tmp_path):
    """Model and baseline are scored on the very same rows."""
    table, schema = series()
    table.loc[table.index[-10:], "__persistence_h4"] = np.nan
    scores = evaluate(exported.forecast(tmp_path / "m", (4, 52)), table, schema, RULES, tmp_path / "out")
    assert scores.tree["holdout"]["rows"] == scores.comparison.n == 90


def test_the_newest_window_and_slices(tmp_path):
    """The newest window is the declared share of the rows by time; slices hold the rows that obey every rule."""
    table, schema = series()
    table["day"] = np.where(table[TIME].dt.dayofweek >= 5, "weekend", "week")
    rules = PromoteSection(
        newest=0.2,
        slices={"high": {"x": {"min": 0.0}}, "weekends": {"day": "weekend"}, "both": {"day": ["week"], "x": {"max": 0.0}}},
    )
    tree = evaluate(exported.forecast(tmp_path / "m", (4, 52)), table, schema, rules, tmp_path / "out").tree
    held = table[table[SPLIT] == "holdout"]
    assert tree["newest"]["rows"] == 20
    assert tree["high"]["rows"] == (held["x"] >= 0).sum()
    assert tree["weekends"]["rows"] == (held["day"] == "weekend").sum()
    assert tree["both"]["rows"] == ((held["day"] == "week") & (held["x"] < 0)).sum()


def test_a_slice_of_an_unknown_column_is_an_error(tmp_path):
    """A slice that names no column of the features is refused by name."""
    table, schema = numbers()
    with pytest.raises(UserError, match=r"slices\.winter"):
        evaluate(
            exported.regression(tmp_path / "m"),
            table,
            schema,
            PromoteSection(slices={"winter": {"season": 1}}),
            tmp_path / "out",
        )


def test_classes_beat_their_shares(tmp_path):
    """A classifier is scored beside the classes' shares, by log loss, with everything a person asks for."""
    table, schema = labels()
    tree = evaluate(exported.classification(tmp_path / "m", sharpness=3.0), table, schema, RULES, tmp_path / "out").tree
    assert (tree["metric"], tree["baseline"]) == ("log_loss", "majority")
    assert set(tree["holdout"]["candidate"]) == {"accuracy", "balanced_accuracy", "log_loss", "brier", "ece", "auc"}
    assert tree["holdout"]["candidate"]["log_loss"] < tree["holdout"]["baseline"]["log_loss"]
    assert (tmp_path / "out" / "classes.png").is_file()


def test_a_series_of_classes_is_held_against_the_last_label(tmp_path):
    """For a series of classes the baseline repeats the last label, with the share of train rows on which that was right."""
    table, schema = labels(series=True)
    tree = evaluate(
        exported.classification(tmp_path / "m", sharpness=3.0), table, schema, RULES, tmp_path / "out", pictures=False
    ).tree
    held = table[table[SPLIT] == "holdout"]
    assert (tree["metric"], tree["baseline"]) == ("accuracy", "persistence")
    assert tree["holdout"]["baseline"]["accuracy"] == pytest.approx(
        (held["__persistence_h1"] == held[f"{TARGET}_h1"]).mean(), rel=1e-5
    )


def test_no_holdout_is_an_error(tmp_path):
    """Without a holdout row there is nothing to say, and that is said."""
    table, schema = numbers()
    table[SPLIT] = "train"
    with pytest.raises(UserError, match="no holdout rows"):
        evaluate(exported.regression(tmp_path / "m"), table, schema, RULES, tmp_path / "out", pictures=False)


def test_the_stored_losses_give_the_same_comparison(tmp_path):
    """The gate's comparison with the baseline, made from the stored losses, is the one that was scored."""
    table, schema = series()
    scores = evaluate(exported.forecast(tmp_path / "m", (4, 52)), table, schema, RULES, tmp_path / "out")
    held = table[table[SPLIT] == "holdout"]
    assert compare_with_baseline(read_losses(tmp_path / "out"), held, schema, RULES) == scores.comparison
    assert scores.comparison.against == "persistence"


def test_a_champion_is_asked_on_the_same_rows(tmp_path):
    """A candidate against itself differs by nothing on every window and horizon; against a worse one it is better on all."""
    table, schema = series()
    good, bad = exported.forecast(tmp_path / "m", (4, 52)), exported.forecast(tmp_path / "bad", (4, 52), bias=3.0)
    rules = PromoteSection(slices={"some": {"x": {"max": 0.0}}})
    evaluate(good, table, schema, rules, tmp_path / "out", pictures=False)
    losses = read_losses(tmp_path / "out")
    same = compare_with_champion(losses, losses_of(good, table, schema), table, schema, rules)
    assert [c.window for c in same] == ["holdout", "newest", "some", "4 steps ahead", "52 steps ahead"]
    assert all(c.difference == c.low == c.high == 0 for c in same)
    assert all(c.high < 0 for c in compare_with_champion(losses, losses_of(bad, table, schema), table, schema, rules))


def test_a_champion_of_another_shape_is_refused(tmp_path):
    """A champion that answers other horizons, or reads a column that is gone, cannot be scored, and the message says why."""
    table, schema = series()
    with pytest.raises(UserError, match="cannot be compared"):
        losses_of(exported.forecast(tmp_path / "m", (4,)), table, schema)
    with pytest.raises(UserError, match="lacks: x"):
        losses_of(exported.forecast(tmp_path / "n", (4, 52)), table.drop(columns="x"), schema)


def test_an_empty_window_is_not_sound(tmp_path):
    """A declared slice without rows gives a comparison that the gate cannot take for a pass."""
    table, schema = numbers()
    model, rules = exported.regression(tmp_path / "m"), PromoteSection(slices={"none": {"x": {"min": 1e9}}})
    tree = evaluate(model, table, schema, rules, tmp_path / "out", pictures=False).tree
    assert tree["none"] == {"rows": 0}
    found = compare_with_champion(read_losses(tmp_path / "out"), losses_of(model, table, schema), table, schema, rules)
    assert [(c.window, c.sound) for c in found] == [("holdout", True), ("none", False)]


def test_a_hundred_thousand_rows_are_quick(tmp_path):
    """100,000 holdout rows are scored and compared in seconds, and the table to draw stays small."""
    table, schema = numbers(400_000)
    started = time.process_time()
    evaluate(exported.regression(tmp_path / "m"), table, schema, RULES, tmp_path / "out", pictures=False)
    assert time.process_time() - started < 10
    assert len(pd.read_parquet(tmp_path / "out" / "predictions.parquet")) == 10_000


def test_frozen_rows_are_scored_apart(tmp_path):
    """Frozen rows change no score of the holdout; they have a window of their own, and the comparison on them is of them alone."""
    table, schema = series()
    good, bad = exported.forecast(tmp_path / "m", (4, 52)), exported.forecast(tmp_path / "bad", (4, 52), bias=3.0)
    plain = evaluate(good, table, schema, RULES, tmp_path / "plain", pictures=False).tree
    table.loc[table.index[50:80], SPLIT] = "frozen"
    tree = evaluate(good, table, schema, RULES, tmp_path / "out", pictures=False).tree
    assert {name: value for name, value in tree.items() if name != "frozen"} == plain
    assert tree["frozen"]["rows"] == 30
    ours, theirs = losses_of(good, table, schema, "frozen"), losses_of(bad, table, schema, "frozen")
    found = compare_on_frozen(ours, theirs, table, schema, RULES)
    assert (found.window, found.n, found.candidate) == (
        "frozen",
        30,
        pytest.approx(tree["frozen"]["candidate"]["mae"], rel=1e-5),
    )
    assert found.high < 0


def test_the_gate_window_spans_the_truth_of_the_holdout():
    """From the first truth of the first held-out row to the end of the last truth of the last; none without time."""
    table, schema = series()
    held = table.loc[table[SPLIT] == "holdout", TIME]
    hour = pd.Timedelta(hours=1)
    assert gate_window(table, schema) == (held.min() + 4 * hour, held.max() + 53 * hour)
    assert gate_window(*numbers()) is None
