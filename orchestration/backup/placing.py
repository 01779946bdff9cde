"""Where a restored home is made, and how it comes into its place: beside, then two renames, of which the first keeps what was there.

Cut off between the two, there is no home: whoever would begin a new one is told (`refuse_unfinished`). Knows nothing of what a home holds.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from data import state
from data.errors import UserError
from data.files import synced


@contextmanager
def beside(home: Path) -> Iterator[Path]:
    """A folder beside the home for as long as the block; those that restores left that were cut off go."""
    home.parent.mkdir(parents=True, exist_ok=True)
    for left in _named(home, f".{home.name}.restoring-"):
        with _locked(left) as free:
            if free:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=f".{home.name}.restoring-") as made, _locked(Path(made)):
        yield Path(made)


def in_place(made: Path, home: Path, at: datetime) -> Path | None:
    """One rename each: the old home goes beside, the new one comes; where the old one lies now. An error leaves the old one where it was."""
    for place, _, _ in os.walk(made, topdown=False):
        synced(Path(place))
    aside = None
    if home.is_dir():
        if any(home.iterdir()):
            aside = home.with_name(f"{home.name}.before-{at:%Y%m%dT%H%M%SZ}")
            home.rename(aside)
        else:
            home.rmdir()
    try:
        made.rename(home)
    except OSError:
        if aside is not None:
            aside.rename(home)
        raise
    synced(home.parent)
    return aside


def asides(home: Path) -> list[Path]:
    """The homes that restores have put beside, the oldest first."""
    return _named(home, f"{home.name}.before-")


def refuse_unfinished(home: Path) -> None:
    """UserError where there is no state, and a restore was cut off: a new state would hide the one that is there."""
    if state.version(home) is not None:
        return
    before, begun = asides(home), _named(home, f".{home.name}.restoring-")
    if before:
        away = f"move {home} away, then " if home.exists() else ""
        back = f"{away}mv {shlex.quote(str(before[-1]))} {shlex.quote(str(home))}"
        step = (
            f"aiprime restore BACKUP finishes it; or take back what was there before: {back}; or move both away to begin anew"
        )
        raise UserError("a restore was cut off: the state of before lies beside", where=str(before[-1]), next_step=step)
    if begun:
        step = f"aiprime restore BACKUP does it again; or begin anew: rm -r {' '.join(shlex.quote(str(one)) for one in begun)}"
        raise UserError("a restore was cut off, or is going on", where=str(begun[-1]), next_step=step)


def _named(home: Path, prefix: str) -> list[Path]:
    if not home.parent.is_dir():
        return []
    return sorted(one for one in home.parent.iterdir() if one.name.startswith(prefix) and one.is_dir() and not one.is_symlink())


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the folder was nobody's; it is ours as long as the block then, and the kernel frees it when we die."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)
