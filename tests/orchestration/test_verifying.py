"""`aiprime verify` finds what is not whole, names it, and changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from data.files import sha256
from data.places import Places
from orchestration import verifying
from orchestration.backup.taking import backup
from serving.ledger import Ledger
from tests.orchestration.backup.homes import filled, objects


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A project with a home in which something happened."""
    monkeypatch.delenv("AIPRIME_LEDGER_URL", raising=False)
    return filled(tmp_path)


def bad(places: Places) -> dict[str, str]:
    return {one.what: one.said for one in verifying.everything(places) if one.state == "bad"}


def test_a_whole_state_is_found_whole_and_left_alone(places: Places) -> None:
    """Every part says what it looked at, none is bad, and no file is changed by looking."""
    before = {path: sha256(path) for path in places.home.rglob("*") if path.is_file()}
    found = verifying.everything(places)
    assert [one for one in found if one.state == "bad"] == []
    looked = {one.what for one in found if one.state == "good"}
    assert looked == {"databases", "decisions", "records", "crosswise", "models", "signatures", "data", "mlflow", "keys"}
    assert {path: sha256(path) for path in places.home.rglob("*") if path in before} == before


def _flip(file: Path, at: int = 100) -> None:
    file.chmod(0o644)
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)


def _sql(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        for one in statements:
            database.execute(one)


def _page(places: Places) -> None:
    with (places.home / "mlflow" / "mlflow.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


_ANSWER = "update predictions set latency_ms = 9 where sequence = 2"
_STRANGE = "update decisions set version = '7' where kind = 'promoted'"

_DAMAGE: dict[str, tuple[Callable[[Places], None], str, str]] = {
    "a model's byte": (lambda p: _flip(p.models("co2", "1") / "model.onnx"), "models", r"co2 1: the files have the digest"),
    "a model is gone": (lambda p: p.models("co2", "1").rename(p.home / "models" / "x"), "models", "its files are gone"),
    "a signature": (lambda p: _flip(p.home / "models" / "co2" / "1.sig"), "signatures", "co2 1"),
    "a statement": (lambda p: (p.home / "models" / "co2" / "1.release").unlink(), "signatures", "1.release is missing"),
    "an object of the cache": (lambda p: _flip(objects(p)[0]), "data", "its md5 is"),
    "an object that is gone": (lambda p: objects(p)[0].unlink(), "data", "is missing"),
    "a decision": (lambda p: _sql(p.home / "ledger.db", _STRANGE), "decisions", "broken at 3"),
    "the newest decision": (lambda p: _sql(p.home / "ledger.db", "delete from decisions where sequence = 3"), "decisions", "some are gone"),
    "a prediction": (lambda p: _sql(p.home / "records.db", _ANSWER), "records", "broken at 2"),
    "the records' file": (lambda p: (p.home / "records.db").unlink(), "records", r"records\.db is gone"),
    "a page": (_page, "databases", r"mlflow\.db"),
    "MLflow's copy": (lambda p: _flip(next(p.home.rglob("m-1/**/model.onnx"))), "mlflow", "MLflow's files have the digest"),
    "MLflow's folder": (lambda p: next(p.home.rglob("m-1")).rename(p.home / "m"), "mlflow", "MLflow's files are missing"),
    "the key's mode": (lambda p: (p.home / "keys" / "signing.pem").chmod(0o644), "keys", "can be read by others"),
    "the version": (lambda p: (p.home / "schema.json").write_text("{}"), "schema", "cannot be read"),
    "a newer version": (lambda p: (p.home / "schema.json").write_text('{"version": 99}'), "state", "of version 99"),
}  # fmt: skip


@pytest.mark.parametrize("damage", _DAMAGE)
def test_each_damage_is_named(places: Places, damage: str) -> None:
    """Each kind of damage is bad in its own line, with what to do."""
    import re

    act, what, said = _DAMAGE[damage]
    act(places)
    found = bad(places)
    assert what in found
    assert re.search(said, found[what]), found


def test_a_chain_that_was_replaced_whole_is_found_by_a_backup(places: Places, tmp_path: Path) -> None:
    """Who swaps the ledger and the noted end for others that hold in themselves is found by the end that a backup noted."""
    Ledger.at(places.home).record("window", "co2", "1", {"n": 1})
    backup(places, tmp_path / "kept")
    assert bad(places) == {}
    for name in ("ledger.db", "ledger.head"):
        (places.home / name).unlink()
    other = filled(tmp_path / "other")
    for name in ("ledger.db", "ledger.head"):
        (other.home / name).rename(places.home / name)
    Ledger.at(places.home).record("window", "co2", "1", {"n": 2})
    found = bad(places)
    assert "decisions" not in found
    assert "is another one than was noted" in found["backups"]
