"""What a retrain costs, in CPU seconds of its process and of its ended children, kept in a file per run."""

from __future__ import annotations

import json
import os
from pathlib import Path

from data.files import write_json
from data.places import Places


def begin(places: Places, workload: str, run_id: str) -> None:
    """From now on a run is counted."""
    write_json(_file(places, workload, run_id), {"pid": os.getpid(), "began": _cpu(), "cpu_s": 0.0})


def count(places: Places, workload: str, run_id: str) -> None:
    """After each stage: keep what the run has cost so far. Nothing happens for a run that is not counted."""
    file = _file(places, workload, run_id)
    if file.is_file():
        kept = json.loads(file.read_bytes())
        if kept["pid"] == os.getpid():
            write_json(file, kept | {"cpu_s": round(_cpu() - kept["began"], 2)})


def cpu_seconds(places: Places, workload: str, run_id: str) -> float | None:
    """What a run has cost so far, as its last stage left it; None: it was not counted."""
    try:
        return json.loads(_file(places, workload, run_id).read_bytes())["cpu_s"]
    except FileNotFoundError:
        return None


def _file(places: Places, workload: str, run_id: str) -> Path:
    return places.home / "retraining" / workload / f"{run_id}.json"


def _cpu() -> float:
    return sum(os.times()[:4])
