"""Features: what training sees is what serving sees, nothing leaks from the future, no row is lost."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data import examples, features
from data.errors import UserError
from data.schema import SPLIT, TIME
from data.section import DataSection, FeaturesSection

SHOPS = DataSection(
    source="x",
    target="sales",
    time="day",
    entity="shop",
    step="1d",
    columns={"day": "time", "shop": "category", "sales": "number?", "open": "boolean", "weather": "category?"},
)
AHEAD = FeaturesSection(horizons=(1, 7), season=7, history=("weather",), known=("open",))


def shops(days: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    time = pd.date_range("2024-01-01", periods=days, freq="D", tz="UTC").as_unit("us")
    parts = [
        pd.DataFrame(
            {
                "day": time,
                "shop": shop,
                "sales": rng.normal(level, 3, days),
                "open": rng.random(days) < 0.9,
                "weather": rng.choice(np.array(["sun", "rain", None], dtype=object), days),
            }
        )
        for shop, level in (("nord", 50), ("süd", 20))
    ]
    table = pd.concat(parts, ignore_index=True)
    table.loc[table.index.isin([5, 40, 41]), "sales"] = np.nan
    return table[~table.index.isin([60, 61])].reset_index(drop=True)


def test_a_change_in_the_future_changes_no_feature():
    """Every value after t may change; what the model is shown at t stays."""
    table = shops()
    cut = pd.Timestamp("2024-03-15", tz="UTC")
    changed = table.copy()
    later = changed["day"] > cut
    changed.loc[later, "sales"] = 1e6
    changed.loc[later, "weather"] = "storm"
    one, two = (examples.make(t, "forecasting", SHOPS, AHEAD) for t in (table, changed))
    names = list(one.schema.stored)
    before = one.stored[TIME] <= cut
    pd.testing.assert_frame_equal(one.stored.loc[before, names], two.stored.loc[before, names])
    assert not one.stored.loc[~before, names].equals(two.stored.loc[~before, names])


@pytest.mark.slow
def test_training_and_serving_see_the_same(tmp_path: Path):
    """The online store's row of an entity equals the joined table's at the same time, value for value, and so do a later row's."""
    table = shops()
    folder = tmp_path / "features"
    schema = features.build("shops", table, "forecasting", SHOPS, AHEAD, folder, tmp_path)
    joined = pd.read_parquet(folder / "table.parquet")
    plain = examples.make(table, "forecasting", SHOPS, AHEAD).table
    pd.testing.assert_frame_equal(joined, plain[joined.columns], check_dtype=False)
    last = joined.sort_values(TIME).groupby("shop").tail(1).set_index("shop")
    view = pd.read_parquet(folder / "view.parquet")
    view[view[TIME] <= last[TIME].min()].to_parquet(folder / "view.parquet", index=False)
    assert features.publish("shops", folder, tmp_path)
    assert not features.publish("shops", folder, tmp_path)
    for shop, row in zip(("nord", "süd"), features.online("shops", folder, tmp_path, ["nord", "süd"]), strict=True):
        offline = last.loc[shop]
        assert set(row) == set(schema.stored)
        for name, value in row.items():
            expected = offline[name]
            missing = expected is None or expected != expected
            assert (value is None or value != value) if missing else value == expected


@pytest.mark.slow
def test_the_join_keeps_every_row(tmp_path: Path):
    """No example is lost or doubled on the way through Feast, also where an entity has no earlier value."""
    table = shops(400)
    folder = tmp_path / "features"
    features.build("shops", table, "forecasting", SHOPS, AHEAD, folder, tmp_path)
    assert len(pd.read_parquet(folder / "table.parquet")) == len(examples.make(table, "forecasting", SHOPS, AHEAD).table)


@pytest.mark.slow
def test_the_sorted_join_is_feasts_own(tmp_path: Path):
    """The join that does not grow with the square gives what Feast's own gives: newest at or before, by entity, unknown ones empty."""
    table = shops(60)
    folder = tmp_path / "features"
    schema = features.build("shops", table, "forecasting", SHOPS, AHEAD, folder, tmp_path)
    view = pd.read_parquet(folder / "view.parquet")
    asked = pd.DataFrame(
        {
            "entity": ["nord", "süd", "nobody"] * 20,
            "event_timestamp": view[TIME].iloc[:60] + pd.Timedelta("7h"),
            "row": range(60),
        }
    )
    names = [f"{features.VIEW}:{name}" for name in features._feast_names(schema)]
    with features._feast("shops", schema, folder, tmp_path) as store:
        theirs = store.get_historical_features(asked, names).to_df()
        with features._asof_join():
            ours = store.get_historical_features(asked, names).to_df()
    theirs, ours = (found.sort_values("row", ignore_index=True) for found in (theirs, ours))
    pd.testing.assert_frame_equal(ours, theirs[ours.columns], check_dtype=False)
    assert ours[ours["entity"] == "nobody"].iloc[:, 3:].isna().all(axis=None)


def test_without_an_entity_feast_is_not_imported(tmp_path: Path):
    """A table without an entity is the identity, and a series without one is completed from its newest row."""
    code = f"""
import sys, pandas as pd
from pathlib import Path
from data import features
from data.section import DataSection, FeaturesSection
df = pd.DataFrame({{"a": range(60), "y": [float(i % 7) for i in range(60)]}})
data = DataSection(source="x", target="y", columns={{"a": "integer", "y": "number"}})
folder, home = Path({str(tmp_path)!r}) / "f", Path({str(tmp_path)!r})
features.build("plain", df, "regression", data, FeaturesSection(), folder, home)
assert not features.publish("plain", folder, home)
df = pd.DataFrame({{"t": pd.date_range("2024-01-01", periods=90, freq="D", tz="UTC").as_unit("us"), "y": [float(i % 7) for i in range(90)]}})
data = DataSection(source="x", target="y", time="t", step="1d", columns={{"t": "time", "y": "number"}})
features.build("river", df, "forecasting", data, FeaturesSection(horizons=(1,), season=7), folder, home)
assert features.publish("river", folder, home)
print((home / "features" / "river" / "latest.json").is_file(), "feast" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_a_row_of_the_holdout_is_never_trained_on():
    """No training example's truth lies at or after the first holdout time."""
    table = examples.make(shops(), "forecasting", SHOPS, AHEAD).table
    begins = table.loc[table[SPLIT] == "holdout", TIME].min()
    assert (table.loc[table[SPLIT] == "train", TIME] + pd.Timedelta(days=7) < begins).all()


def test_known_columns_are_those_of_the_targets_time():
    """A column that is known ahead is shown with the value that it has at the target's own time."""
    table = shops()
    made = examples.make(table, "forecasting", SHOPS, AHEAD).table
    at = table.set_index(["shop", "day"])["open"]
    row = made.iloc[17]
    assert row["open_h7"] == at[row["shop"], row[TIME] + pd.Timedelta(days=7)]
    assert made["open_h1"].dtype == bool


def test_an_entity_that_repeats_needs_a_time():
    """Without a time column, two rows of one entity are an error that says so."""
    data = DataSection(source="x", target="y", entity="id", columns={"id": "category", "a": "number", "y": "number"})
    table = pd.DataFrame({"id": ["p", "p", "q"], "a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]})
    with pytest.raises(UserError, match="'id' repeats"):
        examples.make(table, "regression", data, FeaturesSection())


def test_too_few_rows_are_told():
    """A series that is shorter than its horizons leaves nothing to train on, and the error says what to change."""
    with pytest.raises(UserError, match="rows are left for"):
        examples.make(shops(9), "forecasting", SHOPS, AHEAD)
