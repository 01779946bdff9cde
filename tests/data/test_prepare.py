"""Raw rows to the canonical table: kinds, drift, time, duplicates, order, and a digest that ignores the file format."""

from __future__ import annotations

import hashlib
import math
import tracemalloc
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import UserError
from data.kinds import MISSING, Misfit, convert
from data.prepare import SchemaDrift, prepare, table_digest, write
from data.schema import Column
from data.section import DataSection


def kind(text: str, values: list[Any]) -> Any:
    return convert(pa.chunked_array([pa.array(values)]), Column.parse("c", text))


def section(columns: dict[str, str], target: str = "y", **more: Any) -> DataSection:
    return DataSection(source="x.csv", target=target, columns=columns, **more)


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_every_number_survives_as_text(values: list[float | None]):
    """A number written as text comes back to the bit; a missing one is NaN."""
    found = kind("number?", [None if v is None else repr(v) for v in values] + ["1"])
    assert [None if math.isnan(v) else v for v in found[:-1]] == values


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_every_integer_survives_as_text(values: list[int]):
    """Integers of 64 bits keep every digit."""
    found = kind("integer", [str(v) for v in values])
    assert (found.dtype, found.tolist()) == (np.int64, values)


@given(st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), min_size=1))
def test_every_time_survives_as_text(values: list[datetime]):
    """ISO 8601 without a zone is UTC, to the microsecond."""
    assert kind("time", [v.isoformat() for v in values]).tolist() == [pd.Timestamp(v, tz="UTC") for v in values]


_LETTERS = st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), include_characters=" ")


@given(st.lists(st.one_of(st.none(), st.text(_LETTERS)), min_size=1))
def test_text_is_trimmed_and_empty_text_is_missing(values: list[str | None]):
    """A category is its text without spaces around; nothing is left of an empty one."""
    assert kind("category?", [*values, "x"])[:-1].tolist() == [v.strip() or None if v is not None else None for v in values]


def test_spellings_of_true_false_and_nothing():
    """The usual spellings of truth in any case, and of a missing value where the kind is not text."""
    assert kind("boolean", ["True", "no", "1", "OFF", " y "]).tolist() == [True, False, True, False, True]
    assert kind("boolean", pa.array([1, 0]).to_pylist()).tolist() == [True, False]
    for word in MISSING:
        assert np.isnan(kind("number?", ["1", word.upper()])[1])
        assert np.isnan(kind("boolean?", ["yes", word])[1])
        assert pd.isna(kind("time?", ["2020-01-01", word])[1])
    assert kind("category?", ["NA", "none", ""]).tolist() == ["NA", "none", None]


def test_number_spellings():
    """Signs, exponents, spaces and a decimal comma; infinities are missing; a comma that may part thousands is refused."""
    assert kind("number", [" 1.5", "+2", "1e3", "-.5"]).tolist() == [1.5, 2.0, 1000.0, -0.5]
    assert kind("number", ["1,5", "2", "0,125"]).tolist() == [1.5, 2.0, 0.125]
    assert np.isnan(kind("number?", ["inf", "-inf", "1"])).tolist() == [True, True, False]
    with pytest.raises(Misfit, match=r"no number: row 1: '1,234'"):
        kind("number", ["1,234", "5"])
    assert kind("integer?", ["5.0", ""]).tolist()[0] == 5.0
    with pytest.raises(Misfit, match="no integers"):
        kind("integer", ["5.5"])


TIMES = {
    "2024-02-03": "2024-02-03", "2024-02-03 04:05": "2024-02-03T04:05", "2024-02-03T04:05:06.5Z": "2024-02-03T04:05:06.5",
    "2024-02-03T04:05+02:00": "2024-02-03T02:05", "2024-02-03 04:05:06 UTC": "2024-02-03T04:05:06", "20240203": "2024-02-03",
    "23.02.2024": "2024-02-23", "23/02/2024 04:05": "2024-02-23T04:05", "02/23/2024 04:05 PM": "2024-02-23T16:05",
    "2024/02/03": "2024-02-03", "3 Feb 2024": "2024-02-03", "Feb 3, 2024": "2024-02-03", "2024-02": "2024-02-01", "2024": "2024-01-01",
    "1706933106": "2024-02-03T04:05:06", "1706933106000": "2024-02-03T04:05:06",
}  # fmt: skip


@pytest.mark.parametrize("text", TIMES)
def test_formats_of_time(text: str):
    """The formats that files come in, all as UTC."""
    assert kind("time", [text, text])[1] == pd.Timestamp(TIMES[text], tz="UTC")


def test_day_and_month_are_never_guessed():
    """One reading that all values have decides; where two do, the ascending one; where both or none ascend, it is refused."""
    assert kind("time", ["01/02/2024", "13/02/2024"])[0] == pd.Timestamp("2024-02-01", tz="UTC")
    assert kind("time", ["05/06/2024", "06/06/2024", "01/07/2024"])[0] == pd.Timestamp("2024-06-05", tz="UTC")
    with pytest.raises(Misfit, match="may mean"):
        kind("time", ["05/06/2024", "07/06/2024", "01/02/2024"])


def test_naive_and_aware_times_do_not_mix():
    """A column with and without zones is refused, with a row of each."""
    with pytest.raises(Misfit, match=r"row 2 \(2024-01-01T00:00:00Z\) has one, row 1"):
        kind("time", ["2024-01-01 00:00", "2024-01-01T00:00:00Z"])


def test_unparsable_times_are_named():
    """Rows whose time cannot be read are named with their text."""
    with pytest.raises(SchemaDrift, match=r"'t' is declared time and holds values that are no time: row 2: 'soon' \(1 of 3\)"):
        prepare(
            pd.DataFrame({"t": ["2024-01-01", "soon", "2024-01-03"], "y": ["1", "2", "3"]}),
            section({"t": "time", "y": "number"}, time="t"),
        )


RAW = pd.DataFrame({"area": ["1.5", "2.5"], "town": ["a", "b"], "y": ["1", "2"]})
COLUMNS = {"area": "number", "town": "category", "y": "number"}


@pytest.mark.parametrize(
    ("raw", "how", "said"),
    [
        (RAW.assign(new=["p", "q"]), {"new": "added"}, "'new' was added"),
        (RAW.drop(columns="town"), {"town": "removed"}, "'town' was removed"),
        (RAW.rename(columns={"town": "Town_"}), {"town": "renamed"}, "'town' was renamed to 'Town_'"),
        (RAW.rename(columns={"area": "qm"}), {"area": "renamed"}, "'area' was renamed to 'qm'"),
        (RAW.assign(area=["x", "y"]), {"area": "retyped"}, "'area' was retyped"),
        (RAW.assign(a2=["1", "1"]).drop(columns="town"), {"town": "renamed"}, "renamed to 'a2'"),
        (
            RAW.rename(columns={"area": "q"}).assign(q=["m", "n"]),
            {"area": "removed", "q": "added"},
            "'area' was removed; 'q' was added",
        ),
    ],
)
def test_drift_is_named(raw: pd.DataFrame, how: dict[str, str], said: str):
    """Added, removed, renamed and retyped columns are told apart, all in one error."""
    with pytest.raises(SchemaDrift) as caught:
        prepare(raw, section(COLUMNS))
    assert {c.column: c.how for c in caught.value.changes} == how
    assert said in str(caught.value)


def test_a_few_bad_values_are_not_a_new_type():
    """Where most values fit, the rows that do not are named."""
    with pytest.raises(SchemaDrift, match=r"row 3: '12a' \(1 of 4\)") as caught:
        prepare(pd.DataFrame({"y": ["1", "2", "12a", "4"]}), section({"y": "number"}))
    assert caught.value.changes[0].how == "values"


def test_constants_and_a_counted_time():
    """A column that the source lacks is filled in; a source without times counts them from `start`."""
    df = prepare(
        pd.DataFrame({"y": ["1", "2", "3"]}),
        section(
            {"t": "time", "who": "category", "y": "number"},
            time="t", entity="who", constants={"who": "mauna"}, start=date(2020, 1, 1), step="30min",
        ),
    )  # fmt: skip
    assert df["who"].unique().tolist() == ["mauna"]
    assert df["t"].tolist()[2] == pd.Timestamp("2020-01-01T01:00Z")
    assert str(df["t"].dtype) == "datetime64[us, UTC]"
    with pytest.raises(UserError, match="already has the column who"):
        prepare(
            pd.DataFrame({"y": ["1", "2"], "who": ["a", "b"]}),
            section({"who": "category", "y": "number"}, constants={"who": "x"}),
        )


SERIES = {"t": "time", "who": "category", "y": "number?"}


def series(rows: list[tuple[str, str, str | None]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["t", "who", "y"])


def test_rows_are_sorted_and_bounded():
    """Rows come by time, then entity; `since` is inside, `until` is not."""
    raw = series([("2020-01-03", "b", "5"), ("2020-01-01", "b", "1"), ("2020-01-02", "b", "3"), ("2020-01-02", "a", "2")])
    df = prepare(raw, section(SERIES, time="t", entity="who", since=date(2020, 1, 2), until=date(2020, 1, 3)))
    assert df[["who", "y"]].to_numpy().tolist() == [["a", 2.0], ["b", 3.0]]
    assert df.attrs["left_out"] == {"rows outside since/until": 2}
    with pytest.raises(UserError, match=r"0 rows are left of 4.*since/until"):
        prepare(raw, section(SERIES, time="t", entity="who", since=date(2030, 1, 1)))


def test_repeated_times_are_refused_with_examples():
    """Two rows of one series at one time are named by their rows; rows of two entities may share a time."""
    raw = series([("2020-01-01", "a", "1"), ("2020-01-01", "b", "1"), ("2020-01-01", "a", "2"), ("2020-01-02", "a", "2")])
    with pytest.raises(UserError, match=r"1 rows repeat \(who, t\): a, 2020-01-01T00:00:00Z \(rows 1 and 3\)"):
        prepare(raw, section(SERIES, time="t", entity="who"))
    with pytest.raises(UserError, match="repeat t") as caught:
        prepare(raw, section(SERIES, time="t", step="1d"))
    assert "data.entity" in caught.value.next_step
    assert len(prepare(raw, section(SERIES, time="t"))) == 4  # without a step rows are no series


def test_missing_values_that_cannot_be():
    """A column without values, and missing times, entities and targets are refused, with rows."""
    empty = pd.DataFrame({"a": [None, None], "y": ["1", "2"]}).astype({"a": "string"})
    with pytest.raises(UserError, match="no row has a value in: a"):
        prepare(empty, section({"a": "number?", "y": "number"}))
    assert prepare(empty, section({"a": "category?", "y": "number"}, ignore=("a",)))["a"].isna().all()
    for role, column in (("time", "t"), ("entity", "who")):
        raw = series([("2020-01-01", "a", "1"), ("2020-01-02", "a", "2")])
        raw.loc[1, column] = None
        with pytest.raises(UserError, match=f"1 rows have no value in the {role} '{column}': rows 2"):
            prepare(raw, section(SERIES, time="t", entity="who"))
    with pytest.raises(UserError, match="no value in the target 'y': rows 2"):
        prepare(pd.DataFrame({"y": ["1", ""]}), section({"y": "number"}))


def test_rows_without_a_target():
    """Where the target may be missing, rows without it are left out and counted; a series keeps them, as gaps."""
    raw = series([("2020-01-01", "a", "1"), ("2020-01-02", "a", None), ("2020-01-03", "a", "3")])
    rows = prepare(raw, section(SERIES, time="t", entity="who"))
    assert (len(rows), rows.attrs["left_out"]) == (2, {"rows without a target": 1})
    assert len(prepare(raw, section(SERIES, time="t", entity="who", step="1d"))) == 3


def test_the_digest_ignores_the_file_format(tmp_path: Path):
    """CSV, Parquet and the canonical file of one table have one digest; one changed value has another."""
    columns = {"t": "time", "n": "integer?", "b": "boolean", "c": "category?", "x": "number?", "y": "number"}
    raw = pd.DataFrame(
        {
            "t": ["2020-01-01", "2020-01-02"],
            "n": ["1", ""],
            "b": ["yes", "no"],
            "c": ["ü", ""],
            "x": ["-0.0", "nan"],
            "y": ["1", "2"],
        }
    )
    typed = pd.DataFrame(
        {
            "t": pd.to_datetime(raw["t"]), "n": pd.array([1, None], dtype="Int64"), "b": [True, False],
            "c": ["ü", None], "x": [0.0, np.nan], "y": [1, 2],
        }
    )  # fmt: skip
    wanted = section(columns, time="t")
    first, second = prepare(raw, wanted), prepare(typed, wanted)
    assert table_digest(first) == table_digest(second)
    write(first, tmp_path / "a.parquet")
    write(second, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    back = pd.read_parquet(tmp_path / "a.parquet")
    assert table_digest(back) == table_digest(first)
    assert back.dtypes.tolist() == first.dtypes.tolist()
    assert table_digest(prepare(raw.assign(c=["u", ""]), wanted)) != table_digest(first)
    assert prepare(raw, section(columns, time="t", sha256=table_digest(first))).equals(first)
    with pytest.raises(UserError, match="not the one"):
        prepare(raw, section(columns, time="t", sha256="0" * 64))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.one_of(st.none(), st.text(max_size=3)), st.one_of(st.none(), st.floats())), min_size=2, max_size=6),
    st.randoms(),
)
def test_the_digest_tells_tables_apart(rows: list[tuple[str | None, float | None]], random: Any):
    """Equal tables have equal digests; another order of different rows has another."""
    df = pd.DataFrame(rows, columns=["c", "x"]).astype({"x": float})
    df["c"] = df["c"].astype(object).where(df["c"].notna(), None)
    assert table_digest(df.copy()) == table_digest(df)
    order = list(range(len(rows)))
    random.shuffle(order)
    moved = df.iloc[order].reset_index(drop=True)
    assert (table_digest(moved) == table_digest(df)) == (moved.replace(-0.0, 0.0).equals(df.replace(-0.0, 0.0)))


def test_images_keep_their_shape(tmp_path: Path):
    """Image rows are flat float32 arrays of the declared size, and survive the file."""
    raw = pd.DataFrame({"image": [[0.0] * 4, [0.5] * 4], "y": ["a", "b"]})
    df = prepare(raw, section({"image": "image[2,2]", "y": "category"}))
    write(df, tmp_path / "i.parquet")
    back = pd.read_parquet(tmp_path / "i.parquet")
    assert back["image"][1].tolist() == [0.5] * 4
    assert table_digest(back) == table_digest(df)
    with pytest.raises(SchemaDrift, match="row 1 holds 4 numbers, not 9"):
        prepare(raw, section({"image": "image[3,3]", "y": "category"}))


def test_images_are_digested_one_by_one():
    """The digest is that of all images laid end to end, and takes little memory beside them."""
    images = np.random.default_rng(0).random((160, 1 << 16), dtype=np.float32)
    df = pd.DataFrame({"image": list(images)})
    expected = hashlib.sha256(b"160" + b"\0image\0O\0" + images.tobytes()).hexdigest()
    tracemalloc.start()
    try:
        assert table_digest(df) == expected
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_the_time_column_must_be_a_time():
    """A `data.time` of another kind is refused by name."""
    with pytest.raises(UserError, match="declared number"):
        prepare(pd.DataFrame({"t": ["1", "2"], "y": ["1", "2"]}), section({"t": "number", "y": "number"}, time="t"))


@pytest.mark.slow
def test_a_million_rows_in_seconds():
    """1,000,000 rows x 20 columns are prepared in under 15 s and 2 GB more than the raw text."""
    import resource
    import time

    rng = np.random.default_rng(0)
    n = 1_000_000
    raw = pd.DataFrame(
        {f"x{i}": pd.array(np.char.mod("%.6f", rng.normal(size=n)), dtype=pd.ArrowDtype(pa.string())) for i in range(3)}
    )
    raw = pd.concat([raw.rename(columns={c: f"{c}_{k}" for c in raw}) for k in range(6)], axis=1)
    raw["c"] = pd.array(np.array(["a", "b", ""])[rng.integers(0, 3, n)], dtype=pd.ArrowDtype(pa.string()))
    raw["t"] = pd.array(
        np.datetime_as_string(np.datetime64("2000-01-01", "s") + np.arange(n) * 60), dtype=pd.ArrowDtype(pa.string())
    )
    columns = dict.fromkeys(raw, "number") | {"c": "category?", "t": "time"}
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    df = prepare(raw, section(columns, target="x0_0", time="t"))
    assert df.shape == (n, 20)
    assert time.process_time() - began < 15
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2_000_000


def test_utc_is_stated():
    """Aware times become UTC, whatever zone they were written in."""
    assert kind("time", [datetime(2024, 1, 1, tzinfo=UTC).astimezone().isoformat()] * 2)[0] == pd.Timestamp(
        "2024-01-01", tz="UTC"
    )
