"""Files that survive a crash, and their digests."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from data.failpoints import failpoint

_BLOCK = 1 << 20


def write_atomically(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Write beside, fsync, rename, fsync the folder: after a crash the file is the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(mode)
        failpoint("before-rename", path.name)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    synced(path.parent)
    failpoint("after-rename", path.name)


def make_once(file: Path, content: bytes) -> None:
    """Make a secret (0600, its folder 0700), whole or not at all: of several who make it at once the first one's stays."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, beside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # 0600; what a crash leaves is in nobody's way
    try:
        with os.fdopen(handle, "wb") as output:
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        with suppress(FileExistsError):
            os.link(beside, file)
    finally:
        Path(beside).unlink(missing_ok=True)
    synced(file.parent)


def move_whole(folder: Path, target: Path) -> None:
    """Rename a folder into its place, everything in it on the disk first: after a power cut it is there whole, or not at all."""
    for path in [*folder.rglob("*"), folder]:
        synced(path)
    folder.rename(target)
    synced(target.parent)


def synced(path: Path) -> None:
    """Have a file, or a folder's names, on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_json(path: Path, value: Any) -> None:
    """`value` as readable JSON with sorted keys, atomically; the same value gives the same bytes. NaN is refused."""
    write_atomically(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """The digest of one file, hex, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hashes(folder: Path) -> dict[str, str]:
    """The digest of each file of a folder by its path below it, in order; only plain files may be in it (ValueError)."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()):
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link; a model's folder holds only plain files")
        if not path.is_file():
            raise ValueError(f"{path} is no plain file; a model's folder holds only such")
        found[path.relative_to(folder).as_posix()] = sha256(path)
    return found


def digest_of(found: Mapping[str, str]) -> str:
    """One digest of what `hashes` found: names and contents, in its order."""
    return hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in found.items()).encode()).hexdigest()


def tree_digest(folder: Path) -> str:
    """One digest of a folder's files: names and contents, in order; errors as `hashes`."""
    return digest_of(hashes(folder))


def finite(value: Any) -> Any:
    """The value with None in the place of what is no number, for a record: JSON has no NaN."""
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
