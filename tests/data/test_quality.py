"""Great Expectations' door: bad data is a report, a broken check is an error, and a person can see which rows."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from data import quality as door
from data.errors import UserError
from data.expectations import Expected, QualitySection, expected
from data.quality import check, write_docs
from data.section import DataSection

DATA = DataSection(
    source="x.csv",
    target="y",
    columns={"t": "time", "y": "number", "x": "number?", "n": "integer?", "b": "boolean", "ort": "category?"},
)


def table(rows: int = 100) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "t": pd.date_range("2024-01-01", periods=rows, freq="D", tz="UTC").as_unit("us"),
            "y": np.arange(rows, dtype=float),
            "x": np.where(np.arange(rows) % 10 == 0, np.nan, 1.5),
            "n": np.where(np.arange(rows) % 2 == 0, np.nan, 3.0),
            "b": np.arange(rows) % 2 == 0,
            "ort": np.array(["süd", "nord"], dtype=object)[np.arange(rows) % 2],
        }
    )


def section(**columns: dict[str, Any]) -> QualitySection:
    return QualitySection.model_validate({"columns": columns})


def failed(df: pd.DataFrame, quality: QualitySection, data: DataSection = DATA) -> list[tuple[str | None, str]]:
    return [(r["column"], r["expectation"]) for r in check(df, data, quality).results if not r["passed"]]


def test_data_as_declared_passes():
    """The schema alone holds for a table of the declared columns, kinds and missing values."""
    report = check(table(), DATA, QualitySection())
    assert report.passed
    assert report.statistics == {"expectations": 11, "passed": 11, "failed": 0, "warnings": 0}
    assert report.failed_rows is None
    assert {r["check"] for r in report.results} == {"schema", "expectations"}
    assert json.loads(json.dumps(report.summary(), allow_nan=False)) == check(table(), DATA, QualitySection()).summary()


def test_images_pass():
    """A table of images and labels is checked for its columns, rows and missing values."""
    df = pd.DataFrame({"image": [np.zeros(4, "f4")] * 3, "digit": ["1", "2", "3"]})
    data = DataSection(source="x", target="digit", columns={"image": "image[2,2]", "digit": "category"})
    assert check(df, data, QualitySection()).passed


SCHEMA_BROKEN = {
    "order": (lambda df: df[["y", "t", "x", "n", "b", "ort"]], (None, "expect_table_columns_to_match_ordered_list")),
    "type": (lambda df: df.assign(y=df["y"].astype(int)), ("y", "expect_column_values_to_be_in_type_list")),
    "text": (lambda df: df.assign(ort=range(len(df))), ("ort", "expect_column_values_to_be_in_type_list")),
    "time": (lambda df: df.assign(t=df["t"].astype(str)), ("t", "expect_column_values_to_be_in_type_list")),
    "missing": (lambda df: df.assign(y=df["y"].where(df["y"] > 5)), ("y", "expect_column_values_to_not_be_null")),
    "too few rows": (lambda df: df.head(1), (None, "expect_table_row_count_to_be_between")),
}


@pytest.mark.parametrize("name", SCHEMA_BROKEN)
def test_the_schema_is_always_expected(name: str):
    """Order, types, missing values where none may be, and two rows at least, without a word in the YAML."""
    change, broken = SCHEMA_BROKEN[name]
    assert broken in failed(change(table()), QualitySection())


@pytest.mark.parametrize(
    ("wanted", "broken"),
    [
        ({"y": {"min": 0, "max": 99}}, None),
        ({"y": {"min": 10}}, ("y", "expect_column_values_to_be_between")),
        ({"y": {"mean": [0, 10]}}, ("y", "expect_column_mean_to_be_between")),
        ({"y": {"unique": True}}, None),
        ({"n": {"unique": True}}, ("n", "expect_column_values_to_be_unique")),
        ({"x": {"missing": 0.1}}, None),
        ({"x": {"missing": 0.05}}, ("x", "expect_column_values_to_not_be_null")),
        ({"n": {"values": [3]}}, None),
        ({"ort": {"values": ["süd", "nord"], "regex": "^[a-zü]+$"}}, None),
        ({"ort": {"values": ["süd"]}}, ("ort", "expect_column_values_to_be_in_set")),
        ({"ort": {"regex": "^s"}}, ("ort", "expect_column_values_to_match_regex")),
        ({"b": {"values": [True, False]}}, None),
        ({"t": {"min": "2024-01-01", "max": "2024-12-31T00:00:00+00:00"}}, None),
        ({"t": {"max": "2024-02-01"}}, ("t", "expect_column_values_to_be_between")),
    ],
)
def test_each_expectation(wanted: dict[str, Any], broken: tuple[str, str] | None):
    """Every key of the section holds where it should and breaks where it should."""
    assert failed(table(), section(**wanted)) == ([broken] if broken else [])


def test_a_warning_stops_nothing():
    """What is declared a warning is reported and counted apart, and the report passes."""
    report = check(table(), DATA, section(y={"min": 10, "severity": "warning"}))
    assert report.passed
    assert report.statistics["warnings"] == 1
    assert report.broken == []
    assert report.warnings == ["'y' is at least 10: broken (10 rows, 10 %, are not)"]


def test_the_broken_rows_are_kept():
    """Each broken expectation names its rows, whole, numbered from 1; sentences say how many, and never more than 1,000 are kept."""
    report = check(table(), DATA, section(y={"min": 2}, ort={"values": ["süd"]}))
    assert not report.passed
    assert report.broken == [
        "'y' is at least 2: broken (2 rows, 2 %, are not)",
        "'ort' is one of süd: broken (50 rows, 50 %, are not)",
    ]
    rows = report.failed_rows
    assert rows is not None
    assert rows[rows["__expectation"] == "y is at least 2"]["__row"].tolist() == [1, 2]
    assert rows[rows["__expectation"] == "ort is one of süd"]["ort"].unique().tolist() == ["nord"]
    many = check(table(5000), DATA, section(y={"min": 1e9}, b={"values": [False]}))
    assert many.failed_rows is not None
    assert len(many.failed_rows) <= 1000
    assert many.failed_rows["__expectation"].nunique() == 2


def test_a_large_table_is_explained_only_where_it_fails(monkeypatch: pytest.MonkeyPatch):
    """Above the limit the gate asks yes or no, and looks closer at what failed: the same verdict, counts and rows."""
    wanted = section(y={"min": 2}, x={"missing": 0.5})
    small = check(table(), DATA, wanted)
    monkeypatch.setattr(door, "_CELLS_TO_SUMMARISE", 10)
    large = check(table(), DATA, wanted)
    assert [r["passed"] for r in large.results] == [r["passed"] for r in small.results]
    assert large.broken == small.broken
    assert large.failed_rows is not None
    assert large.failed_rows.equals(small.failed_rows)


def test_a_broken_check_is_not_bad_data(monkeypatch: pytest.MonkeyPatch):
    """A check that raises inside the vendor is our mistake: an exception, never a failed report."""
    broken = Expected(
        check="expectations",
        type="ExpectColumnMeanToBeBetween",
        text="",
        column="ort",
        arguments={"min_value": 0, "max_value": 1},
    )
    monkeypatch.setattr(door, "expected", lambda *_: [broken])
    with pytest.raises(RuntimeError, match=r"ExpectColumnMeanToBeBetween of ort is broken, not the data"):
        check(table(), DATA, QualitySection())


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"z": {"min": 0}}, "not in data.columns: z"),
        ({"t": {"min": "soon"}}, "'soon' is no date"),
        ({"y": {"min": "low"}}, "'low' cannot bound a number column"),
        ({"ort": {"min": 1}}, "cannot bound a category column"),
    ],
)
def test_a_section_that_cannot_be_meant(wanted: dict[str, Any], message: str):
    """Unknown columns and impossible bounds are the person's to mend, said before anything is checked."""
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        expected(DATA, section(**wanted))


@pytest.mark.parametrize(
    "wanted", [{"min": 2, "max": 1}, {"mean": [2, 1]}, {"missing": 1.5}, {"unknown": 1}, {"severity": "fatal"}]
)
def test_a_section_that_does_not_parse(wanted: dict[str, Any]):
    """Unknown keys and impossible ranges are refused when the YAML is read."""
    with pytest.raises(ValidationError):
        section(y=wanted)


def test_data_docs_are_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Data Docs open at docs/index.html and link the run; failing rows lie beside them and go when all is well; old runs go too."""
    monkeypatch.setattr(door, "_RUNS_KEPT", 2)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "tmp").mkdir()
    folder = tmp_path / "quality" / "w"
    index = write_docs(check(table(), DATA, section(y={"min": 2})), folder)
    assert index == folder / "docs" / "index.html"
    page = next((folder / "docs" / "validations").rglob("*.html"))
    assert page.relative_to(folder / "docs").as_posix() in index.read_text().replace("\\", "/")
    assert "greater than or equal to" in page.read_text()
    rows = pd.read_csv(folder / door.FAILED_ROWS)
    assert rows["__row"].tolist() == [1, 2]
    assert list(rows)[2:] == list(DATA.columns)
    for _ in range(door._RUNS_KEPT + 1):
        write_docs(check(table(), DATA, QualitySection()), folder)
    assert not (folder / door.FAILED_ROWS).exists()
    assert len(list((folder / "docs" / "validations").rglob("*.html"))) <= door._RUNS_KEPT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quality", "tmp"]
    assert not list((tmp_path / "tmp").iterdir())


def test_the_vendor_is_imported_only_when_data_is_checked():
    """Reading a workload's YAML must not cost the vendor's four seconds."""
    import subprocess
    import sys

    code = "import data.quality, sys; assert not {'great_expectations', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_data_docs_ask_no_other_host(tmp_path: Path):
    """Every page stands alone: no style, script or picture of another host, and what passed and failed is marked without a font."""
    write_docs(check(table(), DATA, section(y={"min": 2})), tmp_path)
    pages = {page: page.read_text() for page in (tmp_path / "docs").rglob("*.html")}
    assert len(pages) >= 3
    for page, text in pages.items():
        asked = re.findall(r"""(?:src|href)=["']?https?://[^"'\s>]+""", re.sub(r"<a\b[^>]*>", "", text))
        assert asked == [], page
        assert 'id="aiprime"' in text
