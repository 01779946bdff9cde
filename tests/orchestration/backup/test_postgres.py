"""A backup is the same whatever database it was taken from, and goes back into any."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.errors import UserError
from data.places import Places
from orchestration.backup.restoring import restore
from orchestration.backup.taking import backup
from serving.ledger import Ledger
from serving.records import Records
from tests.orchestration.backup.homes import filled
from tests.orchestration.backup.test_consistency import going_on
from tests.serving import postgres
from tests.serving.records.samples import prediction


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    """One server; skips where PostgreSQL is not installed."""
    if postgres.program("initdb") is None:
        pytest.skip("not run: PostgreSQL is not installed (Debian: postgresql)")
    with postgres.running() as started:
        yield started


def test_out_of_a_database_and_into_another(
    server: postgres.Postgres, tmp_path: Path, other: Places, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While others append, the backup of a PostgreSQL is one transaction; it goes back into an empty one, never into a full one, or
    becomes a home of SQLite files; the chains go on where they were."""
    monkeypatch.setenv("AIPRIME_LEDGER_URL", server.url())
    places = filled(tmp_path / "kept elsewhere")
    records = Records.at(places.home)
    with going_on(lambda _: records.append([prediction(version="1")])) as predicted:
        before = predicted[0]
        taken = backup(places, kept)
    ends = taken.manifest.ends
    assert ends.predictions[0] >= 6 + before
    with pytest.raises(UserError, match="holds 3 decisions and"):
        restore(other, kept)

    monkeypatch.setenv("AIPRIME_LEDGER_URL", server.url())
    restore(other, kept)
    assert not (other.home / "ledger.db").exists()
    _goes_on(other.home, ends.predictions[0])

    monkeypatch.delenv("AIPRIME_LEDGER_URL")
    shutil.rmtree(other.home)
    restore(other, kept)
    _goes_on(other.home, ends.predictions[0])
    assert Records.at(other.home).bounds().contents == ends.predictions[0] + 1


def _goes_on(home: Path, predictions: int) -> None:
    ledger, records = Ledger.at(home), Records.at(home)
    assert ledger.verify() is None
    assert records.verify() is None
    assert records.newest("co2") == predictions
    assert [one.kind for one in ledger.history("co2")] == ["registered", "cleared", "promoted", "restored"]
    records.append([prediction(version="1")])
    records.close()
    assert records.verify() is None
    assert records.newest("co2") == predictions + 1
