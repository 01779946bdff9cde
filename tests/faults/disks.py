"""Disks to break: small file systems in memory, and one on a file whose power can be cut. Both need root; without it the test was not run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory (`size=8m`, `nr_inodes=100`), gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"{options},mode=700", "none", str(folder))
    try:
        yield folder
    finally:
        unmount(folder)


def remount(folder: Path, how: str) -> None:
    """`ro` or `rw`."""
    _mount("-o", f"remount,{how}", str(folder))


@contextmanager
def on_a_file(folder: Path, megabytes: int = 64) -> Iterator[tuple[Path, Path]]:
    """An ext4 file system on a loop device: (the backing file, where it is mounted)."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("not run: there is no mkfs.ext4")
    image, mounted = folder / "disk", folder / "mounted"
    mounted.mkdir(parents=True)
    with image.open("wb") as made:
        made.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    _mount("-o", "loop,commit=5", str(image), str(mounted))
    try:
        yield image, mounted
    finally:
        unmount(mounted)


def cut(image: Path, copy: Path) -> None:
    """What of the file system is on its disk now, as a power cut would leave it: copied twice, until both are equal.

    Nobody may be writing; a single copy is not of one moment, for the kernel goes on writing back.
    """
    other = copy.with_suffix(".again")
    for _ in range(20):
        for target in (copy, other):
            subprocess.run(["cp", "--sparse=always", str(image), str(target)], check=True)
        if subprocess.run(["cmp", "-s", str(copy), str(other)], check=False).returncode == 0:
            other.unlink()
            return
    raise AssertionError("the disk does not come to rest")


@contextmanager
def after_the_cut(copy: Path, mounted: Path) -> Iterator[Path]:
    """The copy, mounted: the journal is played back, as at the next start."""
    mounted.mkdir(parents=True, exist_ok=True)
    _mount("-o", "loop", str(copy), str(mounted))
    try:
        yield mounted
    finally:
        unmount(mounted)


def unmount(folder: Path) -> None:
    """Gone, also where somebody still looks."""
    if subprocess.run(["umount", str(folder)], check=False, capture_output=True).returncode:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("not run: needs root, to mount a file system")
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"not run: nothing can be mounted here ({done.stderr.strip()[:100]})")
