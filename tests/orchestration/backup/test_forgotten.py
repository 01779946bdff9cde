"""What was forgotten after a backup is forgotten again when that backup is restored."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from assets import forgetting
from assets.platform import Platform
from data.places import Places
from orchestration import erasure
from orchestration.backup.restoring import restore
from orchestration.backup.taking import backup
from serving.records import Records
from tests.serving.records.samples import prediction


@pytest.mark.parametrize("beside", [True, False])
def test_a_restore_forgets_again(
    places: Places, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    """The receipt is found beside the backup, or in the folder that is named; the restored records no longer hold the entity."""
    monkeypatch.setenv("AIPRIME_HOME", str(places.home))
    monkeypatch.chdir(places.root)
    shutil.rmtree(places.home / "feast")  # no store of Feast's own making
    records = Records.at(places.home)
    asked = prediction(version="1", entities=("atlantis",), request=b'{"instances": [{"station": "atlantis"}]}')
    records.append([asked])
    records.close()
    backup(places, kept)
    told = erasure.forget(places, "atlantis", "co2")
    assert told["not_copied_to"] == []
    assert [one.request for one in Records.at(places.home).find(asked.id)] == [b""]
    carried = tmp_path / "carried"
    shutil.copytree(kept / "receipts", carried)
    if not beside:
        shutil.rmtree(kept / "receipts")
    shutil.rmtree(places.home)

    done = restore(places, kept, receipts_from=None if beside else carried)
    assert done.forgotten == 1
    assert [one.request for one in Records.at(places.home).find(asked.id)] == [b""]
    assert Records.at(places.home).verify() is None
    spec = forgetting.workloads_with_entities(places, "co2")[0]
    assert not forgetting.find(Platform(), spec, "atlantis").predictions
