"""DVC's door: stages are brought up to date through it, and what it restored is hashed again before anybody reads it.

The stage function runs in this process in place of the command in dvc.yaml (which runs the same function for `dvc repro`), so
both doors share one state: dvc.lock, the cache and the run cache below AIPRIME_HOME.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import yamls
from data.errors import UserError
from data.files import write_atomically
from data.places import Places
from data.recipe import (
    LOCK,
    edited,
    file_md5,
    locked,
    outputs,
    recipe,
    recipe_locked,
    refuse_params,
    stage_guard,
    stages,
    unsettled,
    workloads,
)

__all__ = [
    "StageRun",
    "bring_up_to_date",
    "checkout",
    "collect",
    "initialise",
    "locked",
    "outputs",
    "read",
    "recipe",
    "recipe_locked",
    "setting",
    "stage_guard",
    "stages",
    "unsettled",
    "verify",
    "workloads",
]

_RETRY_SECONDS = 0.25
# no_scm: git ignores dvc.lock, for the loop rewrites it, and DVC refuses a lock that git ignores.
SHARED = "[core]\n    analytics = false\n    check_update = false\n    no_scm = true\n"
_in_process: ContextVar[Callable[[], None] | None] = ContextVar("stage function to run in place of the command", default=None)


@dataclass(frozen=True)
class StageRun:
    """What bringing one stage up to date took: whether the function ran or DVC restored, and the md5 of each output by path."""

    ran: bool
    restored: bool
    outs: dict[str, str]
    seconds: float


def bring_up_to_date(root: Path, stage: str, workload: str, call: Callable[[], None], *, wait_seconds: float = 900) -> StageRun:
    """Run `call` if DVC finds the stage's code, parameters or inputs changed; restore or leave its outputs alone if not.

    Errors of `call` come through unchanged, and leave dvc.lock as it was. UserError where another run of the same workload
    is busy for longer than `wait_seconds`, the recipe was edited meanwhile, an output does not have its hash, or the disk is full.
    """
    began = time.monotonic()
    refuse_params(root, stage, workload)
    called = False

    def noted() -> None:
        nonlocal called
        called = True
        call()

    before = recipe(root, stage, workload, fresh=True)
    changed = _reproduce(root, stage, workload, noted, began + wait_seconds)
    if called and recipe_locked(root, stage, workload) != before:
        _forget_run(root, stage, workload)
        raise edited(stage, workload)
    outs = outputs(root, workload)[stage]
    if not called:
        verify(root, workload, stage)
    return StageRun(ran=called, restored=changed and not called, outs=outs, seconds=time.monotonic() - began)


def _reproduce(root: Path, stage: str, workload: str, call: Callable[[], None], deadline: float) -> bool:
    """Whether DVC did anything. Two runs of one stage: the second gets a LockError at once, and waits here."""
    from dvc.exceptions import ReproductionError
    from dvc.lock import LockError

    while True:
        try:
            with _repo(root) as repo, _calling(call):
                return bool(repo.reproduce(f"{root / 'dvc.yaml'}:{stage}@{workload}", single_item=True))
        except (ReproductionError, LockError) as error:
            cause = error if isinstance(error, LockError) else error.__cause__ or error
            if not isinstance(cause, LockError):
                raise _full_disk(cause, root) or cause from None
            if time.monotonic() > deadline:
                where, step = f"{workload}/{stage}", "wait until it has ended, or stop it, and run again"
                raise UserError(f"another run is busy with it: {cause}", where=where, next_step=step) from error
        time.sleep(_RETRY_SECONDS)


@contextmanager
def _repo(root: Path) -> Iterator[Any]:
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # it says "didn't change, skipping" on standard output
    _adapt()
    _without_torn_list(root / ".dvc" / "tmp")
    with Repo(str(root), _wait_for_lock=True) as repo:
        yield repo


def _without_torn_list(temporary: Path) -> None:
    """Remove DVC's list of who reads and writes what, where one that was killed left it torn: DVC writes it in place, and refuses it."""
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

    listed = temporary / RWLOCK_FILE
    if not _torn(listed):
        return
    with make_lock(str(temporary / RWLOCK_LOCK), tmp_dir=str(temporary)):  # who writes it at this moment has it
        if _torn(listed):
            listed.unlink()


def _torn(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


def _adapt() -> None:
    """Three changes of DVC, made once: its shell runner calls the function of this context where there is one; its run
    cache finds dvc.yaml in the project and not in the working directory; dvc.lock is read fast and replaced whole."""
    from dvc import stage as dvc_stage
    from dvc.stage import run

    if getattr(run.cmd_run, "in_process", False):
        return
    through_the_shell, create_stage = run.cmd_run, dvc_stage.create_stage

    def cmd_run(stage: Any, dry: bool = False, run_env: Any = None) -> None:
        call = _in_process.get()
        if call is None or dry:
            through_the_shell(stage, dry=dry, run_env=run_env)
        else:
            call()

    def create_in_project(cls: Any, repo: Any, path: str, **given: Any) -> Any:
        return create_stage(cls, repo, os.path.join(repo.root_dir, path), **given)  # noqa: PTH118 (DVC wants text)

    cmd_run.in_process = True  # pyright: ignore[reportFunctionMemberAccess]
    run.cmd_run, dvc_stage.create_stage = cmd_run, create_in_project  # pyright: ignore[reportAttributeAccessIssue]
    _adapt_yaml()


def _adapt_yaml() -> None:
    """DVC reads YAML with ruamel, which takes seconds for the dvc.lock of 100 workloads, and writes dvc.lock in place."""
    import yaml
    from dvc import dvcfile
    from dvc.utils import strictyaml
    from dvc.utils.serialize import YAMLFileCorruptedError

    parse_slowly, modify_in_place = strictyaml.parse_yaml, dvcfile.modify_yaml

    def parse_yaml(text: str, path: str, typ: str = "safe") -> Any:
        if typ != "safe":
            return parse_slowly(text, path, typ)
        try:
            return yamls.load(text) or {}
        except yaml.YAMLError:
            raise YAMLFileCorruptedError(path) from None

    @contextmanager
    def modify_yaml(path: str, fs: Any = None) -> Iterator[Any]:
        lock = Path(path)
        if lock.name != LOCK:
            with modify_in_place(path, fs=fs) as content:
                yield content
            return
        content = parse_yaml(lock.read_text(encoding="utf-8"), path) if lock.is_file() else {}
        yield content
        write_atomically(lock, yamls.dump(content))

    strictyaml.parse_yaml, dvcfile.modify_yaml = parse_yaml, modify_yaml  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def _calling(call: Callable[[], None]) -> Iterator[None]:
    token = _in_process.set(call)
    try:
        yield
    finally:
        _in_process.reset(token)


def _full_disk(cause: BaseException, root: Path) -> UserError | None:
    seen: BaseException | None = cause
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return UserError(
                "the disk is full",
                where=str(seen.filename or root),
                next_step="free space (aiprime gc --keep 3), then run again",
            )
        seen = seen.__cause__ or seen.__context__
    return None


def _forget_run(root: Path, stage: str, workload: str) -> None:
    """Take the stage's entry out of dvc.lock: what it recorded is not what ran."""
    with _repo(root) as repo, repo.lock:
        loaded = repo.stage.load_one(str(root / "dvc.yaml"), f"{stage}@{workload}")
        loaded.dvcfile._lockfile.remove_stage(loaded)


def verify(root: Path, workload: str, stage: str) -> None:
    """Hash the stage's outputs as they lie there against dvc.lock; UserError names file and hash.

    DVC trusts its cache: it checks out a truncated or flipped object without a word.
    """
    wanted = outputs(root, workload).get(stage)
    if wanted is None:
        raise UserError(f"{stage} has not run for {workload}", next_step=f"aiprime run {workload} --until {stage}")
    for path, md5 in wanted.items():
        found = file_md5(root / path, fresh=True)
        if found != md5:
            what = f"{path} is damaged: its md5 is {found}, dvc.lock says {md5}" if found else f"{path} is missing (md5 {md5})"
            bad = _object(root, md5)
            step = f"remove {path}" + (f" and {bad} from the DVC cache" if bad else "") + f", then: aiprime run {workload}"
            raise UserError(what, where=str(root / path), next_step=step)


def read(root: Path, workload: str, stage: str, path: str) -> bytes:
    """The bytes of a stage's output, or of a file in one (`path` from the root), which have the hash that dvc.lock states.

    What is returned is what was hashed: nothing can change in between, and each reading hashes the file once. UserError as `verify`.
    """
    wanted = outputs(root, workload).get(stage, {})
    out = next((out for out in wanted if path == out or path.startswith(f"{out}/")), None)
    if out is None or not (root / path).is_file():
        verify(root, workload, stage)
        raise UserError(f"{path} is no output of {stage}", where=str(root / path), next_step=f"aiprime run {workload}")
    content = (root / path).read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if path != out:
        found = file_md5(root / out, read={path.removeprefix(f"{out}/"): found})
    if found != wanted[out]:
        verify(root, workload, stage)
        raise UserError(
            f"{path} was not read as it lies there", where=str(root / path), next_step="run again; then look at the disk"
        )
    return content


def _object(root: Path, md5: str) -> Path | None:
    """The cache's object of that hash, where it is there."""
    folder = root / ".dvc" / _local(root).get("cache", {}).get("dir", "cache")
    found = folder / "files" / "md5" / md5[:2] / md5[2:]
    return found if found.is_file() else None


def collect(root: Path) -> int:
    """Push what dvc.lock names to the default remote, then delete from the cache what it no longer names; how many files were pushed.

    What is deleted was pushed only if an earlier push or collect found it current: DVC can push nothing that dvc.lock does not
    name. UserError where the push fails; nothing is deleted then.
    """
    from dvc.exceptions import DvcException

    with _repo(root) as repo:
        logging.getLogger("dvc").setLevel(logging.ERROR)  # it warns of each stage that never ran; the next _repo() sets it back
        try:
            pushed = repo.push()
        except (DvcException, OSError) as error:
            raise UserError(
                f"the current data cannot be pushed to the DVC remote: {error}",
                where=str(repo.config["core"].get("remote", "no remote is configured")),
                next_step="mend the remote (AIPRIME_DVC_REMOTE, .dvc/config.local) or make room there; the cache was left alone",
            ) from error
        repo.gc(workspace=True, force=True)
    return pushed


def checkout(root: Path) -> list[str]:
    """Bring the outputs that dvc.lock names out of the cache, over what lies there; those that are not in the cache."""
    wanted = [path for workload in workloads(root) for outs in outputs(root, workload).values() for path in outs]
    if not wanted:
        return []
    from dvc.exceptions import CheckoutError

    with chdir(root), _repo(root) as repo:  # DVC counts targets from the working directory
        try:
            repo.checkout(wanted, force=True)
        except CheckoutError as error:
            return sorted(str(one) for one in error.target_infos)
    return []


def initialise(root: Path, home: Path) -> None:
    """Make the project DVC's: cache, state and the default remote below `home`; AIPRIME_DVC_REMOTE names another remote (s3://...).

    Writes .dvc/config (shared, once) and .dvc/config.local (this machine's; other keys in it stay). Safe to repeat, imports no dvc.
    """
    remote = Places(root=root, home=home).setting("AIPRIME_DVC_REMOTE")
    folder = root / ".dvc"
    if not (folder / "config").is_file():
        write_atomically(folder / "config", SHARED)
    config, state = _local(root), home / "dvc"
    before = {name: dict(section) for name, section in config.items()}
    wanted: dict[str, dict[str, str]] = {
        "core": {"remote": "storage", "site_cache_dir": str(state / "site")},
        "cache": {"dir": str(state / "cache")},
        'remote "storage"': {"url": remote or str(state / "remote")},
    }
    for name, values in wanted.items():
        config[name] = dict(config.get(name, {})) | values
    if {name: dict(section) for name, section in config.items()} != before:
        write_atomically(folder / "config.local", "\n".join(config.write()) + "\n")


def setting(root: Path, section: str, name: str) -> str | None:
    """One value of .dvc/config.local; None where it is not stated."""
    return _local(root).get(section, {}).get(name)


def _local(root: Path) -> Any:
    """.dvc/config.local as DVC reads it; an empty one where there is none."""
    from configobj import ConfigObj

    file = root / ".dvc" / "config.local"
    lines: Any = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return ConfigObj(lines, list_values=False)
