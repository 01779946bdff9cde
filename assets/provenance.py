"""Where a model came from: the commit, what was uncommitted, and the exact data, as tags."""

from __future__ import annotations

import hashlib
import subprocess

from data import versions
from data.places import Places


def tags(places: Places, workload: str) -> dict[str, str]:
    """Git commit, a hash of uncommitted changes, dvc.lock's hash, and the data version of the workload's dataset."""
    commit = _git(places, "rev-parse", "HEAD") or "none"
    changes = _git(places, "diff", "HEAD") or ""
    lock = places.root / "dvc.lock"
    locked = versions.locked(places.root, workload)
    return {
        "git_commit": commit,
        "git_changes": hashlib.sha256(changes.encode()).hexdigest()[:16] if changes else "clean",
        "dvc_lock": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else "none",
        "data_version": locked.get("dataset", "none"),
    }


def _git(places: Places, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=places.root, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
