"""Acknowledged is kept: a writer that is killed at any moment has lost nothing that it said was done."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from uuid import uuid4

import pytest

from serving.records import Label, Records, by_id, reading
from tests.serving.cut_off import FORKED
from tests.serving.records.samples import prediction


def endless(database: Path | str, noted: Path, told: tuple[int, int]) -> None:
    """Keep predictions and their labels, and say so each time, until killed or nobody listens."""
    listening, saying = told
    os.close(listening)
    records = Records(database, noted=noted)
    while True:
        group = [prediction(id=str(uuid4())) for _ in range(8)]
        ids = " ".join(one.id for one in group)
        records.append(group)
        os.write(saying, f"{ids}\n".encode())
        records.label([Label(workload="co2", about=by_id(one.id), value=1) for one in group])
        os.write(saying, f"labelled {ids}\n".encode())


def killed(database: Path | str, noted: Path, wanted: int) -> list[str]:
    """What a writer said that was killed -9 after so many lines."""
    told = listening, saying = os.pipe()
    writer = FORKED.Process(target=endless, args=(database, noted, told))
    writer.start()
    os.close(saying)
    lines: list[str] = []
    with os.fdopen(listening) as heard:
        for line in heard:
            lines.append(line)
            if len(lines) == wanted:
                writer.kill()
    writer.join(10)
    assert writer.exitcode == -signal.SIGKILL
    return [line for line in lines if line.endswith("\n")]  # one that the kill cut off acknowledges nothing


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9(records: Records, database: Path | str, tmp_path: Path) -> None:
    """Ten writers killed at random moments: every acknowledged prediction and label is found, and both chains are whole."""
    chance = random.Random(9)
    for _ in range(10):
        lines = killed(database, tmp_path / "kept.head", chance.randint(1, 60))
        assert lines
        labelled = {one for line in lines if line.startswith("labelled ") for one in line.split()[1:]}
        kept = {one for line in lines if not line.startswith("labelled ") for one in line.split()}
        assert set(records.sizes(kept)) == kept
        with records._reading() as connection:  # one connection: PostgreSQL starts a process for each
            assert [one for one in labelled if not reading.labels_of(connection, one)] == []
        assert records.verify() is None
