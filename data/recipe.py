"""What a stage is made by: its code and its parameters, read from dvc.yaml and the files, and as dvc.lock remembers them.

Light on purpose (no dvc import): every load of the definitions asks for every stage of every workload. Hashes are DVC's own,
so that what is computed here and what DVC wrote compare.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from data import yamls
from data.errors import UserError

INDEX = "orchestration/workloads/index.yaml"
LOCK = "dvc.lock"
_STORE = "data/store/"  # what stages give each other; every other dependency is code
_IGNORED = ("__pycache__", "*.pyc", ".DS_Store")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Stage:
    """One stage of one workload as dvc.yaml declares it, `${...}` filled in."""

    cmd: str
    deps: tuple[str, ...]
    params: Mapping[str, tuple[str, ...]]
    outs: tuple[str, ...]


def workloads(root: Path) -> dict[str, dict[str, Any]]:
    """The names and families that dvc.yaml's `foreach` reads (`orchestration/workloads/index.yaml`)."""
    return (_yaml(root / INDEX) or {}).get("workloads") or {}


def stages(root: Path) -> tuple[str, ...]:
    """The names of the stages in the order of dvc.yaml, which is the order they run in."""
    return tuple(_yaml(root / "dvc.yaml")["stages"])


def declared(root: Path, stage: str, workload: str) -> Stage:
    """The stage as declared; UserError where dvc.yaml has no such stage or the index no such workload."""
    known, listed = _yaml(root / "dvc.yaml")["stages"], workloads(root)
    if stage not in known:
        raise UserError(f"there is no stage {stage!r}", where="dvc.yaml", next_step=f"one of: {', '.join(known)}")
    if workload not in listed:
        raise UserError(f"there is no workload {workload!r}", where=INDEX, next_step=f"one of: {', '.join(listed)}")
    names = {"key": workload} | {f"item.{key}": value for key, value in (listed[workload] or {}).items()}
    do = _filled(known[stage]["do"], names)
    outs = [
        next(iter(out)) if isinstance(out, dict) else out for kind in ("outs", "metrics", "plots") for out in do.get(kind, ())
    ]
    params = {file: tuple(keys) for entry in do.get("params", ()) for file, keys in entry.items()}
    return Stage(cmd=do["cmd"], deps=tuple(do.get("deps", ())), params=params, outs=tuple(outs))


def recipe(root: Path, stage: str, workload: str, *, fresh: bool = False) -> str:
    """One hash (hex) of the stage's command, code and parameters as the files are now; `fresh` reads every file again."""
    made = declared(root, stage, workload)
    code = {path: file_md5(root / path, fresh=fresh) for path in made.deps if not path.startswith(_STORE)}
    params = {file: {key: _at(_yaml(root / file, fresh=fresh), key) for key in keys} for file, keys in made.params.items()}
    return _digest(made.cmd, code, params)


def recipe_locked(root: Path, stage: str, workload: str) -> str | None:
    """The same hash of what dvc.lock remembers of the last run; None where there is none."""
    entry = _locked(root).get(f"{stage}@{workload}")
    if entry is None:
        return None
    code = {dep["path"]: dep["md5"] for dep in entry.get("deps", ()) if not dep["path"].startswith(_STORE)}
    return _digest(entry["cmd"], code, entry.get("params", {}))


def outputs(root: Path, workload: str) -> dict[str, dict[str, str]]:
    """By stage: the md5 of each output (path from the root), as dvc.lock has them. Stages that never ran are absent."""
    suffix = f"@{workload}"
    return {
        name.removesuffix(suffix): {out["path"]: out["md5"] for out in entry.get("outs", ())}
        for name, entry in _locked(root).items()
        if name.endswith(suffix)
    }


def unsettled(root: Path, workload: str) -> list[str]:
    """A sentence for each stage that was made from other results than the present ones, as dvc.lock has them; empty: all belong together."""
    present = {path: md5 for outs in outputs(root, workload).values() for path, md5 in outs.items()}
    found = []
    for stage in stages(root):
        entry = _locked(root).get(f"{stage}@{workload}")
        if entry is None:
            found.append(f"{stage} has not run")
            continue
        for dep in entry.get("deps", ()):
            if dep["path"].startswith(_STORE) and present.get(dep["path"]) != dep["md5"]:
                found.append(f"{stage} was made from another {Path(dep['path']).name}")
    return found


def locked(root: Path, workload: str) -> dict[str, str]:
    """By stage: the md5 that stands for its result, straight from dvc.lock. Stages that never ran are absent.

    It is that of the first output that dvc.yaml declares: what later stages read, not the record of how long it took.
    """
    found = {}
    for stage, outs in outputs(root, workload).items():
        first = declared(root, stage, workload).outs[0] if stage in stages(root) and workload in workloads(root) else None
        found[stage] = outs[first] if first in outs else next(iter(outs.values()))
    return found


@contextmanager
def stage_guard(root: Path, stage: str, workload: str) -> Iterator[None]:
    """Refuses (UserError) when the stage's code or sections were edited while the block ran.

    DVC notes code and parameters as they stand after a stage ran: an edit made meanwhile would be taken for the one used.
    """
    before = recipe(root, stage, workload, fresh=True)
    yield
    if recipe(root, stage, workload, fresh=True) != before:
        raise edited(stage, workload)


def edited(stage: str, workload: str) -> UserError:
    """The error for a recipe that moved under a running stage."""
    what = f"code or parameters of {stage} were edited while it ran for {workload}; its result was not kept"
    return UserError(
        what, where=f"orchestration/workloads/{workload}/defs.yaml, or the code that dvc.yaml lists", next_step="run again"
    )


def refuse_params(root: Path, stage: str, workload: str) -> None:
    """UserError for parameters that DVC fails on only after the work is done: keys that the file lacks, and bare dates."""
    wanted = [(file, key) for file, keys in declared(root, stage, workload).params.items() for key in keys]
    if lacking := [f"{file}: {key}" for file, key in wanted if not _has(_yaml(root / file), key)]:
        raise UserError(f"missing in the YAML: {', '.join(lacking)}", next_step="add the key; an empty section is {}")
    for file, key in wanted:
        if (bare := next(_dates(_at(_yaml(root / file), key)), None)) is not None:
            raise UserError(f"a bare date: {bare}", where=f"{file}: {key}", next_step=f"DVC keeps only text: write '{bare}'")


def _dates(value: Any) -> Iterator[date]:
    if isinstance(value, date):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _dates(inner)


def file_md5(path: Path, *, fresh: bool = False, read: Mapping[str, str] | None = None) -> str | None:
    """DVC's md5 of a file, or of a folder (`....dir`: its files' names and md5s); None where there is nothing.

    `read`: md5s of files of the folder that were just read, by their path in it; they count in the place of what lies there.
    """
    if path.is_dir():
        read = read or {}
        listed = [
            {
                "md5": read.get(file.relative_to(path).as_posix()) or _kept(_MD5, file, _md5, fresh),
                "relpath": file.relative_to(path).as_posix(),
            }
            for file in path.rglob("*")
            if file.is_file()
            and not any(fnmatch(part, pattern) for part in file.relative_to(path).parts for pattern in _IGNORED)
        ]
        text = json.dumps(sorted(listed, key=lambda entry: entry["relpath"]), sort_keys=True)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"
    return _kept(_MD5, path, _md5, fresh) if path.is_file() else None


# What was read of a file, kept while its time, size and inode stay: definitions ask for the same files again and again.
_MD5: dict[Path, tuple[tuple[int, ...], str]] = {}
_YAML: dict[Path, tuple[tuple[int, ...], Any]] = {}


def _kept(kept: dict[Path, tuple[tuple[int, ...], Any]], path: Path, read: Callable[[Path], Any], fresh: bool) -> Any:
    stat = path.stat()
    stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    if fresh or path not in kept or kept[path][0] != stamp:
        kept[path] = (stamp, read(path))
    return kept[path][1]


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _yaml(path: Path, *, fresh: bool = False) -> Any:
    """The file's content; None where there is no file. UserError where it is no YAML."""
    try:
        return _kept(_YAML, path, _parsed, fresh)
    except FileNotFoundError:
        return None


def _parsed(path: Path) -> Any:
    import yaml

    try:
        return yamls.load(path.read_bytes())
    except yaml.YAMLError as error:
        step = "remove it: the next run writes it anew, from the run cache" if path.name == LOCK else "mend the file"
        raise UserError(f"not readable as YAML: {error}", where=str(path), next_step=step) from error


def _locked(root: Path) -> dict[str, Any]:
    return (_yaml(root / LOCK) or {}).get("stages") or {}


def _filled(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\$\{([^}]+)\}", lambda match: str(names[match[1].strip()]), value)
    if isinstance(value, dict):
        return {_filled(key, names): _filled(inner, names) for key, inner in value.items()}
    return [_filled(inner, names) for inner in value] if isinstance(value, list) else value


def _has(content: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(content, dict) or part not in content:
            return False
        content = content[part]
    return True


def _at(content: Any, key: str) -> Any:
    if not _has(content, key):
        return None
    for part in key.split("."):
        content = content[part]
    return content


def _digest(cmd: str, code: Mapping[str, str | None], params: Mapping[str, Any]) -> str:
    text = json.dumps(_plain({"cmd": cmd, "code": code, "params": params}), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Nested values with keys in order and every leaf as text with its type, so that equal means equal."""
    if isinstance(value, Mapping):
        return sorted([repr(key), _plain(inner)] for key, inner in value.items())
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else repr(value)
