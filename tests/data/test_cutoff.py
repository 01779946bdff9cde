"""How far a retrain's data go: nothing of the future is learnt, and without a cutoff nothing is other than it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from data import cutoff, examples, labels, prepare, sources
from data.cutoff import Cutoff
from data.errors import UserError
from data.places import Places
from data.schema import SPLIT, TIME
from data.section import DataSection, FeaturesSection
from data.split import FROZEN, HOLDOUT, NEITHER, TRAIN, by_order, by_window

DAY = 86_400
START = datetime(2020, 1, 1, tzinfo=UTC)


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def times(days: list[int]) -> pd.Series:
    return pd.Series(pd.Timestamp(START) + pd.to_timedelta(days, "D"))


windows = st.tuples(st.integers(0, 300), st.integers(1, 200)).map(lambda w: (at(w[0]), at(w[0] + w[1])))


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=150),
    windows,
    st.lists(st.integers(0, 60), min_size=1, max_size=3),
    st.integers(0, 20),
    st.none() | windows,
)
def test_no_truth_that_judges_was_learnt(days, gate, reaches, delay, frozen):
    """Each training row's whole truth was known before the gate window; no truth of a holdout or frozen row is one of a training row."""
    begins, until = gate
    side = by_window(times(days), begins, until, [reach * DAY for reach in reaches], delay * DAY, frozen)
    assert set(side) <= {TRAIN, HOLDOUT, FROZEN, NEITHER}
    truths = [{at(day + reach) for reach in reaches} for day in days]
    learnt = [one for one, where in zip(truths, side, strict=True) if where == TRAIN]
    assert all(max(one) + timedelta(days=delay) < begins for one in learnt)
    judging = [one for one, where in zip(truths, side, strict=True) if where in {HOLDOUT, FROZEN}]
    assert not set().union(*learnt) & set().union(*judging)
    for one, where in zip(truths, side, strict=True):
        assert (where == HOLDOUT) == all(begins <= truth < until for truth in one)
        if where == FROZEN:
            assert frozen is not None
            assert all(frozen[0] <= truth < frozen[1] for truth in one)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=100), windows, st.integers(0, 60))
def test_frozen_rows_are_given_back(days, gate, reach):
    """Without a frozen range the rows that it kept are for training again, where they were known before the window."""
    begins, until = gate
    frozen = (at(10), at(90))
    kept = by_window(times(days), begins, until, [reach * DAY], 0, frozen)
    plain = by_window(times(days), begins, until, [reach * DAY])
    assert set(plain[kept == FROZEN]) <= {TRAIN, NEITHER}
    assert set(plain[kept == TRAIN]) <= {TRAIN}
    assert ((plain == HOLDOUT) == (kept == HOLDOUT)).all()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50), st.integers(1, 20))
def test_without_time_the_last_rows_judge_and_nothing_of_them_is_learnt(values, rows):
    """The last rows of the table are the holdout, and no training row repeats one of them."""
    side = by_order(pd.DataFrame({"a": values}), rows)
    last = min(rows, len(values))
    assert (side[len(values) - last :] == HOLDOUT).all()
    assert not (side[: len(values) - last] == HOLDOUT).any()
    assert not set(np.array(values)[side == TRAIN]) & set(np.array(values)[side == HOLDOUT])


SHOP = DataSection(
    source="x.csv", target="sold", time="day", step="1d", columns={"day": "time", "sold": "number?"}, label_delay="2d"
)
AHEAD = FeaturesSection(horizons=(1, 7), season=7)


def shop(days: int = 200) -> pd.DataFrame:
    return pd.DataFrame(
        {"day": times(list(range(days))).dt.as_unit("us"), "sold": np.sin(np.arange(days)) + np.arange(days) / 50}
    )


def test_a_series_is_split_at_the_window():
    """Of the examples of a series, those are held out whose every horizon lies in the window; training ends before it with the delay."""
    made = examples.make(shop(), "forecasting", SHOP, AHEAD, Cutoff(until=at(200), window_s=30 * DAY)).table
    side = {name: part[TIME] for name, part in made.groupby(SPLIT)}
    assert (side[HOLDOUT].min(), side[HOLDOUT].max()) == (at(169), at(192))
    assert side[TRAIN].max() == at(160)  # 160 + 7 ahead + 2 of delay < 170
    kept = Cutoff(until=at(200), window_s=30 * DAY, frozen=(at(100), at(120)))
    frozen = examples.make(shop(), "forecasting", SHOP, AHEAD, kept).table
    assert sorted(frozen.loc[frozen[SPLIT] == FROZEN, TIME]) == [
        at(day) for day in range(99, 113) if day + 1 >= 100 and day + 7 < 120
    ]


def test_a_window_may_count_rows():
    """The newest rows of a table are the window, where it counts rows."""
    data = DataSection(source="x.csv", target="sold", time="day", columns={"day": "time", "sold": "number?"})
    made = examples.make(shop(), "regression", data, FeaturesSection(), Cutoff(until=at(200), window_rows=40)).table
    assert (made[SPLIT] == HOLDOUT).sum() == 40
    assert made.loc[made[SPLIT] == TRAIN, TIME].max() < at(160)


def test_a_window_without_examples_says_so():
    """A window that is shorter than the horizons are apart holds nothing to judge on, and the message names the cutoff."""
    with pytest.raises(UserError, match="0 rows are left for the holdout") as raised:
        examples.make(shop(), "forecasting", SHOP, AHEAD, Cutoff(until=at(200), window_s=5 * DAY))
    assert "it must span the horizons" in str(raised.value)


def test_the_rows_end_at_the_cutoff():
    """A cutoff ends the rows, not with it, in the place of data.until."""
    data = SHOP.model_copy(update={"until": at(50).date()})
    raw = shop().astype(str)
    assert prepare.prepare(raw, data)["day"].max() == at(49)
    cut = Cutoff(until=at(120), window_s=30 * DAY)
    assert prepare.prepare(raw, data, cut)["day"].max() == at(119)


def table_of(days: list[int], values: list[object], entity: str | None = None) -> pa.Table:
    when = pa.array([at(day) for day in days], pa.timestamp("us", "UTC"))
    return pa.table({"entity": pa.array([entity] * len(days), pa.string()), "time": when, "value": values})


def test_a_label_is_a_whole_row_where_rows_are_nothing_else():
    """Rows of the source up to data.until, then labels; the last of two labels of one time is the truth."""
    data = SHOP.model_copy(update={"until": at(5).date()})
    joined = labels.join(shop(20), table_of([4, 5, 6, 6], [40.0, 50.0, 1.0, 60.0]), data)
    assert list(joined["day"]) == [at(day) for day in range(7)]
    assert list(joined["sold"])[4:] == [40, 50, 60]
    assert list(joined.columns) == ["day", "sold"]


def test_a_label_fills_the_target_of_its_row():
    """Where rows hold more, a label replaces or fills the target of the row of its entity and time; others stay as they are."""
    data = DataSection(
        source="x.csv",
        target="up",
        time="day",
        entity="shop",
        columns={"day": "time", "shop": "category", "price": "number", "up": "category?"},
    )
    rows = pd.DataFrame(
        {"day": times([1, 2, 1]).dt.as_unit("us"), "shop": ["a", "a", "b"], "price": [1.0, 2, 3], "up": ["0", None, "0"]}
    )
    joined = labels.join(rows, table_of([1, 2, 9], ["1", "1", "1"], "a"), data)
    assert list(joined["up"]) == ["1", "1", "0"]
    assert list(joined["price"]) == [1, 2, 3]


def test_a_label_without_an_entity_is_of_the_only_one():
    """Where the table has one entity, a label need not name it; where it has several, a label that names none is of no row."""
    data = SHOP.model_copy(update={"columns": SHOP.columns | {"shop": "category"}, "entity": "shop"})
    one = shop(3).assign(shop="a")
    assert list(labels.join(one, table_of([2, 3], [9.0, 8.0], ""), data)["shop"]) == ["a"] * 4
    both = pd.concat([one, shop(3).assign(shop="b")], ignore_index=True)
    assert len(labels.join(both, table_of([2, 3], [9.0, 8.0], ""), data)) == 6


def test_labels_of_another_kind_are_refused():
    """A label that is no number cannot become the target of a row of numbers."""
    with pytest.raises(UserError, match="labels of 'sold'"):
        labels.join(shop(20), table_of([4], ["broken"]), SHOP)


def test_the_dataset_carries_the_cutoff_and_is_as_ever_without(tmp_path: Path):
    """The dataset says which cutoff made it; without one its bytes are those of a table that knows nothing of cutoffs."""
    cut = Cutoff(until=at(120), window_s=DAY, frozen=(at(1), at(2)))
    prepare.write(shop(), tmp_path / "with.parquet", cutoff.metadata(cut))
    prepare.write(shop(), tmp_path / "without.parquet", cutoff.metadata(None))
    assert cutoff.in_dataset(tmp_path / "with.parquet") == cut
    assert cutoff.in_dataset(tmp_path / "without.parquet") is None
    assert pq.read_schema(tmp_path / "without.parquet").metadata is None


def test_the_file_is_read_as_it_was_written(tmp_path: Path):
    """What is kept is what was asked, in UTC; a reason alone changes nothing that decides; a broken file is named."""
    places = Places(root=tmp_path, home=tmp_path / "home")
    assert cutoff.read(places, "w") is None
    cut = Cutoff(until=datetime.fromisoformat("2020-05-01T02:00+02:00"), window_s=DAY, reason="windows 7 and 8", sequence=12)
    cutoff.write(places, "w", cut)
    assert cutoff.read(places, "w") == cut
    assert json.loads(cutoff.file(places, "w").read_text())["until"] == "2020-05-01T00:00:00Z"
    assert cutoff.applied(places, "w") == cut.model_copy(update={"reason": "", "sequence": None})
    cutoff.file(places, "w").write_text("{}")
    with pytest.raises(UserError, match=r"no cutoff: until"):
        cutoff.read(places, "w")
    cutoff.write(places, "w", cut)
    assert cutoff.read(places, "w") == cut


def test_labels_are_part_of_what_decides(tmp_path: Path):
    """The hash of the labels stands beside the cutoff; labels that are missing or were changed since are refused."""
    places = Places(root=tmp_path, home=tmp_path / "home")
    cutoff.write(places, "w", Cutoff(until=at(1), window_s=DAY, labels=True))
    with pytest.raises(UserError, match="labels that are not there"):
        cutoff.applied(places, "w")
    path = cutoff.labels_file(places, "w")
    pq.write_table(table_of([1], [1.0]), path)
    found = cutoff.applied(places, "w")
    assert found is not None
    assert found.labels_sha256 is not None
    assert labels.read(path, found.labels_sha256).num_rows == 1
    pq.write_table(table_of([2], [1.0]), path)
    with pytest.raises(UserError, match="changed while"):
        labels.read(path, found.labels_sha256)


@pytest.mark.parametrize(
    "wrong", [{}, {"window_s": 1, "window_rows": 1}, {"window_s": 0}, {"window_s": 1, "frozen": (at(2), at(1))}]
)
def test_a_cutoff_that_cannot_be_meant_is_refused(wrong):
    """One window, longer than nothing, and a frozen range that has an inside."""
    with pytest.raises(ValidationError):
        Cutoff(until=at(3), **wrong)


def test_co2_up_to_1975():
    """Cut off at 1975-01-01, co2 ends there, its holdout is the window and nothing in the window was learnt."""
    root = Path(__file__).parents[2]
    found = yaml.safe_load((root / "orchestration" / "workloads" / "co2" / "defs.yaml").read_text())["attributes"]
    data, features = DataSection(**found["data"]), FeaturesSection(**found["features"])
    places, until = Places(root=root, home=root / ".aiprime"), datetime(1975, 1, 1, tzinfo=UTC)
    cut = Cutoff(until=until, window_s=3 * 52 * 7 * DAY)
    rows = prepare.prepare(sources.read(data, places), data, cut)
    assert until - timedelta(weeks=1) <= rows["week"].max() < until
    table = examples.make(rows, "forecasting", data, features, cut).table
    week = timedelta(weeks=1)
    held, learnt = (table.loc[table[SPLIT] == side, TIME] for side in (HOLDOUT, TRAIN))
    assert cut.begins is not None
    assert cut.begins <= held.min() + 4 * week < cut.begins + week
    assert until - week <= held.max() + 52 * week < until
    assert cut.begins - week <= learnt.max() + 52 * week < cut.begins
