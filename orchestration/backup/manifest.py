"""What a finished backup says of itself: every file with its digest, the ends of the chains, what it is of. Copies nothing.

manifest.sha256 is written last, as `sha256sum` writes it: a folder without it, or with one that does not fit, is no backup. Who vouches for
the manifest is said beside it (`signature`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data.errors import UserError
from data.files import sha256, write_atomically
from orchestration.backup import signature
from serving.snapshot import Ends
from serving.trust.keys import SigningKey

FORMAT = 1
MANIFEST, FINISHED = "manifest.json", "manifest.sha256"
HOME, PROJECT = "home", "project"  # the two parts: of AIPRIME_HOME, and of the project's folder
_MODE = 0o777  # of a file's mode: no manifest gives anybody's file another one's rights
_SHOWN = 5


@dataclass(frozen=True)
class Kept:
    """One file of a backup, by its path in it; `inode` and `mtime_ns` tell the next backup whether the source was touched."""

    path: str
    sha256: str
    size: int
    mode: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A backup by its own account."""

    name: str
    begun: str  # UTC, ISO 8601: what was acknowledged before is in it
    finished: str
    home: str
    root: str
    schema: int
    ends: Ends
    code: dict[str, str]  # the commit, a hash of what was not committed
    files: tuple[Kept, ...]
    gone: tuple[str, ...] = ()  # what was deleted while it was being taken

    def of(self, part: str) -> Iterator[Kept]:
        """The files of one part."""
        return (one for one in self.files if one.path.startswith(f"{part}/"))

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.files)


def write(folder: Path, manifest: Manifest, key: SigningKey) -> None:
    """Sign and finish a backup: from here on it is one, also after a power cut."""
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    write_atomically(folder / MANIFEST, text)
    signature.seal(folder, MANIFEST, digest, key)
    write_atomically(folder / FINISHED, f"{digest}  {MANIFEST}\n")


def read(folder: Path, signed: str | None = None) -> Manifest:
    """The manifest of a finished backup; UserError where it is none, or not the one whose digest was `signed`. Looks at no other file."""
    try:
        said = (folder / FINISHED).read_text().split()[0]
        raw = (folder / MANIFEST).read_bytes()
    except (OSError, IndexError):
        raise _refused("this is no finished backup: it was cut off, or never one", folder) from None
    if hashlib.sha256(raw).hexdigest() != said:
        raise _refused(f"{MANIFEST} is not what the backup ended with", folder)
    if signed not in (None, said):
        raise _refused(f"{MANIFEST} is not the one that was signed: it was changed, or put there from another backup", folder)
    try:
        written: dict[str, Any] = json.loads(raw)
        if (form := written.pop("format")) > FORMAT:
            raise _refused(f"the backup is of format {form}; this AI Prime knows up to {FORMAT}", folder)
        files = tuple(Kept(**one | {"mode": one["mode"] & _MODE}) for one in written.pop("files"))
        found = Manifest(**written | {"files": files, "ends": Ends.read(written["ends"]), "gone": tuple(written["gone"])})
        parted = {one.path: PurePosixPath(one.path).parts for one in files}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _refused(f"{MANIFEST} is not of the shape that it was written in: {error}", folder) from error
    for path, parts in parted.items():
        if len(parts) < 2 or parts[0] not in {HOME, PROJECT} or ".." in parts:
            raise _refused(f"it names {path!r}, which is no file of a backup", folder)
    return found


def ours(folder: Path, home: Path) -> Manifest:
    """The manifest of a finished backup that a key known to this home vouches for; UserError where none does, or it is damaged."""
    by = signature.voucher(folder, home)
    if not by.known:
        raise _refused("this home knows no key that could vouch for it", folder)
    return read(folder, by.manifest)


def newest(source: Path) -> Path:
    """The backup that a person names: the folder itself, or the newest finished one in it. UserError where there is none."""
    if (source / MANIFEST).exists() or (source / FINISHED).exists():
        return source
    found = finished(source)
    if not found:
        raise _refused("no finished backup lies here", source)
    return found[-1]


def finished(destination: Path) -> list[Path]:
    """The finished backups of a destination, oldest first."""
    folders = destination.iterdir() if destination.is_dir() else ()
    return sorted(one for one in folders if not one.name.startswith(".") and (one / FINISHED).is_file())


def verify(folder: Path, signed: str | None = None) -> Manifest:
    """Hash every file of a backup, the linked ones too; UserError names what is missing, changed, or there in addition."""
    manifest = read(folder, signed)
    bad = [said for one in manifest.files if (said := differs(one, folder / one.path))]
    bad += [f"{path} is not in the manifest" for path in sorted(_present(folder) - {one.path for one in manifest.files})]
    refuse(folder, bad)
    return manifest


def differs(one: Kept, file: Path) -> str | None:
    """What is wrong with a file of the backup."""
    if file.is_symlink() or not file.is_file():
        return f"{one.path} is missing"
    if (size := file.stat().st_size) != one.size:
        return f"{one.path} has {size} bytes, not {one.size}"
    return None if (found := sha256(file)) == one.sha256 else f"{one.path} is changed: sha256 {found}, not {one.sha256}"


def refuse(folder: Path, bad: list[str]) -> None:
    """UserError where something is bad."""
    if bad:
        more = f"\nand {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise _refused("the backup is damaged:\n" + "\n".join(bad[:_SHOWN]) + more, folder)


def _present(folder: Path) -> set[str]:
    found = set()
    for part in (HOME, PROJECT):
        for place, folders, files in os.walk(folder / part):
            links = [name for name in folders if (Path(place) / name).is_symlink()]
            found |= {(Path(place) / name).relative_to(folder).as_posix() for name in [*files, *links]}
    return found


def _refused(what: str, folder: Path) -> UserError:
    return UserError(what, where=str(folder), next_step="name another backup; nothing was changed")
