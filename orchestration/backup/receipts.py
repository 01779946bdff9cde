"""Receipts of erasures, beside every backup: what was forgotten after a backup was taken must be forgotten again when it is restored.

A receipt is HOME/receipts/*.json, never changed once it is written. What one says, and how it is applied, others know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from data.files import write_atomically, write_json

FOLDER = "receipts"
_DESTINATIONS = "backups.json"


def destinations(home: Path) -> list[Path]:
    """Where this home is backed up to, as far as it is known here."""
    try:
        return [Path(one) for one in json.loads((home / _DESTINATIONS).read_bytes())]
    except FileNotFoundError:
        return []


def note_destination(home: Path, destination: Path) -> None:
    """Remember where a backup was written to."""
    known = [str(one) for one in destinations(home)]
    if str(destination) not in known:
        write_json(home / _DESTINATIONS, sorted([*known, str(destination)]))


def spread(home: Path) -> list[Path]:
    """Copy the home's receipts beside its backups, as far as these can be reached; call it after each erasure.

    Returns the destinations that could not be: a person must carry the receipts there.
    """
    missed = []
    for destination in destinations(home):
        try:
            if destination.is_dir():
                add(found(home / FOLDER), destination / FOLDER)
                continue
        except OSError:
            pass
        missed.append(destination)
    return missed


def found(folder: Path) -> dict[str, bytes]:
    """The receipts that lie in a folder, by name."""
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.json"))}


def add(receipts: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write receipts into a folder, those that are not there; which came new."""
    came = [folder / name for name in receipts if not (folder / name).exists()]
    for file in came:
        write_atomically(file, receipts[file.name])
    return came
