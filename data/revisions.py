"""Every revision of a workload's stages that DVC remembers, what each was made from, and how some of them are taken away for good.

DVC remembers in three places: dvc.lock (the present), the run cache (each run that ever was: its inputs' and outputs' hashes), and the
objects themselves, in the cache and in a remote that is a folder. Imports no dvc; does not decide what must go.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import yamls
from data.files import write_atomically
from data.recipe import LOCK
from data.versions import setting

_STAGE = re.compile(r"assets\.stages (\w+) (\w+)")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a stage: the md5 of each input and output by path. `file` is its entry in the run cache, None: it is dvc.lock's."""

    stage: str
    deps: dict[str, str]
    outs: dict[str, str]
    file: Path | None = None


def folders(root: Path) -> list[Path]:
    """Where objects lie: the cache, and the default remote where that is a folder of this machine."""
    remote = Path(setting(root, 'remote "storage"', "url") or "")
    return [cache(root), *([remote] if remote.is_absolute() and remote.is_dir() else [])]


def cache(root: Path) -> Path:
    """The folder of DVC's cache."""
    return Path(setting(root, "cache", "dir") or root / ".dvc" / "cache")


def remote(root: Path) -> str:
    """The default remote, as it is configured; empty where none is."""
    return setting(root, 'remote "storage"', "url") or ""


def runs(root: Path, workload: str) -> list[Run]:
    """All runs of the workload's stages that are remembered, the present ones first. Entries that cannot be read are passed over."""
    found = []
    lock = root / LOCK
    for name, entry in ((yamls.load(lock.read_bytes()) or {}).get("stages") or {}).items() if lock.is_file() else ():
        stage, _, of = name.partition("@")
        if of == workload:
            found.append(_run(stage, entry, None))
    for file in sorted((cache(root) / "runs").glob("*/*/*")):
        try:
            entry = yamls.load(file.read_bytes())
            stage, of = _STAGE.search(" ".join(entry["cmd"].split())).groups()  # pyright: ignore[reportOptionalMemberAccess]
        except (OSError, ValueError, TypeError, AttributeError, LookupError):
            continue
        if of == workload:
            found.append(_run(stage, entry, file))
    return found


def _run(stage: str, entry: dict[str, Any], file: Path | None) -> Run:
    def hashes(kind: str) -> dict[str, str]:
        return {one["path"]: one["md5"] for one in entry.get(kind, ()) if "md5" in one}

    return Run(stage=stage, deps=hashes("deps"), outs=hashes("outs"), file=file)


def objects(root: Path, md5: str) -> list[Path]:
    """The files of an object, wherever it lies; a folder's (`....dir`) with those it lists."""
    found = [path for folder in folders(root) if (path := _place(folder, md5)).is_file()]
    for listing in found if md5.endswith(".dir") else ():
        found = [*found, *(part for one in json.loads(listing.read_bytes()) for part in objects(root, one["md5"]))]
    return list(dict.fromkeys(found))


def _place(folder: Path, md5: str) -> Path:
    return folder / "files" / "md5" / md5[:2] / md5[2:]


def touched(root: Path, known: Iterable[Run], holds: Callable[[Path], bool], also: Collection[str] = ()) -> set[str]:
    """The md5s of all outputs that hold something, by `holds`, or were made from one that does; `also` are known to hold it."""
    known = list(known)
    found = {*also}
    for md5 in {md5 for run in known for md5 in run.outs.values()} - found:
        if any(holds(path) for path in objects(root, md5)):
            found.add(md5)
    for run in known:  # the present one may be in no cache
        found |= {md5 for path, md5 in run.outs.items() if run.file is None and _anywhere(root / path, holds)}
    while True:
        more = {md5 for run in known if found & _read(run) for md5 in run.outs.values()} - found
        if not more:
            return found
        found |= more


def _read(run: Run) -> set[str]:
    """What a run read rows from: not the small records, which many runs have alike."""
    return {md5 for path, md5 in run.deps.items() if not path.endswith(".json")}


def _anywhere(path: Path, holds: Callable[[Path], bool]) -> bool:
    if path.is_dir():
        return any(_anywhere(inside, holds) for inside in path.iterdir())
    return path.is_file() and holds(path)


def remove(root: Path, workload: str, md5s: Collection[str]) -> int:
    """Delete these outputs: the objects, the files in the workload's store, dvc.lock's entries, and last the run cache's. How many files.

    What is interrupted is done again by calling it again. Objects that other runs made too go with them: DVC makes them anew.
    """
    known = runs(root, workload)
    gone = 0
    for md5 in sorted(md5s):
        for path in objects(root, md5)[::-1]:  # a folder's listing last
            path.unlink(missing_ok=True)
            gone += 1
    for run in known:
        if run.file is None and {*run.outs.values()} & {*md5s}:
            gone += sum(_deleted(root / path) for path in run.outs)
    _out_of_lock(root, workload, md5s)
    for run in known:
        if run.file is not None and ({*run.outs.values()} | _read(run)) & {*md5s}:
            run.file.unlink(missing_ok=True)
    return gone


def _deleted(path: Path) -> int:
    if path.is_dir():
        shutil.rmtree(path)
        return 1
    there = path.exists()
    path.unlink(missing_ok=True)
    return int(there)


def _out_of_lock(root: Path, workload: str, md5s: Collection[str]) -> None:
    lock = root / LOCK
    if not lock.is_file():
        return
    content = yamls.load(lock.read_bytes()) or {}
    entries = content.get("stages") or {}
    gone = [f"{run.stage}@{workload}" for run in runs(root, workload) if run.file is None and {*run.outs.values()} & {*md5s}]
    if gone:
        content["stages"] = {name: entry for name, entry in entries.items() if name not in gone}
        write_atomically(lock, yamls.dump(content))


def stray(root: Path, known: Collection[str]) -> Iterator[Path]:
    """Objects that none of these md5s names: of other workloads, or of runs that nobody remembers."""
    named = {path for md5 in known for path in objects(root, md5)}
    for folder in folders(root):
        for path in sorted((folder / "files" / "md5").glob("??/*")):
            if path.is_file() and path not in named and len(path.name.removesuffix(".dir")) == 30:
                yield path
