"""Where a model came from: the commit, what was uncommitted, and the exact data, as tags."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from data import versions
from data.files import sha256
from data.places import Places


def tags(places: Places, workload: str) -> dict[str, str]:
    """Git commit, a hash of uncommitted changes, dvc.lock's hash, and the data version of the workload's dataset."""
    commit = (_git(places, "rev-parse", "HEAD") or b"none").decode()
    changes = _changes(places)
    lock = places.root / "dvc.lock"
    locked = versions.locked(places.root, workload)
    return {
        "git_commit": commit,
        "git_changes": hashlib.sha256(changes).hexdigest()[:16] if changes else "clean",
        "dvc_lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else "none",
        "data_version": locked.get("dataset", "none"),
    }


def _changes(places: Places) -> bytes:
    """What the commit does not hold: the edits of tracked files, then name and sha256 of each file that git neither tracks nor ignores."""
    edits = _git(places, "diff", "--no-ext-diff", "--no-color", "--full-index", "HEAD") or b""
    listed = _git(places, "ls-files", "--others", "--exclude-standard", "-z") or b""
    untracked = (name + b" " + _digest(places.root / os.fsdecode(name)) for name in sorted(filter(None, listed.split(b"\0"))))
    return b"\n".join(filter(None, [edits, *untracked]))


def _digest(file: Path) -> bytes:
    try:
        return sha256(file).encode()
    except OSError:  # a dangling link, a folder that is a repository of its own, a file that has just gone
        return b"unreadable"


def _git(places: Places, *arguments: str) -> bytes | None:
    """What git prints, as bytes: names and edits may be in any encoding. None where there is no repository, or no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=places.root, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
