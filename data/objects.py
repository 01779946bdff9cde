"""DVC's objects as they lie on the disk, in the cache or in a remote that is a folder: each is named by the md5 of what it holds.

DVC trusts those names; here they are checked. Imports no dvc.
"""

from __future__ import annotations

from pathlib import Path

from data.recipe import file_md5, outputs, workloads

_REST = 30  # characters of an md5 behind the two that name its folder


def damaged(folder: Path) -> tuple[int, list[str]]:
    """Hash every object of a cache or of a remote that is a folder; how many there are, and a sentence for each whose hash is not its name."""
    count, bad = 0, []
    for file in sorted((folder / "files" / "md5").glob("??/*")):
        if len(file.name.removesuffix(".dir")) != _REST or not file.is_file():  # DVC's own temporary files
            continue
        count += 1
        named = file.parent.name + file.name.removesuffix(".dir")
        if (found := file_md5(file, fresh=True)) != named:
            bad.append(f"{file}: its md5 is {found}")
    return count, bad


def missing(root: Path, cache: Path) -> list[str]:
    """The outputs that dvc.lock names and whose object is not in the cache."""
    found = []
    for workload in workloads(root):
        for outs in outputs(root, workload).values():
            objects = {path: cache / "files" / "md5" / md5[:2] / md5[2:] for path, md5 in outs.items()}
            found += [f"{path}: {file} is missing" for path, file in objects.items() if not file.is_file()]
    return found
