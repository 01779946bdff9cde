"""Files that would become more than they weigh are refused before they do, by name and with the next step."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import caps
from data.caps import Caps, TooMuch
from data.errors import UserError
from data.tables import parse

ROOT = Path(__file__).parents[2]
SMALL = Caps(bytes=8 << 20, unpacked=1 << 20, ratio=50, rows=1_000_000, columns=100)


def written(table: pa.Table, **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)  # pyright: ignore[reportArgumentType]
    return out.getvalue()


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def repeated(length: int, rows: int) -> pa.Array:
    """One long text in every row, kept once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * length]))


BOMBS = {
    "gzip": lambda: caps.gunzipped(gzip.compress(bytes(64 << 20)), "x.csv.gz", SMALL),
    "gzip of many members": lambda: caps.gunzipped(gzip.compress(bytes(1 << 20)) * 30, "x.csv.gz", SMALL),
    "zip": lambda: caps.member(zipped(a=bytes(64 << 20)), "a", "x.zip", SMALL),
    "zip of many members": lambda: caps.member(zipped(**{f"m{i}": b"" for i in range(1500)}), "m1", "x.zip"),
    "parquet rows": lambda: caps.parquet(written(pa.table({"a": np.zeros(2_000_000, np.int8)})), "x.parquet", SMALL),
    "parquet numbers": lambda: caps.parquet(
        written(pa.table({f"c{i}": np.zeros(900_000) for i in range(3)})), "x.parquet", SMALL
    ),
    "parquet columns": lambda: caps.parquet(written(pa.table({f"c{i}": [1] for i in range(101)})), "x.parquet", SMALL),
    "parquet dictionary": lambda: caps.parquet(written(pa.table({"a": repeated(100_000, 10_000)})), "x.parquet", SMALL),
    "parquet lists": lambda: caps.parquet(
        written(pa.table({"a": pa.array([np.zeros(500_000)] * 10)}), compression="zstd"), "x.parquet", SMALL
    ),
    "parquet lists of text": lambda: caps.parquet(
        written(pa.table({"a": pa.array([["x" * 10_000] * 100] * 20)})), "x.parquet", SMALL
    ),
    "csv columns": lambda: parse(b",".join(b"c%d" % i for i in range(20_000)) + b"\n" + b"," * 19_999 + b"\n", "x.csv"),
    "csv header": lambda: parse(b"a" * (5 << 20) + b"\n1\n", "x.csv"),
    "csv field": lambda: parse(b"a,b\n1," + b"x" * (6 << 20) + b"\n", "x.csv"),
    "csv without an end": lambda: parse(b"a,b\n" + b"1," * (4 << 20), "x.csv"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(name: str):
    """Too many bytes, rows, columns, members or characters in a line: an error that names the file and what to do."""
    with pytest.raises(TooMuch) as caught:
        BOMBS[name]()
    assert caught.value.where.startswith("x.")
    assert caught.value.next_step


WRONG = {
    "nul": (b"a,b\n1,2\n3,\x004\n", "NUL(.|\n)*line 3"),
    "utf-16 without a mark": ("a,b\n1,2\n".encode("utf-16-le"), "NUL"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    "not utf-8, late": (b"a,b\n" + b"1,2\n" * 100_000 + b"1,\xff\n", "not UTF-8(.|\n)*line 100002"),
    "ragged, late": (b"a,b\n" + b"1,2\n" * 100_000 + b"1\n", "1 cells(.|\n)*line 100002"),
    "open quote in the names": (b'"a,b\n' + b"1,2\n" * 1_100_000, "never closed"),
    "a name that is too long": (b"a" * 200_000 + b",b\n1,2\n", "column names cannot be read"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_broken_table_is_named(name: str):
    """NUL bytes, other encodings, ragged rows and open quotes are named with their line."""
    content, said = WRONG[name]
    with pytest.raises(UserError, match=said):
        parse(content, "x.csv")


def test_what_is_meant_is_read():
    """A table whose text repeats, which the limits only let through by looking closely, is read as it is written."""
    table = pa.table({"n": np.arange(50_000), "s": ["x" * 50, "y", None, "ü"] * 12_500, "f": [0.5, None] * 25_000})
    table = table.append_column("l", pa.array([[0.5, 1.5]] * 50_000))
    near = Caps(bytes=4 << 20)
    for options in ({}, {"use_dictionary": False}, {"compression": "zstd", "row_group_size": 7000}):
        assert caps.parquet(written(table, **options), "x.parquet", near).equals(table)
    text = b"a,b\n" + b"1,2\n" * 50_000
    assert caps.gunzipped(gzip.compress(text, mtime=0) + gzip.compress(text, mtime=0) + b"\0" * 512, "x.gz", SMALL) == text * 2
    assert caps.member(zipped(a=text, b=b""), "a", "x.zip", SMALL) == text


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", gzip.compress(b"abc", mtime=0)[:-4], b"no gzip"])
def test_a_broken_gzip_is_named(content: bytes):
    """What is cut off or is no gzip is said; nothing at all is nothing."""
    if not content:
        assert caps.gunzipped(content, "x.gz") == b""
        return
    with pytest.raises(UserError, match="cannot be unzipped"):
        caps.gunzipped(content, "x.gz")


def test_a_member_that_is_a_link_or_elsewhere_is_refused():
    """Only the member of that very name is read, never a link, and no name of an archive becomes a path."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        link = zipfile.ZipInfo("hour.csv")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("../day.csv", "a\n1\n")
    for wanted, said in (("hour.csv", "is a link"), ("day.csv", "no day.csv")):
        with pytest.raises(UserError, match=said):
            caps.member(out.getvalue(), wanted, "x.zip")


MEASURED = """
import json, resource, sys
from pathlib import Path
import pyarrow, pyarrow.csv, pyarrow.parquet
from data.errors import UserError
from data.tables import parse

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

said, before = {}, peak()
for file in sorted(Path(sys.argv[1]).iterdir()):
    try:
        parse(file.read_bytes(), file.name)
    except UserError as error:
        said[file.name] = error.what
print(json.dumps([sorted(said), peak() - before]))
"""


def test_a_bomb_costs_little_memory(tmp_path: Path):
    """Refusing files that stand for 22 GB takes less than 400 MB above the interpreter's own."""
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(bytes(1 << 20), 9) * 2_000)  # 2 GB in 2 MB
    pq.write_table(pa.table({"a": repeated(1_000_000, 20_000)}), tmp_path / "b.parquet")  # 20 GB in 1 MB
    (tmp_path / "c.csv").write_bytes(b"a,b\n1," + b"x" * (50 << 20))
    command = [sys.executable, "-c", MEASURED, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    refused, megabytes = json.loads(done.stdout)
    assert refused == ["a.csv.gz", "b.parquet", "c.csv"]
    assert megabytes < 400
