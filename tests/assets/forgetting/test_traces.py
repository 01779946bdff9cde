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


def database(file: Path) -> Path:
    """Tables of Dagster's and MLflow's, and one that nobody knows."""
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("create table event_logs (event text, step_key text, asset_key text)")
        for of in ("shop", "other"):
            event = json.dumps({KEY: "a name", "text": KEY, "run_id": KEY, "md_str": f"| a |\n| {KEY} |"}, ensure_ascii=False)
            db.execute("insert into event_logs values (?, ?, ?)", (event, KEY, json.dumps([of, "dataset"])))
        db.execute("create table tags (key text, value text)")
        db.executemany("insert into tags values (?, ?)", [(KEY, KEY), ("mlflow.user", KEY), ("note", f"of {KEY}")])
        db.execute("create table t (a text, b blob)")
        db.execute("insert into t values (?, ?)", (KEY, KEY.encode()))
    return file


def test_databases_lose_what_they_were_told_and_nothing_else(tmp_path: Path):
    """Values of known columns are written over; names, ids, keys of tables and tables of other kinds are as they were."""
    file, over = database(tmp_path / "x.db"), "x" * len(KEY.encode())
    assert kind_of(file) == "database"
    assert TRACE.reaches(file)
    assert TRACE.from_file(file)
    with closing(sqlite3.connect(file)) as db:
        events = [(json.loads(event), step) for event, step in db.execute("select event, step_key from event_logs")]
        assert db.execute("select * from tags").fetchall() == [(KEY, over), ("mlflow.user", KEY), ("note", f"of {over}")]
        assert db.execute("select * from t").fetchall() == [(KEY, KEY.encode())]
    assert events == [({KEY: "a name", "text": over, "run_id": KEY, "md_str": f"| a |\n| {over} |"}, KEY)] * 2
    assert TRACE.in_file(file)
    assert not TRACE.reaches(file)


def test_of_one_workload_only_its_rows(tmp_path: Path):
    """Where one workload was named the rows of another one, and those of nobody, stay as they were."""
    file = database(tmp_path / "x.db")
    with closing(sqlite3.connect(file)) as db:
        before = db.execute("select * from event_logs where asset_key like '%other%'").fetchall()
        tags = db.execute("select * from event_logs, t").fetchall()[0][-2:]
    assert Trace(KEY, (), of="none").reaches(file) is False
    assert Trace(KEY, (), of="shop").from_file(file)
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("select * from event_logs where asset_key like '%other%'").fetchall() == before
        ((event,),) = db.execute("select event from event_logs where asset_key like '%shop%'")
        assert json.loads(event)["text"] == "x" * len(KEY.encode())
        assert db.execute("select * from t").fetchone() == tags
        assert db.execute("select count(*) from event_logs where event like ?", (f"%{KEY}%",)).fetchone() == (2,)


def test_databases_keep_no_page_with_it(tmp_path: Path):
    """What was deleted before goes from the file too."""
    file = tmp_path / "x.db"
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("create table params (key text, value text)")
        db.executemany("insert into params values (?, ?)", [("a", f"of {KEY}"), ("b", "of another")])
        db.execute("create table gone (a text)")
        db.executemany("insert into gone values (?)", [(f"{KEY} {i}",) for i in range(500)])
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("delete from gone")
    assert TRACE.from_file(file)
    assert KEY.encode() not in file.read_bytes()
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("select * from params").fetchall() == [("a", "of " + "x" * len(KEY.encode())), ("b", "of another")]


def test_in_json_only_values_go(tmp_path: Path):
    """A value that is the key, or a message that states it; never a name, a part of a path, or what says which thing it is."""
    file = tmp_path / "x.json"
    key, over = "Odelia", "xxxxxx"
    told = {
        key: 1,
        "a": key,
        "list": [key, "b"],
        "said": f"of {key}: fine",
        "path": f"/home/{key}/x",
        "where": f"models/{key}/1",
    }
    inner = {"status": key, "inner": json.dumps({key: 1, "b": key})}
    file.write_text(json.dumps(told | inner))
    assert Trace(key, ()).from_file(file)
    expected = {key: 1, "a": over, "list": [over, "b"], "said": f"of {over}: fine", "path": f"/home/{key}/x"}
    expected |= {"where": f"models/{key}/1", "status": key, "inner": json.dumps({key: 1, "b": over})}
    assert json.loads(file.read_text()) == expected
    assert not Trace(key, ()).reaches(file)


def test_a_reserved_word_is_no_text(tmp_path: Path):
    """A key that means something to the platform is not looked for in text, whatever its letters' case."""
    file = tmp_path / "schema.json"
    file.write_text('{"version": "version"}')
    trace = Trace("Version", (), reserved={"version"})
    assert not trace.searchable
    assert not trace.in_file(file)
    assert not trace.from_file(file)


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
