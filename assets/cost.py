"""What a retrain costs, in CPU seconds of its processes and of their ended children, and the version that it made.

Kept in a file per run, by its first try.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from data.files import write_json
from data.places import Places


def begin(places: Places, workload: str, run_id: str) -> None:
    """From now on a run is counted; what earlier tries of it cost in processes that died stays counted."""
    before = cpu_seconds(places, workload, run_id) or 0.0
    write_json(_file(places, workload, run_id), {"pid": os.getpid(), "began": _cpu() - before, "cpu_s": before})


def go_on(places: Places, workload: str, run_id: str) -> None:
    """Count on in this process, where another one began. Nothing happens for a run that is not counted."""
    file = _file(places, workload, run_id)
    if file.is_file() and json.loads(file.read_bytes())["pid"] != os.getpid():
        kept = json.loads(file.read_bytes())
        begin(places, workload, run_id)
        if "version" in kept:
            make(places, workload, run_id, kept["version"])


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


def make(places: Places, workload: str, run_id: str, version: str) -> None:
    """Keep which version a run registered. Nothing happens for a run that is not counted."""
    file = _file(places, workload, run_id)
    if file.is_file():
        write_json(file, json.loads(file.read_bytes()) | {"version": version})


def made(places: Places, workload: str, run_id: str) -> str | None:
    """The version that a run registered; None: it registered none, or was not counted."""
    try:
        return json.loads(_file(places, workload, run_id).read_bytes()).get("version")
    except FileNotFoundError:
        return None


def _file(places: Places, workload: str, run_id: str) -> Path:
    return places.home / "retraining" / workload / f"{run_id}.json"


def _cpu() -> float:
    return sum(os.times()[:4])
