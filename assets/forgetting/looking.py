"""Where an entity is: in which revisions of a workload's data, online, in the records, in files, and in which versions. Changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from assets import spec as specs
from assets.forgetting import databases, online, versions, vocabulary
from assets.forgetting.traces import Trace
from assets.forgetting.versions import Versions
from assets.platform import Platform
from assets.spec import Spec
from data import forgotten, revisions, sources
from data.errors import UserError
from data.places import Places
from serving.records import Records

# Not looked through as text, by the path's beginning below AIPRIME_HOME: ours, without a key in clear, or looked through otherwise.
_OWN = ("dvc/", "keys/", "receipts/", "forgetting/", "forgotten.json", "records.", "outcomes.", "locks/")
# What may be written over: where an entity's text comes to lie. All else is what the home is made of, and is left; `{}` is the workload.
_ROWS = ("monitor/{}/*", "features/{}/*", "quality/{}/*", "gate/{}/*", "checkpoints/{}/*")
_DATABASES = ("dagster/history/*.db", "dagster/schedules/*.db", "mlflow/mlflow.db")  # by rows: assets/forgetting/databases.py
_SHARED = ("logs/*", "dagster/storage/*")
_ARTIFACTS = "mlflow/artifacts/"
KEPT = {
    "models/": "the files of a version are never changed: retrain, and forget again when it is replaced",
    "ledger.": "the ledger is append-only and sealed",
    "downloads/": "a source's own file",
    "mlflow/artifacts/": "MLflow's copy of a version's files: it goes with the version",
}
_STRUCTURE = "the home is made of it: it is never written over"
_OTHERS = "it is of all workloads, and only one was asked for: forget it without --workload"
_LEFT = "there it is a name, an id or in another workload's rows: these are never written over"
_WORD = (
    "the key is a word of AI Prime's own, or of a name here: it was looked for in columns and records only, and text is left"
)
_BEFORE = ("{}.before-*", "a restore put it aside, and it was not looked through: delete it when it is not needed any more")
_OF_A_WORKLOAD = ("monitor", "gate", "quality", "checkpoints", "feast", "features", "models", "retraining", "aliases")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What of one workload holds the entity. Hashes are md5s, as DVC names objects; files are paths from the home or the project."""

    workload: str
    datasets: tuple[str, ...] = ()  # revisions of the dataset that hold it, and those that did before they were deleted
    outputs: tuple[str, ...] = ()  # these, and all that was made from them
    online: int = 0  # values by which requests are completed
    predictions: int = 0
    outcomes: int = 0
    labels: int = 0
    files: tuple[str, ...] = ()  # of this workload
    shared: tuple[str, ...] = ()  # of all of them: Dagster's events, logs, MLflow's database
    versions: Versions = Versions()  # noqa: RUF009  (frozen)

    def __bool__(self) -> bool:
        """Whether anything was found that is not only waiting to be replaced."""
        kept = self.predictions or self.outcomes or self.labels
        return bool(self.outputs or self.online or kept or self.files or self.versions.old)


def workloads_with_entities(places: Places, only: str | None = None) -> list[Spec]:
    """The workloads whose rows are of entities. UserError where `only` is none of these."""
    found = [specs.load(places, name) for name in ([only] if only else specs.names(places))]
    if only and found[0].data.entity is None:
        raise UserError(f"the rows of {only} are of no entity", where=str(places.defs(only)), next_step="nothing to forget")
    return [spec for spec in found if spec.data.entity is not None]


def trace(places: Places, spec: Spec, entity: str, *, alone: bool = False) -> Trace:
    """What is looked for; `alone`: of what all workloads share, only this one's rows."""
    reserved = vocabulary.reserved(places)
    return Trace(entity, {spec.data.entity or ""}, reserved=reserved, of=spec.name if alone else None)


def find(platform: Platform, spec: Spec, entity: str, *, alone: bool = False) -> Found:
    """Look everywhere for the entity of one workload; `alone` as for `trace`."""
    places = platform.places
    sought = trace(places, spec, entity, alone=alone)
    known = revisions.runs(places.root, spec.name)
    outputs = revisions.touched(places.root, known, lambda path: holds(sought, path))
    made = {md5 for run in known if run.stage == "dataset" for md5 in run.outs.values()}
    digest = forgotten.secret(places.home).digest(entity)
    before = [one for one in platform.ledger.history(spec.name, "forgotten") if one.payload["entity"] == digest]
    datasets = (made & outputs) | {md5 for one in before for md5 in one.payload["datasets"]}
    kept = Records.at(places.home).count(spec.name, entity=entity)
    named = [_name(path, places) for path in changeable(places, spec.name, sought)]
    return Found(
        workload=spec.name,
        datasets=tuple(sorted(datasets)),
        outputs=tuple(sorted(outputs)),
        online=online.rows(places.home, spec.name, entity),
        predictions=kept.predictions,
        outcomes=kept.outcomes,
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


def changeable(places: Places, workload: str, sought: Trace) -> Iterator[Path]:
    """The files that hold the entity and may lose it."""
    for path in files(places, workload):
        if untouched(path, places, workload, sought) is None and _reaches(sought, path):
            yield path


def _reaches(sought: Trace, path: Path) -> bool:
    try:
        return sought.reaches(path)
    except (OSError, ValueError, sqlite3.Error):
        return holds(sought, path)


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
        {"where": _name(path, places), "why": untouched(path, places, spec.name, sought) or _missed(sought, path)}
        for path in files(places, spec.name)
        if holds(sought, path)
    ]
    found += [{"where": area, "why": _WORD} for area in (_areas(places, spec.name, sought) if sought.is_word else ())]
    pattern, why = _BEFORE
    for place in (places.home, places.root / revisions.LOCK):
        found += [{"where": one.name, "why": why} for one in sorted(place.parent.glob(pattern.format(place.name)))]
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


def untouched(path: Path, places: Places, workload: str, sought: Trace) -> str | None:
    """Why a file is left as it is; None where it may be written over."""
    if not path.is_relative_to(places.home):
        return None  # the workload's own labels
    name = _name(path, places)
    if name.startswith(_ARTIFACTS) and ("/models/" not in name or "input_example" in path.name):
        ours = sought.of is None or name.startswith(f"{_ARTIFACTS}{databases.experiment(places.home, sought.of)}/")
        return None if ours else _OTHERS  # a run's own files, and the example that is shown beside a model
    if any(fnmatch(name, pattern.format(workload)) for pattern in (*_ROWS, *_DATABASES)):
        return None
    if any(fnmatch(name, pattern) for pattern in _SHARED):
        return None if sought.of is None else _OTHERS
    return next((why for start, why in KEPT.items() if name.startswith(start)), _STRUCTURE)


def _missed(sought: Trace, path: Path) -> str:
    return "it could not be written over: forget again" if _reaches(sought, path) else _LEFT


def _areas(places: Places, workload: str, sought: Trace) -> list[str]:
    """Where a key that is a word of our own stands in text, as the first part of the path: of us or of the entity, nobody can tell."""
    texts = (path for path in files(places, workload) if path.is_relative_to(places.home) and path.suffix != ".parquet")
    areas: dict[str, None] = {}
    for path in texts:
        first, slash, _ = _name(path, places).partition("/")
        with suppress(OSError, sqlite3.Error):  # it went meanwhile, or is locked: what is in it is not known
            if first + slash not in areas and sought.stands_in(path):
                areas[first + slash] = None
    return [*areas]


def _name(path: Path, places: Places) -> str:
    base = places.home if path.is_relative_to(places.home) else places.root
    return path.relative_to(base).as_posix()


def _walk(home: Path) -> Iterator[Path]:
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        passed_over = name.startswith(_OWN) or name.endswith(("-wal", "-shm", "-journal", ".lock"))
        if not passed_over and path.is_file() and not path.is_symlink() and path.stat().st_size:
            yield path
