"""Workloads come and go, and disk is freed: `aiprime new`, `remove`, `gc`."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from assets import lease
from assets.spec import NAME, load, names
from data import infer
from data.errors import UserError
from data.files import write_atomically
from data.places import Places
from orchestration import freeing, services
from serving.deploy import LocalTarget
from serving.ledger import Ledger


def new(places: Places, name: str, source: str, target: str, time: str | None, entity: str | None) -> str:
    """Infer `orchestration/workloads/NAME/defs.yaml` from a file and register the name for DVC; returns what to do next."""
    if NAME.fullmatch(name) is None:
        raise UserError(f"{name!r} cannot be a name", next_step="lower-case letters, digits and _, a letter first, at most 41")
    file = places.defs(name)
    if file.exists():
        raise UserError(f"{name} exists", where=str(file), next_step=f"edit it, or aiprime remove {name} first")
    inferred = infer.infer(source, target, time=time, entity=entity, root=places.root)
    had_folder = file.parent.is_dir()
    write_atomically(file, infer.render_yaml(name, inferred))
    try:
        load(places, name)
        infer.register(places.root, name, inferred.family)
    except BaseException:
        _take_out(file, folder_too=not had_folder)
        raise
    services.reload_definitions(places)
    notes = "".join(f"  - {note}\n" for note in inferred.notes)
    return (
        f"wrote {file.relative_to(places.root)}: {inferred.task} of {target!r}\n{notes}  look it over, then: aiprime run {name}"
    )


def remove(places: Places, name: str) -> str:
    """Retire the endpoint, take the workload's YAML and its name out; the DVC cache, MLflow and the ledger keep their records.

    What else a person keeps in the workload's folder stays there.
    """
    if name not in names(places):
        raise UserError(f"no workload {name!r}", next_step="aiprime workloads lists them")
    lease.hold(places.home, name, "remove")
    try:
        ledger = Ledger.at(places.home)
        if champion := ledger.champion(name):
            ledger.record("retired", name, champion.version, {"reason": "removed by a person"}, actor="person")
            LocalTarget(places.home).reconcile()
        infer.unregister(places.root, name)
        _take_out(places.defs(name))
        shutil.rmtree(places.store(name), ignore_errors=True)
        services.reload_definitions(places)
    finally:
        lease.release(places.home, name)
    folder = places.defs(name).parent
    left = f"; {folder.relative_to(places.root)} stays, for it holds files of yours" if folder.exists() else ""
    return f"removed {name}; its versions stay in MLflow and its data in the DVC cache until aiprime gc{left}"


def _take_out(defs: Path, *, folder_too: bool = True) -> None:
    """Delete the YAML, and its folder where nothing else is in it."""
    defs.unlink(missing_ok=True)
    if folder_too:
        with contextlib.suppress(OSError):  # not empty: the rest is the person's own
            defs.parent.rmdir()


def gc(places: Places, keep: int) -> str:
    """Delete the files of old versions, here and in MLflow: all but the newest `keep`, what serves and the one before it; then DVC's
    unreferenced cache.

    A workload that is being run keeps its versions this time. UserError where the current data cannot be pushed: the cache stays.
    """
    folders = [places.home / part for part in ("models", "monitor", "gate", "retraining", "mlflow/artifacts", "dvc/cache")]
    before = sum(map(_size, folders))
    deleted, busy, unreached = [], [], False
    models = places.home / "models"
    for folder in sorted(one for one in (models.iterdir() if models.is_dir() else ()) if one.is_dir()):
        try:
            lease.hold(places.home, folder.name, "gc")
        except lease.Busy:
            busy.append(folder.name)
            continue
        try:
            old = _delete_old(places, folder, keep)
            deleted += [f"{folder.name} {version}" for version in old]
            kept = {one.name for one in folder.iterdir() if one.is_dir()}
            freeing.leftovers(places, folder.name, kept)
            unreached |= freeing.tracked(places, folder.name, kept) is None and bool(old)
        finally:
            lease.release(places.home, folder.name)
    from data import versions as dvc

    dvc.initialise(places.root, places.home)
    pushed = dvc.collect(places.root)
    freed = before - sum(map(_size, folders))
    return (
        f"deleted {len(deleted)} version(s){': ' + ', '.join(deleted) if deleted else ''}; freed {max(0, freed) / 1e6:.1f} MB"
        + (f"; pushed {pushed} file(s) of the current data to the DVC remote first" if pushed else "")
        + ("; MLflow does not run and keeps its copies of them: aiprime up, then gc again" if unreached else "")
        + (f"; left alone, for they are being run: {', '.join(busy)}" if busy else "")
    )


def _delete_old(places: Places, folder: Path, keep: int) -> list[int]:
    """Delete the workload's versions that nobody may go back to; which those were."""
    versions = sorted((int(one.name) for one in folder.iterdir() if one.is_dir() and one.name.isdigit()), reverse=True)
    ledger = Ledger.at(places.home)
    release = ledger.release(folder.name)
    needed = {release.champion, release.previous, release.challenger}
    needed |= {decision.version for decision in ledger.history(folder.name, "promoted")[-2:]}
    old = [version for version in sorted(versions[keep:]) if str(version) not in needed]
    for version in old:
        shutil.rmtree(folder / str(version))
        for companion in folder.glob(f"{version}.*"):  # manifest, signature, statement, card ...
            companion.unlink()
    return old


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
