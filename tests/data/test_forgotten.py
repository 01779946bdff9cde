"""Who was forgotten stays forgotten: their rows are left out of every read, and no file says who they are."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pandas as pd
import pytest

from data import forgotten
from data.errors import UserError
from data.forgotten import Tombstone

ERIKA = "Erika Musterfrau"


def bury(home: Path, entity: object, workload: str = "shop") -> Tombstone:
    digest = forgotten.secret(home).digest(entity)
    return forgotten.bury(home, Tombstone(digest=digest, workload=workload, at="2026-01-01T00:00:00+00:00", receipt="r1"))


def test_rows_of_the_forgotten_are_left_out(tmp_path: Path):
    """A text and a number that are forgotten go, of that workload alone; the others keep their order; what was left out is counted."""
    df = pd.DataFrame({"store": ["a", ERIKA, "b", ERIKA, "c"], "y": range(5)})
    bury(tmp_path, ERIKA)
    kept = forgotten.without(df, "store", forgotten.of(tmp_path, "shop"), tmp_path)
    assert kept["y"].tolist() == [0, 2, 4]
    assert kept.attrs["left_out"] == {"rows of who was forgotten": 2}
    assert forgotten.of(tmp_path, "bikes") == []
    assert forgotten.without(df, "store", forgotten.of(tmp_path, "bikes"), tmp_path) is df
    bury(tmp_path, 7)
    numbers = pd.DataFrame({"id": [6, 7, 8, 9], "y": range(4)})
    assert forgotten.without(numbers, "id", forgotten.of(tmp_path, "shop"), tmp_path)["id"].tolist() == [6, 8, 9]
    with pytest.raises(UserError, match="1 rows are left"):
        forgotten.without(numbers.head(2), "id", forgotten.of(tmp_path, "shop"), tmp_path)


def test_the_list_says_nothing_of_who_it_is(tmp_path: Path):
    """The key is nowhere in clear, another home's list has other digests for it, and the secret is its owner's alone."""
    other = tmp_path / "other"
    assert bury(tmp_path, ERIKA).digest != bury(other, ERIKA).digest
    assert all(b"Erika" not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert stat.S_IMODE((tmp_path / "keys" / "forgetting.key").stat().st_mode) == 0o600
    assert bury(tmp_path, ERIKA) == forgotten.tombstones(tmp_path)[0]
    assert len(forgotten.tombstones(tmp_path)) == 1


def test_without_its_key_nothing_is_read(tmp_path: Path):
    """A list whose key is gone, damaged or another one, and a list that cannot be read, stop the read: nobody comes back unseen."""
    bury(tmp_path, ERIKA)
    key, file = tmp_path / "keys" / "forgetting.key", tmp_path / "forgotten.json"
    content = key.read_bytes()
    for wrong, said in ((None, "is gone"), (b"short", "damaged"), (bytes(32), "another key")):
        key.unlink()
        if wrong is not None:
            key.write_bytes(wrong)
        with pytest.raises(UserError, match=said):
            forgotten.of(tmp_path, "shop")
        key.write_bytes(content)
    file.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        forgotten.of(tmp_path, "shop")


def test_several_who_come_first_make_one_secret(tmp_path: Path):
    """Processes that ask at once for a secret that is not there get the same one."""
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len({*pool.map(_id, [tmp_path] * 16)}) == 1


def test_what_a_crash_left_is_in_nobodys_way(tmp_path: Path):
    """A half-made secret of a process that died, under the number of this one, stops nobody."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / f".forgetting.key.{os.getpid()}").write_bytes(b"half")
    assert forgotten.secret(tmp_path) == forgotten.secret(tmp_path)


def _id(home: Path) -> str:
    return forgotten.secret(home).id
