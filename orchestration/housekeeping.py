"""Workloads come and go, and disk is freed: `aiprime new`, `remove`, `gc`."""

from __future__ import annotations

import shutil
from pathlib import Path

from assets import lease
from assets.spec import NAME, load, names
from data import infer
from data.errors import UserError
from data.files import write_atomically
from data.places import Places
from orchestration import services
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
    write_atomically(file, infer.render_yaml(name, inferred))
    try:
        load(places, name)
        infer.register(places.root, name, inferred.family)
    except BaseException:
        shutil.rmtree(file.parent, ignore_errors=True)
        raise
    services.reload_definitions(places)
    notes = "".join(f"  - {note}\n" for note in inferred.notes)
    return (
        f"wrote {file.relative_to(places.root)}: {inferred.task} of {target!r}\n{notes}  look it over, then: aiprime run {name}"
    )


def remove(places: Places, name: str) -> str:
    """Retire the endpoint, take the workload's folder and its name out; the DVC cache, MLflow and the ledger keep their records."""
    if name not in names(places):
        raise UserError(f"no workload {name!r}", next_step="aiprime workloads lists them")
    lease.hold(places.home, name, "remove")
    try:
        ledger = Ledger.at(places.home)
        if champion := ledger.champion(name):
            ledger.record("retired", name, champion.version, {"reason": "removed by a person"}, actor="person")
            LocalTarget(places.home).reconcile()
        infer.unregister(places.root, name)
        shutil.rmtree(places.defs(name).parent)
        shutil.rmtree(places.store(name), ignore_errors=True)
        services.reload_definitions(places)
    finally:
        lease.release(places.home, name)
    return f"removed {name}; its versions stay in MLflow and its data in the DVC cache until aiprime gc"


def gc(places: Places, keep: int) -> str:
    """Delete the files of old versions: all but the newest `keep`, the champion and the one before it; then DVC's unreferenced cache."""
    ledger = Ledger.at(places.home)
    before = _size(places.home)
    deleted = []
    models = places.home / "models"
    for folder in sorted(models.iterdir() if models.is_dir() else []):
        versions = sorted((int(one.name) for one in folder.iterdir() if one.is_dir() and one.name.isdigit()), reverse=True)
        kept = set(versions[:keep]) | {int(decision.version) for decision in ledger.history(folder.name, "promoted")[-2:]}
        for version in versions:
            if version not in kept:
                shutil.rmtree(folder / str(version))
                (folder / f"{version}.yaml").unlink(missing_ok=True)
                deleted.append(f"{folder.name} {version}")
    from data import versions as dvc

    dvc.collect(places.root)
    freed = before - _size(places.home)
    return (
        f"deleted {len(deleted)} version(s){': ' + ', '.join(deleted) if deleted else ''}; freed {max(0, freed) / 1e6:.1f} MB"
    )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
