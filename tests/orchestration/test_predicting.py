"""Rows from a file to the endpoint: nothing changes silently, and whatever does not fit is told with file, line and column."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.places import Places
from orchestration import predicting, rows
from training.signature import Input, Signature

KINDS = {
    "price": ("number", True, ()),
    "rooms": ("integer", False, ()),
    "sold": ("boolean", False, ()),
    "city": ("category", True, ()),
    "when": ("time", False, ()),
}
HEADER = "price,rooms,sold,city,when\n"
GOOD = "1.5,3,yes,Bonn,2024-01-31\n"


def signature(kinds: dict[str, Any] = KINDS, **more: Any) -> Signature:
    inputs = [
        Input(name=name, kind=kind, nullable=nullable, shape=shape, tensor=f"x{i}")
        for i, (name, (kind, nullable, shape)) in enumerate(kinds.items())
    ]
    return Signature(workload="w", family="tabular", task="regression", target="y", inputs=tuple(inputs), outputs=(), **more)


def read(folder: Path, text: str | bytes, **more: Any) -> list[dict[str, Any]]:
    file = folder / "rows.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return rows.read(file, signature(**more))


def test_values_arrive_as_they_are_meant(tmp_path: Path):
    """Each kind as training reads it, blank as null, columns that the model does not take left out; any delimiter, zipped too."""
    expected = [
        {"price": 1.5, "rooms": 2**62 + 1, "sold": True, "city": "Bonn", "when": "2024-01-31T00:00:00Z"},
        {"price": None, "rooms": 4, "sold": False, "city": None, "when": "2024-02-01T12:00:00Z"},
    ]
    text = f"price,rooms,sold,city,when,extra\n1.5,{2**62 + 1},Yes,Bonn,2024-01-31,1\n,4,off,,2024-02-01T12:00,2\n"
    assert read(tmp_path, text) == expected
    assert read(tmp_path, "\ufeff" + text.replace(",", ";")) == expected
    zipped = tmp_path / "rows.csv.gz"
    zipped.write_bytes(gzip.compress(text.encode()))
    assert rows.read(zipped, signature()) == expected


@pytest.mark.parametrize(
    ("row", "line", "named"),
    [
        ("1,3,maybe,Bonn,2024-01-31", 4, ["'sold'", "'maybe'"]),
        ("1,2.7,yes,Bonn,2024-01-31", 4, ["'rooms'", "'2.7'"]),
        ("inf,2,yes,Bonn,2024-01-31", 4, ["'price'", "'inf'"]),
        ("1e999,2,yes,Bonn,2024-01-31", 4, ["'price'", "'1e999'"]),
        ("dear,2,yes,Bonn,2024-01-31", 4, ["'price'", "'dear'"]),
        ("1,2,yes,Bonn,soon", 4, ["'when'", "'soon'"]),
        ("1,,yes,Bonn,2024-01-31", 4, ["'rooms'", "no value"]),
        (f"1,{2**70},yes,Bonn,2024-01-31", 4, ["'rooms'", str(2**70)]),
        ("1,2,yes,2024-01-31", 4, ["4 cells"]),
        ('1,2,yes,"Bonn\nam Rhein",2024-01-31\n\n1,2,maybe,Bonn,2024-01-31', 7, ["'sold'", "'maybe'"]),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_line(tmp_path: Path, row: str, line: int, named: list[str]):
    """No value is bent to its kind: the error names file, line, column and what stands there."""
    with pytest.raises(UserError) as raised:
        read(tmp_path, f"{HEADER}\n{GOOD}{row}\n{GOOD}")
    for part in [*named, f"rows.csv, line {line}"]:
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "empty"),
        (HEADER.encode(), "no rows"),
        (b"a,b\n1,2\n", "lacks the column 'price'"),
        (b"price,rooms,sold,city\n1,2,yes,Bonn\n", "lacks the column 'when'"),
        (HEADER.encode() + "1,2,yes,Köln,2024-01-31\n".encode("latin-1"), "line 2"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, content: bytes, named: str):
    """Empty, without rows, without the model's columns, in another encoding: each has its sentence."""
    with pytest.raises(UserError, match=named):
        read(tmp_path, content)
    with pytest.raises(UserError, match=r"nothing\.csv"):
        rows.read(tmp_path / "nothing.csv", signature())


def test_what_the_store_completes_may_be_left_out(tmp_path: Path):
    """A row that names its entity brings the rest of the inputs only; one that does not must bring all."""
    more = {"entity": "shop", "stored": ("price", "rooms"), "known": ("sold", "city"), "time": "when"}
    assert read(tmp_path, "shop,sold,city\n007,no,Bonn\n", **more) == [{"sold": False, "city": "Bonn", "shop": "007"}]
    with pytest.raises(UserError, match="lacks the column 'city'"):
        read(tmp_path, "shop,sold\n7,no\n", **more)
    with pytest.raises(UserError, match="lacks the column 'shop' or, without it, 'price'"):
        read(tmp_path, "sold,city\nno,Bonn\n", **more)
    found = rows.read(tmp_path / "rows.csv", signature(stored=more["stored"], time="when"))
    assert found == [{"sold": False, "city": "Bonn"}]
    (tmp_path / "rows.csv").write_text("shop,sold,city\n7,no,Bonn\n")
    assert rows.read(tmp_path / "rows.csv", signature(**more), numbered=True)[0]["shop"] == 7


@pytest.mark.parametrize("cell", ["[1, 2", "[1, 2, 3]", "[1, 2, 3, NaN]", "[[1, 2], [3]]", '["a", "b", "c", "d"]', "7", ""])
def test_an_image_cell_that_is_none_is_told(tmp_path: Path, cell: str):
    """Bad JSON, too few numbers and numbers that are none are refused with the line; a flat list takes the shape."""
    kinds = {"picture": ("image", False, (2, 2)), "n": ("number", True, ())}
    (tmp_path / "rows.csv").write_text('picture,n\n"[1, 2, 3, 4]",1\n"[[1, 2], [3, 4]]",2\n')
    found = rows.read(tmp_path / "rows.csv", signature(kinds))
    assert [row["picture"] for row in found] == [[[1, 2], [3, 4]]] * 2
    quoted = cell.replace('"', '""')
    (tmp_path / "rows.csv").write_text(f'picture,n\n"[1, 2, 3, 4]",1\n"{quoted}",2\n')
    with pytest.raises(UserError, match="line 3, column 'picture'"):
        rows.read(tmp_path / "rows.csv", signature(kinds))


@pytest.mark.parametrize("text", ['{"a": 1', '{"a": Infinity}', '{"a": 1e999}', "[]"])
def test_rows_that_are_no_json_are_told(text: str):
    """What the endpoint could not parse does not leave the command."""
    with pytest.raises(UserError, match="--json"):
        predicting._from_json(text)
    assert predicting._from_json(json.dumps({"a": 1})) == [{"a": 1}]


def test_without_a_service_it_says_so(tmp_path: Path):
    """Nothing served, and no rows or twice: a person is told what to do."""
    places = Places(root=tmp_path, home=tmp_path / "home")
    with pytest.raises(UserError, match="one of the two"):
        list(predicting.predict(places, "w", None, None))
    with pytest.raises(UserError, match="not being served"):
        list(predicting.predict(places, "w", "{}", None))
