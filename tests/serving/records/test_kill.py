"""Acknowledged is kept: a writer that is killed at any moment has lost nothing that it said was done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.records import Records

_ENDLESS = """
import sys
from pathlib import Path
from serving.records import Label, Records, by_id
from tests.serving.records.samples import prediction
from uuid import uuid4
records = Records(sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1]), noted=Path(sys.argv[2]))
while True:
    group = [prediction(id=str(uuid4())) for _ in range(8)]
    records.append(group)
    print(*(one.id for one in group), flush=True)
    records.label([Label(workload="co2", about=by_id(one.id), value=1) for one in group])
    print("labelled", *(one.id for one in group), flush=True)
"""


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9(records: Records, database: Path | str, tmp_path: Path) -> None:
    """Ten writers killed at random moments: every acknowledged prediction and label is found, and both chains are whole."""
    chance = random.Random(9)
    for _ in range(10):
        command = [sys.executable, "-c", _ENDLESS, str(database), str(tmp_path / "kept.head")]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        wanted, lines = chance.randint(1, 60), []
        for line in writer.stdout:
            lines.append(line)
            if len(lines) == wanted:
                os.kill(writer.pid, signal.SIGKILL)
        writer.wait(timeout=10)
        for line in lines:
            _, labelled, ids = line.rpartition("labelled ")
            if not line.endswith("\n"):
                continue  # the kill cut it off: it acknowledges nothing
            assert set(records.sizes(ids.split())) == set(ids.split())
            assert not labelled or all(records.labels_of(one) for one in ids.split())
        assert records.verify() is None
