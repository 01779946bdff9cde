"""Where an entity is: in which revisions of a workload's data, online, in the records, in files, and in which versions. Changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assets import spec as specs
from assets.forgetting import online, versions
from assets.forgetting.traces import Trace
from assets.forgetting.versions import Versions
from assets.platform import Platform
from assets.spec import Spec
from data import forgotten, revisions, sources
from data.errors import UserError
from data.places import Places
from serving.records import Records

# Where the key is not looked for as text, or is not written over: by the path's beginning below AIPRIME_HOME.
_OWN = ("dvc/", "keys/", "receipts/", "forgetting/", "forgotten.json", "records.", "outcomes.", "locks/")
KEPT = {
    "models/": "the files of a version are never changed: retrain, and forget again when it is replaced",
    "ledger.": "the ledger is append-only and sealed",
    "downloads/": "a source's own file",
    "mlflow/artifacts/": "MLflow's copy of a version's files: it goes with the version",
}
_OF_A_WORKLOAD = ("monitor", "gate", "quality", "checkpoints", "feast", "features", "models", "retraining", "aliases")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What of one workload holds the entity. Hashes are md5s, as DVC names objects; files are paths from the home or the project."""

    workload: str
    datasets: tuple[str, ...] = ()  # revisions of the dataset that hold it, and those that did before they were deleted
    outputs: tuple[str, ...] = ()  # these, and all that was made from them
    online: int = 0  # values by which requests are completed
    predictions: int = 0
    labels: int = 0
    files: tuple[str, ...] = ()  # of this workload
    shared: tuple[str, ...] = ()  # of all of them: Dagster's events, logs, MLflow's database
    versions: Versions = Versions()  # noqa: RUF009  (frozen)

    def __bool__(self) -> bool:
        """Whether anything was found that is not only waiting to be replaced."""
        return bool(self.outputs or self.online or self.predictions or self.labels or self.files or self.versions.old)


def workloads_with_entities(places: Places, only: str | None = None) -> list[Spec]:
    """The workloads whose rows are of entities. UserError where `only` is none of these."""
    found = [specs.load(places, name) for name in ([only] if only else specs.names(places))]
    if only and found[0].data.entity is None:
        raise UserError(f"the rows of {only} are of no entity", where=str(places.defs(only)), next_step="nothing to forget")
    return [spec for spec in found if spec.data.entity is not None]


def trace(spec: Spec, entity: str) -> Trace:
    """What is looked for."""
    return Trace(entity, {spec.data.entity or ""})


def find(platform: Platform, spec: Spec, entity: str) -> Found:
    """Look everywhere for the entity of one workload."""
    places, sought = platform.places, trace(spec, entity)
    known = revisions.runs(places.root, spec.name)
    outputs = revisions.touched(places.root, known, lambda path: holds(sought, path))
    made = {md5 for run in known if run.stage == "dataset" for md5 in run.outs.values()}
    digest = forgotten.secret(places.home).digest(entity)
    before = [one for one in platform.ledger.history(spec.name, "forgotten") if one.payload["entity"] == digest]
    datasets = (made & outputs) | {md5 for one in before for md5 in one.payload["datasets"]}
    kept = Records.at(places.home).count(spec.name, entity=entity)
    changed = [path for path in files(places, spec.name) if untouched(path, places) is None and holds(sought, path)]
    named = [_name(path, places) for path in changed]
    return Found(
        workload=spec.name,
        datasets=tuple(sorted(datasets)),
        outputs=tuple(sorted(outputs)),
        online=online.rows(places.home, spec.name, entity),
        predictions=kept.predictions,
        labels=kept.labels,
        files=tuple(name for name in named if spec.name in name.split("/")),
        shared=tuple(name for name in named if spec.name not in name.split("/")),
        versions=versions.trained_on(platform, spec.name, datasets, made),
    )


def holds(sought: Trace, path: Path) -> bool:
    """Whether a file holds the entity; one that cannot be read as what it is counts as text."""
    try:
        return sought.in_file(path)
    except (OSError, ValueError, sqlite3.Error):
        try:
            return sought.in_bytes(path.read_bytes())
        except OSError:  # it went meanwhile
            return False


def files(places: Places, workload: str) -> Iterator[Path]:
    """The files in which the workload's entities may be named: of the home (but for other workloads'), and its labels in the project."""
    others = {name for name in specs.names(places) if name != workload}
    for path in _walk(places.home):
        first, _, rest = path.relative_to(places.home).as_posix().partition("/")
        whose = rest.partition("/")[0]
        if not (first in _OF_A_WORKLOAD and whose in others):
            yield path
    labels = places.store(workload) / "labels.parquet"
    if labels.is_file():
        yield labels


def remaining(places: Places, spec: Spec, sought: Trace) -> list[dict[str, str]]:
    """Where the key still stands, and why it does."""
    found = [
        {"where": _name(path, places), "why": untouched(path, places) or "it could not be written over: forget again"}
        for path in files(places, spec.name)
        if holds(sought, path)
    ]
    try:
        for source in sources.files(spec.data.source, places):
            if source.path.is_file() and holds(sought, source.path):
                found.append(
                    {"where": source.name, "why": "the source itself: yours to change; its rows are left out at each read"}
                )
    except UserError:
        pass  # a source that is not there holds nothing
    if sought.in_bytes(places.defs(spec.name).read_bytes()):
        found.append(
            {"where": f"orchestration/workloads/{spec.name}/defs.yaml", "why": "the workload's YAML names it: yours to edit"}
        )
    where = revisions.remote(places.root)
    if where and not Path(where).is_absolute():
        found.append({"where": where, "why": "a DVC remote elsewhere: delete the objects that this receipt names there too"})
    return found


def untouched(path: Path, places: Places) -> str | None:
    """Why a file is left as it is; None where it is not."""
    name = _name(path, places)
    if name.startswith("mlflow/") and ("/models/" not in name or "input_example" in path.name):
        return None  # MLflow's database, a run's own files, and the example that is shown beside a model
    return next((why for start, why in KEPT.items() if name.startswith(start)), None)


def _name(path: Path, places: Places) -> str:
    base = places.home if path.is_relative_to(places.home) else places.root
    return path.relative_to(base).as_posix()


def _walk(home: Path) -> Iterator[Path]:
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        passed_over = name.startswith(_OWN) or name.endswith(("-wal", "-shm", "-journal", ".lock"))
        if not passed_over and path.is_file() and not path.is_symlink() and path.stat().st_size:
            yield path
