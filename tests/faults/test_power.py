"""Power cuts: what was acknowledged is on the disk, and nothing on it is torn.

A writer works on an ext4 file system on a loop device and says outside of it what was acknowledged. It is stopped, the device's file is copied as
it is now, and the copy is mounted: what the kernel had not written yet is lost, as it would be.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.ledger import Ledger
from serving.records import Records
from tests.conftest import ROOT
from tests.faults import disks
from tests.faults.reporting import ROUNDS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("disks"), pytest.mark.timeout(1200)]
CUTS = 60 if ROUNDS > 1 else 3

WRITER = """
import sys
from pathlib import Path
from uuid import uuid4
from assets import registration
from data.files import tree_digest, write_json
from serving.ledger import Ledger
from serving.records import Label, Records, by_id
from tests.serving.records.samples import prediction
home, source = Path(sys.argv[1]), Path(sys.argv[2])
ledger, records, number = Ledger.at(home), Records.at(home), 0
digest = tree_digest(source)
while True:
    number += 1
    ledger.record("registered", "co2", number, {"digest": digest}, key=str(number))
    print("decision", number, flush=True)
    one = prediction(id=str(uuid4()))
    records.append([one])
    print("prediction", one.id, flush=True)
    records.label([Label(workload="co2", about=by_id(one.id), value=number)])
    print("label", one.id, flush=True)
    write_json(home / "pointer.json", {"number": number, "more": "x" * 5000})
    print("pointer", number, flush=True)
    if number % 10 == 0:
        registration._copy(source, home / "models" / "co2" / str(number), digest)
        print("version", number, flush=True)
"""


@pytest.mark.fault(20)
def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path, track):
    """Decisions, predictions, labels, pointers and versions: each that was acknowledged before the cut is there after it, whole."""
    chance, counts, took = random.Random(20), {}, []
    source = tmp_path / "model"
    for name in ("model.json", "model.onnx", "weights.safetensors"):
        source.mkdir(exist_ok=True)
        (source / name).write_bytes(chance.randbytes(50_000))
    with disks.on_a_file(tmp_path) as (image, mounted):
        told = tmp_path / "told"
        with told.open("w") as out:
            command = [sys.executable, "-c", WRITER, str(mounted), str(source)]
            writer = subprocess.Popen(command, cwd=ROOT, stdout=out)
        try:
            _wait(told, writer)
            for _ in range(CUTS):
                time.sleep(chance.uniform(0.05, 0.8))
                writer.send_signal(signal.SIGSTOP)
                lines = [one.split() for one in told.read_text().splitlines(keepends=True) if one.endswith("\n")]
                disks.cut(image, tmp_path / "copy")
                writer.send_signal(signal.SIGCONT)
                began = time.monotonic()
                with disks.after_the_cut(tmp_path / "copy", tmp_path / "after") as home:
                    _is_whole(home, lines, source)
                took.append(time.monotonic() - began)
                counts = {what: sum(one[0] == what for one in lines) for what in ("decision", "prediction", "label", "version")}
                assert writer.poll() is None
        finally:
            writer.kill()
            writer.wait()
    track(
        seeds=20,
        injections=CUTS,
        acknowledged=sum(counts.values()),
        lost=0,
        said=", ".join(f"{count} {what}s" for what, count in counts.items()),
        recovery_s=round(max(took), 2),
    )


def _wait(told: Path, writer: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while told.stat().st_size < 200:
        assert writer.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)


def _is_whole(home: Path, lines: list[list[str]], source: Path) -> None:
    from data.files import tree_digest

    said: dict[str, list[str]] = {}
    for what, which in lines:
        said.setdefault(what, []).append(which)
    ledger, records = Ledger.at(home), Records.at(home)
    assert ledger.verify() is None
    assert {*said["decision"]} <= {one.key for one in ledger.history()}
    assert records.verify() is None
    assert {*said["prediction"]} <= {*records.sizes(said["prediction"])}
    newest = said["label"][-300:]
    assert [len(records.labels_of(one)) for one in newest] == [1] * len(newest)
    assert json.loads((home / "pointer.json").read_text())["number"] >= int(said["pointer"][-1])
    digest = tree_digest(source)
    torn = [one for one in said.get("version", []) if tree_digest(home / "models" / "co2" / one) != digest]
    assert torn == [], "versions that are not what was registered"
    assert os.path.ismount(home)
