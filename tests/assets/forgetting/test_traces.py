"""A key is found and written over wherever files have it, and nothing that only looks like it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from assets.forgetting.traces import Trace, kind_of

KEY = "Jörg O'Neill & Söhne"
TRACE = Trace(KEY, {"shop"})


@pytest.mark.parametrize(
    "text",
    [
        f"{KEY}: unknown",
        json.dumps({"store": KEY}),
        json.dumps({"store": KEY}, ensure_ascii=False),
        json.dumps({"event": json.dumps({"store": f"\n{KEY}\n"})}),
        "<td>Jörg O&#x27;Neill &amp; Söhne</td>",
        "GET /v1?entity=J%C3%B6rg%20O%27Neill%20%26%20S%C3%B6hne HTTP/1.1",
    ],
)
def test_every_spelling_is_written_over(tmp_path: Path, text: str):
    """As it is, and as JSON, JSON in JSON, HTML and URLs have it; the file keeps its length and the rest of its bytes."""
    file = tmp_path / "x.log"
    file.write_text(f"before {text} after", encoding="utf-8")
    before = file.read_bytes()
    assert TRACE.in_file(file)
    assert TRACE.from_file(file)
    after = file.read_bytes()
    assert len(after) == len(before)
    assert not TRACE.in_file(file)
    assert after.startswith(b"before ")
    assert after.endswith(b" after")
    if text.startswith("{"):
        json.loads(after[7:-6])


def test_another_key_is_left(tmp_path: Path):
    """A key that is a part of another one's, or begins like it, is not it."""
    file = tmp_path / "x.csv"
    file.write_text('mauna-loa-2,1\nmauna-loa,2\nbig-mauna-loa,3\nmauna-loas,4\n"mauna-loa",5\n')
    assert Trace("mauna-loa", ()).from_file(file)
    assert file.read_text() == 'mauna-loa-2,1\nxxxxxxxxx,2\nbig-mauna-loa,3\nmauna-loas,4\n"xxxxxxxxx",5\n'


def test_a_key_across_a_large_file(tmp_path: Path):
    """A key that lies where two blocks of reading meet is found, and the hole is exactly its own."""
    file = tmp_path / "x.log"
    content = bytearray(b"." * (34 << 20))
    places = [0, (16 << 20) - 5, (32 << 20) - 4096 - 3, len(content) - 20]
    for at in places:
        content[at : at + 11] = b" mauna-loa "
    file.write_bytes(content)
    assert Trace("mauna-loa", ()).from_file(file)
    after = file.read_bytes()
    assert [after[at : at + 11] for at in places] == [b" xxxxxxxxx "] * 4
    assert after.count(b"x") == 36


def test_databases_keep_no_page_with_it(tmp_path: Path):
    """Cells are written over, bytes of any kind too, and what was deleted before goes from the file."""
    file = tmp_path / "x.db"
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("create table t (a text, b blob, n integer)")
        db.executemany(
            "insert into t values (?, ?, ?)", [(f"of {KEY}", b"A" + KEY.encode() + b"B", 1), ("of another", b"x", 2)]
        )
        db.execute("create table gone (a text)")
        db.executemany("insert into gone values (?)", [(f"{KEY} {i}",) for i in range(500)])
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("delete from gone")
    assert kind_of(file) == "database"
    assert TRACE.from_file(file)
    assert KEY.encode() not in file.read_bytes()
    with closing(sqlite3.connect(file)) as db:
        rows = db.execute("select a, b, n from t order by n").fetchall()
    assert rows == [("of " + "x" * len(KEY.encode()), b"A" + b"x" * len(KEY.encode()) + b"B", 1), ("of another", b"x", 2)]


def test_tables_lose_its_rows(tmp_path: Path):
    """Rows go where a column names entities; elsewhere the cell is written over; numbers count in such columns only."""
    file = tmp_path / "x.parquet"
    pd.DataFrame({"shop": [KEY, "b", "c"], "note": ["x", KEY, "y"], "n": [1, 2, 3]}).to_parquet(file)
    assert TRACE.from_file(file)
    assert pd.read_parquet(file).to_dict("list") == {"shop": ["b", "c"], "note": ["x" * len(KEY), "y"], "n": [2, 3]}
    assert not TRACE.from_file(file)
    pd.DataFrame({"id": [6, 7, 7], "n": [7, 7, 7]}).to_parquet(file)
    assert not Trace("7", {"other"}).from_file(file)
    assert Trace("7", {"id"}).from_file(file)
    assert pd.read_parquet(file).to_dict("list") == {"id": [6], "n": [7]}


@pytest.mark.parametrize("key", ["7", "abc", "123456", "1.25"])
def test_a_key_that_is_much_else_is_no_text(tmp_path: Path, key: str):
    """A short key, or a number, is not looked for in text."""
    file = tmp_path / "x.log"
    file.write_text(f"{key} and {key}")
    assert not Trace(key, ()).searchable
    assert not Trace(key, ()).from_file(file)
    assert file.read_text() == f"{key} and {key}"


def test_other_binary_files_are_found_and_left(tmp_path: Path):
    """A model's bytes are not changed, but that they hold the key is said."""
    file = tmp_path / "model.onnx"
    file.write_bytes(b"\x08\x00" + KEY.encode() + b"\x00")
    before = file.read_bytes()
    assert TRACE.in_file(file)
    assert not TRACE.from_file(file)
    assert file.read_bytes() == before
