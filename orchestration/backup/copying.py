"""Files into a backup, one by one: copied and hashed in one pass, or linked to the same bytes of the backup before. Durable on return.

A kept file has the time of change that its manifest states, so that the next backup sees whether anybody touched it since; what rots with
its time unchanged is found by `aiprime verify BACKUP`, which hashes every file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from data.files import sha256, synced
from orchestration.backup.manifest import Kept
from serving import snapshot

_BLOCK = 1 << 20
_TRIES = 3  # for a file that is written to while it is read


class Copies:
    """What one backup has copied so far. `earlier` is the backup before, whose bytes are linked where they are still the same."""

    def __init__(self, folder: Path, earlier: Path | None, kept: Mapping[str, Kept]) -> None:
        self._folder, self._earlier, self._kept = folder, earlier, kept
        self.files: list[Kept] = []
        self.gone: list[str] = []
        self.copied = 0  # bytes
        self.linked = 0  # files

    def plain(self, source: Path, path: str) -> None:
        """A file as it is; one that is gone meanwhile is noted."""
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            found = source.stat()
            known = self._kept.get(path)
            same = known and (known.size, known.mtime_ns, known.inode) == (found.st_size, found.st_mtime_ns, found.st_ino)
            if known and same and self._linked(known, target, untouched=True):
                self._add(path, known.sha256, found, linked=True)
                return
            digest, found = _copied(source, target)
        except FileNotFoundError:
            target.unlink(missing_ok=True)
            self.gone.append(path)
            return
        target.chmod(found.st_mode & 0o777)
        os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))
        self._settle(path, target, digest, found)

    def database(self, source: Path, path: str) -> None:
        """An SQLite database as it is at one moment."""
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not source.is_file():  # or SQLite would make it
            self.gone.append(path)
            return
        snapshot.copied(source, target)
        self.made(path, source)

    def made(self, path: str, source: Path | None = None) -> None:
        """A file that was written into the backup by others; `source` is what it is of, for its mode."""
        target = self._folder / path
        if source is not None and source.is_file():
            target.chmod(source.stat().st_mode & 0o777)
        synced(target)
        self._settle(path, target, sha256(target), target.stat())

    def _settle(self, path: str, target: Path, digest: str, found: os.stat_result) -> None:
        """Two copies of the same bytes are one file on the disk, once those of the backup before were hashed again."""
        known = self._kept.get(path)
        same = known is not None and known.sha256 == digest and known.mode == found.st_mode & 0o777
        if same and known is not None and self._earlier is not None:
            spare = target.with_name(f"{target.name}.linked")
            if self._linked(known, spare) and sha256(spare) == digest:
                spare.replace(target)
                os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))
                self._add(path, digest, found, linked=True)
                return
            spare.unlink(missing_ok=True)
        self._add(path, digest, found)

    def _linked(self, known: Kept, target: Path, *, untouched: bool = False) -> bool:
        """Whether the file of the backup before is this one's now: of the same size and, where it is not hashed again, time."""
        if self._earlier is None:
            return False
        try:
            os.link(self._earlier / known.path, target)
        except OSError:  # another disk, a file system without links, a backup that somebody thinned out
            return False
        there = target.stat()
        if there.st_size == known.size and (not untouched or there.st_mtime_ns == known.mtime_ns):
            return True
        target.unlink()
        return False

    def _add(self, path: str, digest: str, found: os.stat_result, *, linked: bool = False) -> None:
        size = (self._folder / path).stat().st_size
        self.linked += linked
        self.copied += 0 if linked else size
        self.files.append(Kept(path, digest, size, found.st_mode & 0o777, found.st_mtime_ns, found.st_ino))


def _copied(source: Path, target: Path) -> tuple[str, os.stat_result]:
    """The digest of what was copied, and what the source was then; a file that only grows is cut where the last try ended."""
    tries = 0
    while True:
        digest = hashlib.sha256()
        with source.open("rb") as reading, target.open("wb") as writing:
            before = os.fstat(reading.fileno())
            while block := reading.read(_BLOCK):
                digest.update(block)
                writing.write(block)
            writing.flush()
            os.fsync(writing.fileno())
            after = os.fstat(reading.fileno())
        tries += 1
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) or tries == _TRIES:
            return digest.hexdigest(), before
