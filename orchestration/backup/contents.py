"""What of an AIPRIME_HOME is kept, and in which order. Pure rules; copies nothing.

What refers is copied first, what it refers to afterwards: a writer makes things in the other order (files, then the record that names
them), so whatever a copied record names is there when its files' turn comes.

| turn | what | because |
|---|---|---|
| 1 | statements of release, marks, routes, dvc.lock | each follows something below: one that is too old is made again, one that is too new would lie |
| 2 | outcomes, then ledger and records at one instant | the truth; it names versions, MLflow's versions and runs |
| 3 | other databases: MLflow, Feast's online values, Dagster (events before runs) | they name files |
| 4 | all other files: models, keys, artefacts, the DVC cache, verdicts, reports | never changed once they are named |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from serving.snapshot import FILES

_FOLLOWS = ("schema.json", "models/*/*.release", "features/*", "aliases/*", "gateway/*", "feast/*/names.json")

# Of one machine, of one moment, or made again by whoever needs it.
LEFT_OUT = {
    "locks": "leases of living processes",
    "logs": "what the processes said",
    "scratch": "servers that the gate tries",
    "servers": "which processes serve, and on which ports",
    "supervisor": "the same",
    "services.json": "the same",
    "gateway/address.json": "the same",
    "gateway/*.lock": "locks of living processes",
    "backups.json": "where this home is backed up to",
    "failpoints": "what a test has set off already",
    "dvc/site": "DVC's memory of the files of this machine",
    "feast/*/registry.db": "Feast's definitions: applied again each time, and they name this folder",
    "feast/*/source.*": "a copy of a DVC output, under Feast's names",
}
_PASSING = re.compile(
    r".*(-wal|-shm|-journal|\.lock|\.tmp)|\..+\.[a-z0-9_]{8}|\.copy-.*|\.tmp.*"
)  # sidecars, and half-written files


def follows(home: Path, gone: list[str] | None = None) -> list[str]:
    """The files of turn 1, as paths from the home; `gone` is told what went away while it was listed."""
    return [path for path in sorted(_files(home, home, [] if gone is None else gone)) if _is_of_the_first(path)]


def rest(home: Path, gone: list[str] | None = None) -> list[str]:
    """The files of turns 3 and 4 as they are now: to be asked for after the ledger was cut, so that what it names is among them."""
    found = [path for path in sorted(_files(home, home, [] if gone is None else gone)) if not _is_of_the_first(path)]
    # Reversed: history/runs/... (the events) comes before history/runs.db, or a run's end could be lost and the run be done again.
    return [*filter(is_database, reversed(found)), *(path for path in found if not is_database(path))]


def _is_of_the_first(path: str) -> bool:
    return any(fnmatch(path, pattern) for pattern in _FOLLOWS)


def is_database(path: str) -> bool:
    """Whether it is SQLite's: what ends so here is, but for what is left out."""
    return path.endswith(".db")


def _files(folder: Path, home: Path, gone: list[str]) -> Iterator[str]:
    try:
        entries = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        if folder == home:
            raise
        gone.append(folder.relative_to(home).as_posix())
        return
    for entry in entries:
        path = entry.relative_to(home).as_posix()
        if path in FILES or _PASSING.fullmatch(entry.name) or any(fnmatch(path, pattern) for pattern in LEFT_OUT):
            continue
        if entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _files(entry, home, gone)
        elif entry.is_file():
            yield path
        elif not entry.exists():
            gone.append(path)
