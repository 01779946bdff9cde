"""`aiprime backup`: one more finished backup in a folder, taken while everything goes on.

Files of one backup that are the next one's too are one file on the disk. What is cut off leaves a hidden folder, which the next removes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from assets.provenance import tags
from data import forgotten, state
from data.errors import UserError
from data.failpoints import failpoint
from data.files import synced
from data.places import Places
from orchestration import whole_state
from orchestration.backup import contents, manifest, receipts
from orchestration.backup.copying import Copies
from orchestration.backup.manifest import HOME, PROJECT, Kept, Manifest
from serving import snapshot
from serving.trust import keys

_PARTIAL = ".partial-"
_PROJECT = ("dvc.lock", "orchestration/workloads/index.yaml")
_TOLD_S = 1.0
_SPARE = 16 << 20  # bytes that must be left


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A finished backup."""

    folder: Path
    manifest: Manifest
    copied: int  # bytes that were not in the backup before
    linked: int  # files that were
    signed_by: str  # the key's id
    seconds: float
    passed_over: str | None = None  # why nothing was linked to the backup before, and what to do


def backup(places: Places, destination: Path, *, full: bool = False, told: Callable[[str], None] = lambda _: None) -> Taken:
    """Take a backup into a new folder of `destination`; `full` copies what is in the backup before, too, and so it is, and is said, where
    this home's key does not vouch for the backup before.

    UserError where there is nothing to keep, another one is being taken, a database is damaged, or the disk is full: then what was
    begun is gone, and the backups before it are whole.
    """
    began, at = time.perf_counter(), datetime.now(UTC)
    destination = destination.expanduser().resolve()
    schema = _checked(places, destination)
    with _alone(places, destination):
        earlier, kept, passed_over = (None, {}, None) if full else _before(destination, places.home)
        folder = destination / f"{_PARTIAL}{at:%Y%m%dT%H%M%S.%fZ}"
        copies = Copies(folder, earlier, kept)
        try:
            folder.mkdir(mode=0o700)
            _room(places, folder, kept)
            made = _take(places, folder, copies, at, schema, told)
            final = destination / folder.name.removeprefix(_PARTIAL)
            folder.rename(final)
            synced(destination)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise _explained(error, destination) from error
        receipts.note_destination(places.home, destination)
        receipts.spread(places.home)
    return Taken(
        folder=final,
        manifest=made,
        copied=copies.copied,
        linked=copies.linked,
        signed_by=keys.signing(places.home).public.id,
        seconds=time.perf_counter() - began,
        passed_over=passed_over,
    )


def _before(destination: Path, home: Path) -> tuple[Path | None, dict[str, Kept], str | None]:
    """The newest backup there and its files by path, as far as they may be linked to; and why they may not."""
    for folder in manifest.finished(destination)[-1:]:
        try:
            return folder, {one.path: one for one in manifest.ours(folder, home).files}, None
        except UserError as error:
            step = f"aiprime verify {folder} says more; find out who changed it, or delete it where it is of no use"
            return None, {}, f"the backup before ({folder}) was passed over, and all was copied: {error.what}\nnext: {step}"
    return None, {}, None


def _take(places: Places, folder: Path, copies: Copies, at: datetime, schema: int, told: Callable[[str], None]) -> Manifest:
    home, project = folder / HOME, folder / PROJECT
    project.mkdir()
    forgotten.secret(places.home)  # in every backup, or a later erasure could not be applied to what it restores
    key = keys.signing(places.home)  # made before the keys are copied
    for path in contents.follows(places.home, copies.gone):
        copies.plain(places.home / path, f"{HOME}/{path}")
    for path in [*_PROJECT, *_workloads(places)]:
        if (places.root / path).is_file():
            copies.plain(places.root / path, f"{PROJECT}/{path}")
    ends = snapshot.take(places.home, home)
    for name in snapshot.FILES:
        copies.made(f"{HOME}/{name}", places.home / name)
    told(f"cut at decision {ends.decisions[0]:,}, prediction {ends.predictions[0]:,}, label {ends.labels[0]:,}")
    files = contents.rest(places.home, copies.gone)
    last = time.monotonic()
    for number, path in enumerate(files):
        copy = copies.database if contents.is_database(path) else copies.plain
        copy(places.home / path, f"{HOME}/{path}")
        failpoint("during-backup")
        if time.monotonic() > last + _TOLD_S:
            last = time.monotonic()
            told(f"{number + 1:,} of {len(files):,} files, {copies.copied / 1e6:,.1f} MB copied")
    made = Manifest(
        name=folder.name.removeprefix(_PARTIAL),
        begun=at.isoformat(),
        finished=datetime.now(UTC).isoformat(),
        home=str(places.home),
        root=str(places.root),
        schema=schema,
        ends=ends,
        code={name: value for name, value in tags(places, "").items() if name != "data_version"},
        files=tuple(sorted(copies.files, key=lambda one: one.path)),
        gone=tuple(sorted(set(copies.gone))),  # listed twice, it may be missed twice
    )
    for place, _, _ in os.walk(folder, topdown=False):
        synced(Path(place))
    manifest.write(folder, made, key)
    return made


def _checked(places: Places, destination: Path) -> int:
    """The state's version; UserError where no backup can be made of it, or not there."""
    state.refuse_newer(places.home)
    schema = state.version(places.home)
    if schema is None:
        raise UserError("there is no state to keep yet", where=str(places.home), next_step="aiprime up --run NAME")
    if destination == places.home or places.home in destination.parents:
        raise UserError(
            "a backup inside of what it is of would go with it", where=str(destination), next_step="name another folder"
        )
    try:
        destination.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder cannot be made: {error}", where=str(destination), next_step="name another one") from error
    return schema


def _workloads(places: Places) -> list[str]:
    return [file.relative_to(places.root).as_posix() for file in sorted(places.workloads.glob("*/defs.yaml"))]


@contextmanager
def _alone(places: Places, destination: Path) -> Iterator[None]:
    """Nobody deletes files of this home, and nobody else writes to the destination; what a cut-off backup left there goes."""
    with (destination / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                "another backup is being written there", where=str(destination), next_step="wait for it to end"
            ) from None
        with whole_state.held(places, "backup"):
            for left in destination.glob(f"{_PARTIAL}*"):
                shutil.rmtree(left)
            yield


def _room(places: Places, folder: Path, kept: dict[str, Kept]) -> None:
    """UserError before anything is copied where it cannot fit; what is in the backup before takes no room."""
    needed = 0
    for path in [*contents.follows(places.home), *contents.rest(places.home), *snapshot.FILES]:
        known = kept.get(f"{HOME}/{path}")
        try:
            now = (places.home / path).stat()
        except FileNotFoundError:  # deleted meanwhile, or never made
            continue
        if known is None or known.mtime_ns != now.st_mtime_ns:
            needed += now.st_size
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE:
        raise UserError(
            f"{free / 1e6:,.0f} MB are free, about {(needed + _SPARE) / 1e6:,.0f} MB are needed",
            where=str(folder.parent),
            next_step="make room there (old backups can be deleted folder by folder), or name another folder",
        )


def _explained(error: BaseException, destination: Path) -> BaseException:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        step = "make room there, or name another folder; the backups before this one are whole"
        return UserError("the disk is full: there is no backup", where=str(destination), next_step=step)
    return error
