"""The bytes of a source: found, fingerprinted, and parsed exactly as they were hashed."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data import public, sources
from data.errors import UserError
from data.places import Places
from data.section import DataSection


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.delenv("AIPRIME_DATA", raising=False)
    return Places(root=tmp_path / "project", home=tmp_path / "home")


def section(source: str) -> DataSection:
    return DataSection(source=source, target="a", columns={"a": "number"})


def put(places: Places, name: str, content: bytes | str) -> Path:
    path = places.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(places: Places, source: str) -> pd.DataFrame:
    return sources.read(section(source), places, sources.fingerprint(section(source), places))


def test_a_cell_stays_the_text_that_the_file_has(places: Places):
    """Leading zeros, NA and spaces survive reading; an empty cell is missing; a byte order mark is not part of a name."""
    put(places, "x.csv", "\ufeffid,größe,land\n007,1.50,NA\n008,, DE\n")
    assert read(places, "x.csv").astype(object).where(lambda f: f.notna(), None).to_dict("list") == {
        "id": ["007", "008"],
        "größe": ["1.50", None],
        "land": ["NA", " DE"],
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(places: Places, delimiter: str):
    """Comma, semicolon, tab and bar separate cells; a quoted cell may hold the delimiter and line breaks."""
    put(places, "x.csv", delimiter.join(["a", "b"]) + "\n" + f'1{delimiter}"x{delimiter}y\nz"\n2{delimiter}w\n')
    assert read(places, "x.csv")["b"].tolist() == [f"x{delimiter}y\nz", "w"]


def test_every_format_gives_the_same_rows(places: Places):
    """CSV, CSV.gz and Parquet of one table are read alike."""
    put(places, "x.csv", "a,b\n1,u\n2,v\n")
    put(places, "y.csv.gz", gzip.compress(b"a,b\n1,u\n2,v\n"))
    pd.DataFrame({"a": ["1", "2"], "b": ["u", "v"]}, index=[5, 6]).to_parquet(places.root / "z.parquet")
    assert [read(places, name).to_numpy().tolist() for name in ("x.csv", "y.csv.gz", "z.parquet")] == [
        [["1", "u"], ["2", "v"]]
    ] * 3


def test_a_glob_joins_its_files_by_name(places: Places):
    """The files of a glob follow each other in the order of their names, columns matched by name."""
    put(places, "m/2024-02.csv", "b,a\nv,3\n")
    put(places, "m/2024-01.csv", "a,b\n1,u\n2,u\n")
    assert read(places, "m/*.csv")["a"].tolist() == ["1", "2", "3"]
    put(places, "m/2024-03.csv", "a,c\n1,u\n")
    with pytest.raises(UserError, match=r"2024-03\.csv has other columns than m/2024-01\.csv: lacks: b; adds: c"):
        read(places, "m/*.csv")


def test_a_moved_source_is_refused(places: Places):
    """Bytes, or the list of files, that are not those of the fingerprint are never parsed."""
    path = put(places, "m/1.csv", "a\n1\n2\n")
    mark = sources.fingerprint(section("m/*.csv"), places)
    path.write_text("a\n1\n3\n")
    with pytest.raises(UserError, match="changed while"):
        sources.read(section("m/*.csv"), places, mark)
    path.write_text("a\n1\n2\n")
    assert len(sources.read(section("m/*.csv"), places, mark)) == 2
    put(places, "m/2.csv", "a\n1\n2\n")
    with pytest.raises(UserError, match=r"changed while.*m/2\.csv"):
        sources.read(section("m/*.csv"), places, mark)


def test_a_fingerprint_says_names_sizes_and_hashes(places: Places):
    """Equal bytes give an equal fingerprint, wherever the project lies; other bytes another one."""
    put(places, "x.csv", "a\n1\n2\n")
    first = sources.fingerprint(section("x.csv"), places)
    assert first["files"] == [{"file": "x.csv", "bytes": 6, "sha256": first["files"][0]["sha256"]}]
    elsewhere = Places(root=places.root.with_name("other"), home=places.home)
    put(elsewhere, "x.csv", "a\n1\n2\n")
    assert sources.fingerprint(section("x.csv"), elsewhere) == first
    put(elsewhere, "x.csv", "a\n1\n4\n")
    assert sources.fingerprint(section("x.csv"), elsewhere)["sha256"] != first["sha256"]


BAD = {
    "empty": (b"", "the file is empty"),
    "blank": (b"\n  \n", "the file is empty"),
    "header only": (b"a,b\n", "no rows"),
    "one row": (b"a,b\n1,2\n", "only one row"),
    "ragged": (b"a,b\n1,2\n3\n4,5\n", "1 cells where the first line names 2(.|\n)*line 3"),
    "latin-1": ("a,b\n1,2\n1,é\n".encode("latin-1"), "not UTF-8(.|\n)*cp1252(.|\n)*line 3(.|\n)*iconv"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    "same name twice": (b"a,a\n1,2\n3,4\n", "same name: a"),
    "open quote": (b'a,b\n1,2\n3,"4\n5,6\n', "never closed"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named(places: Places, name: str):
    """An unusable file is refused with what, where and the next step."""
    content, message = BAD[name]
    put(places, "bad.csv", content)
    with pytest.raises(UserError, match=message) as caught:
        read(places, "bad.csv")
    assert "bad.csv" in caught.value.where
    assert caught.value.next_step


def test_a_source_that_is_not_there(places: Places):
    """No match, a folder, an unknown name, a wrong ending and a broken gzip or Parquet are each said."""
    put(places, "f/x.csv", "a\n1\n2\n")
    put(places, "x.json", "{}")
    put(places, "x.csv.gz", b"no gzip")
    put(places, "x.parquet", b"no parquet")
    for source, message in {
        "*.csv": "no file matches",
        "y.csv": "there is no file",
        "f": "is a folder",
        "fetch:nothing": "unknown source",
        "bundled:x": "unknown source",
        "x.json": "neither CSV nor Parquet",
        "x.csv.gz": "cannot be unzipped",
        "x.parquet": "not a readable Parquet",
    }.items():
        with pytest.raises(UserError, match=message):
            read(places, source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_said(places: Places):
    """A file without permission is named."""
    put(places, "x.csv", "a\n1\n2\n").chmod(0)
    with pytest.raises(UserError, match="cannot be read"):
        read(places, "x.csv")


def test_bundled_tables(places: Places):
    """co2 has 2,284 weeks, 59 of them missing; digits 1,797 images of 64 numbers in 0..1."""
    co2 = read(places, "bundled:co2")
    assert (len(co2), int(co2["co2"].isna().sum()), list(co2)) == (2284, 59, ["week", "co2"])
    digits = read(places, "bundled:digits")
    images = np.stack(digits["image"].tolist())
    assert (images.shape, images.min(), images.max()) == ((1797, 64), 0.0, 1.0)
    assert sorted(digits["digit"].unique()) == list("0123456789")


def test_reading_what_is_bundled_imports_no_package():
    """statsmodels and scikit-learn are read as files: importing them would cost seconds."""
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from data import sources; from data.places import Places\n"
        "from data.section import DataSection\n"
        "for s in ('bundled:co2', 'bundled:digits'):\n"
        "    sources.read(DataSection(source=s, target='a', columns={'a': 'number'}), Places(Path('.'), Path('.')))\n"
        "assert not {'statsmodels', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_public_file_is_found_or_downloaded_once(places: Places, monkeypatch: pytest.MonkeyPatch):
    """A public file comes from AIPRIME_DATA, else HOME/downloads, else its address; where none has it, the error says all three."""
    monkeypatch.setattr(public, "_TIMEOUT_SECONDS", 2)
    with pytest.raises(UserError, match=r"AIPRIME_DATA is not set, and the download failed"):
        _without_network(monkeypatch, lambda: read(places, "fetch:bikes"))
    hour = "instant,dteday,hr,cnt\n1,2011-01-01,0,16\n2,2011-01-01,1,40\n"
    archive = places.home / "served.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("hour.csv", hour)
    served = public.PublicFile("bike_sharing_hour.csv", archive.as_uri(), "hour.csv", public.PUBLIC["bikes"].shape)
    monkeypatch.setitem(public.PUBLIC, "bikes", served)
    assert [t.isoformat() for t in read(places, "fetch:bikes")["time"]] == ["2011-01-01T00:00:00", "2011-01-01T01:00:00"]
    archive.unlink()
    assert len(read(places, "fetch:bikes")) == 2
    monkeypatch.setenv("AIPRIME_DATA", str(places.home / "given"))
    put(Places(root=places.home, home=places.home), "given/bike_sharing_hour.csv", hour + "3,2011-01-01,2,7\n")
    assert len(read(places, "fetch:bikes")) == 3


def _without_network(monkeypatch: pytest.MonkeyPatch, call):
    import urllib.error
    import urllib.request

    def refuse(*_args: object, **_options: object) -> None:
        raise urllib.error.URLError("no route to host")

    with monkeypatch.context() as patched:
        patched.setattr(urllib.request, "urlopen", refuse)
        return call()


def test_openmls_elec2_gives_the_same_table(places: Places):
    """OpenML's columns, decimals and class names give the table of the file at hand."""
    put(places, "home/ours.csv", "")
    ours = b"period,nswprice,nswdemand,vicprice,vicdemand,transfer,class\n0.0,0.05644299999999999,0.439155,0.003467,0.422915,0.414912,1\n"
    theirs = b"date,day,period,nswprice,nswdemand,vicprice,vicdemand,transfer,class\n0,2,0,0.056443,0.439155,0.003467,0.422915,0.414912,UP\n"
    from data.tables import parse

    shape = public.PUBLIC["elec2"].shape
    assert shape(parse(ours, "x.csv")).equals(shape(parse(theirs, "x.csv")))


@pytest.mark.skipif("AIPRIME_DATA" not in os.environ, reason="not run: no AIPRIME_DATA")
@pytest.mark.parametrize(("source", "rows"), [("fetch:bikes", 17_379), ("fetch:elec2", 45_312)])
def test_public_files_at_hand(tmp_path: Path, source: str, rows: int):
    """The public files have the rows that their pages state."""
    assert len(read(Places(root=tmp_path, home=tmp_path), source)) == rows
