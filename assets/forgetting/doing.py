"""An erasure, step by step: the tombstone first, so that nothing comes back; the ledger's record; then what is kept; last the receipt.

Every step can be done again. What is to be deleted is written down (HOME/forgetting/ID.json, hashes only) before the first deletion, for
what is gone cannot be looked through again: whoever was killed goes on from there, also after the receipt.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from assets import lease
from assets.forgetting import looking, online, receipt, versions
from assets.forgetting.looking import Found, find, trace, workloads_with_entities
from assets.forgetting.receipt import Receipt
from assets.forgetting.traces import Trace
from assets.platform import Platform
from assets.spec import Spec, names
from assets.stages import up_to_date
from data import forgotten, revisions
from data.errors import UserError
from data.failpoints import failpoint
from data.files import write_json
from data.forgotten import Tombstone
from data.places import Places
from serving.records import Records

log = logging.getLogger("aiprime.forgetting")
_DERIVED = ("quality", "checkpoints")  # of a workload: made again by its next run
_REBUILT = ("source", "dataset", "quality", "features")
STEPS = (  # in this order, all but the first and the last for each workload
    *("tombstones", "journal", "record", "records", "online", "outputs", "strays", "versions"),
    *("derived", "texts", "data", "receipt"),
)


def forget(platform: Platform, entity: str, only: str | None = None) -> Receipt:
    """Forget an entity, of one workload or of all; the signed receipt. Calling it again goes on, or looks whether anything came back.

    UserError where nothing is known of it and it was never forgotten, or a workload is being run (nothing was changed then).
    """
    places = platform.places
    specs = workloads_with_entities(places, only)
    alone = only is not None and names(places) != [only]
    digest = forgotten.secret(places.home).digest(entity)
    looked = {spec.name: find(platform, spec, entity, alone=alone) for spec in specs}
    known = {one.workload: one for one in forgotten.tombstones(places.home) if one.digest == digest}
    open_ = {name: one for name, one in known.items() if not receipt.place(places.home, one.receipt).exists()}
    chosen = [spec for spec in specs if looked[spec.name] or looked[spec.name].versions.serving or spec.name in open_]
    if not chosen:
        return _nothing(places, entity, [known[spec.name] for spec in specs if spec.name in known])
    if not any(looked[spec.name] for spec in chosen) and all(spec.name in known for spec in chosen) and not open_:
        return _done(places, known[chosen[0].name])
    number = next(iter(open_.values())).receipt if open_ else f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:12]}"
    return _do(platform, entity, chosen, digest, number, alone=alone)


def reapply(platform: Platform, receipts: Iterable[Path]) -> list[str]:
    """Forget again what these receipts say was forgotten, as after a restore of an older state; the ids of those that found something.

    Who it was is found by the digest, among all entities that are there. Untrusted where a receipt's signature does not hold;
    UserError where it was made with another home's key.
    """
    places, again = platform.places, []
    key = forgotten.secret(places.home)
    for file in receipts:
        told = receipt.read(file, places.home)
        if told.key != key.id:
            step = "restore keys/forgetting.key of the home that wrote it, or forget the entity by its key again"
            raise UserError(
                "the receipt was made with another key: who it is about cannot be told", where=str(file), next_step=step
            )
        for name in told.workloads:
            try:
                (spec,) = workloads_with_entities(places, name)
            except UserError:  # the workload is gone: so are its rows
                continue
            forgotten.bury(places.home, Tombstone(digest=told.digest, workload=name, at=told.at, receipt=told.id))
            for entity in sorted(_entities(platform, spec)):
                if key.digest(entity) == told.digest:
                    alone = told.workloads[name].get("alone", False)
                    _of_workload(platform, spec, entity, told.digest, told.id, alone=alone)
                    again.append(told.id)
        _journal(places, told.id).unlink(missing_ok=True)
    return again


def _nothing(places: Places, entity: str, known: list[Tombstone]) -> Receipt:
    if known:
        return _done(places, known[-1])
    raise UserError(f"nothing is known of {entity!r}", next_step="write the key as the data have it; letters' case counts")


def _done(places: Places, tombstone: Tombstone) -> Receipt:
    """The receipt that is there; whoever wrote it may have been killed right afterwards."""
    told = receipt.read(receipt.place(places.home, tombstone.receipt), places.home)
    _journal(places, told.id).unlink(missing_ok=True)
    return told


def _passed(step: str) -> None:
    """One of STEPS is done."""
    failpoint("during-forget", step)


def _do(platform: Platform, entity: str, specs: list[Spec], digest: str, number: str, *, alone: bool) -> Receipt:
    places = platform.places
    at = datetime.now(UTC).isoformat(timespec="seconds")
    done: dict[str, dict[str, Any]] = {}
    with ExitStack() as leases:
        for spec in specs:
            leases.enter_context(lease.within(places.home, spec.name, f"forget:{number}"))
        for spec in specs:
            forgotten.renew(places.home, Tombstone(digest=digest, workload=spec.name, at=at, receipt=number))
        _passed("tombstones")
        for spec in specs:
            done[spec.name] = _of_workload(platform, spec, entity, digest, number, alone=alone)
    plain = json.loads(json.dumps(done))  # as it will be read again
    made = Receipt(id=number, at=at, digest=digest, key=forgotten.secret(places.home).id, workloads=plain)
    receipt.write(places.home, made)
    _passed("receipt")
    _journal(places, number).unlink(missing_ok=True)
    return made


def _of_workload(platform: Platform, spec: Spec, entity: str, digest: str, number: str, *, alone: bool) -> dict[str, Any]:
    """One workload's part; what the receipt says of it."""
    places = platform.places
    sought = trace(places, spec, entity, alone=alone)
    found = _written_down(places, number, find(platform, spec, entity, alone=alone))
    _passed("journal")
    _record(platform, found, digest, number)
    erased = _erase(places, spec.name, entity, found)
    revisions.remove(places.root, spec.name, {*found.outputs})
    _passed("outputs")
    _strays(places, sought)
    _passed("strays")
    versions.delete(platform, spec.name, found.versions.old, number)
    left = versions.drop_tracked(platform, spec.name, found.versions.old)
    _passed("versions")
    _derived(platform, spec, found, sought)
    _passed("derived")
    _write_over(places, spec, sought)
    _passed("texts")
    rebuilt = _rebuild(places, spec) if found.outputs else None
    _passed("data")
    remains = looking.remaining(places, spec, sought)
    return {
        "found": asdict(found) | {"versions": asdict(found.versions)},
        "erased": erased,
        "searched_as_text": sought.searchable,
        "alone": alone,
        "retrain": list(found.versions.serving),
        "remains": remains + ([{"where": "mlflow", "why": left}] if left else []),
        "rebuilt": rebuilt,
    }


def _record(platform: Platform, found: Found, digest: str, number: str) -> None:
    facts = {
        "entity": digest,
        "receipt": number,
        "datasets": list(found.datasets),
        "retrain": list(found.versions.serving),
        "deleted": list(found.versions.old),
        "reason": "an entity was forgotten",
    }
    platform.ledger.record("forgotten", found.workload, "", facts, actor="person", key=f"forgotten:{number}:{found.workload}")
    _passed("record")


def _erase(places: Places, workload: str, entity: str, found: Found) -> dict[str, int]:
    """Out of the records and the online values; how many went, those too that went before an interruption."""
    gone = Records.at(places.home).erase(workload, entity=entity)
    _passed("records")
    values = online.erase(places.home, workload, entity)
    for copy in (places.home / "feast" / workload).glob("source.*"):
        copy.unlink()
    _passed("online")
    return {
        "predictions": max(gone.predictions, found.predictions),
        "outcomes": max(gone.outcomes, found.outcomes),
        "labels": max(gone.labels, found.labels),
        "online_values": max(values, found.online),
    }


def _journal(places: Places, number: str) -> Path:
    return places.home / "forgetting" / f"{number}.json"


def _written_down(places: Places, number: str, found: Found) -> Found:
    """What was found now and before an interruption, on the disk before anything is deleted."""
    file = _journal(places, number)
    before = json.loads(file.read_bytes()) if file.is_file() else {}
    one = before.get(found.workload, {})

    def both(name: str, now: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({*now, *one.get(name, ())}))

    whole = Found(
        workload=found.workload,
        datasets=both("datasets", found.datasets),
        outputs=both("outputs", found.outputs),
        online=max(found.online, one.get("online", 0)),
        predictions=max(found.predictions, one.get("predictions", 0)),
        outcomes=max(found.outcomes, one.get("outcomes", 0)),
        labels=max(found.labels, one.get("labels", 0)),
        files=both("files", found.files),
        shared=both("shared", found.shared),
        versions=versions.Versions(
            serving=both("serving", found.versions.serving),
            old=both("old", found.versions.old),
            unknown=both("unknown", found.versions.unknown),
        ),
    )
    kept = asdict(whole)
    write_json(file, before | {found.workload: kept | kept["versions"]})
    return whole


def _derived(platform: Platform, spec: Spec, found: Found, sought: Trace) -> None:
    """What was made of its rows and is made again by the next run. Verdicts hold no rows: those of versions that went go with them."""
    home = platform.places.home
    for folder in (*(home / part / spec.name for part in _DERIVED), home / "monitor" / spec.name / "drift"):
        if found.outputs or any(looking.holds(sought, file) for file in folder.rglob("*") if file.is_file()):
            shutil.rmtree(folder, ignore_errors=True)
    registered = platform.ledger.history(spec.name, "registered")
    gone = {one.payload["model_digest"] for one in registered if one.version in found.versions.old}
    for file in (home / "gate" / spec.name).glob("*.*"):
        if looking.holds(sought, file) or _judged(file) in gone:
            file.unlink(missing_ok=True)


def _judged(file: Path) -> str | None:
    """The digest of the model that a verdict, or a candidate's signature, is about."""
    if file.suffix != ".json":
        return file.stem
    try:
        return json.loads(file.read_bytes())["model_digest"]
    except (ValueError, LookupError, TypeError):
        return None


def _strays(places: Places, sought: Trace) -> None:
    """Objects that hold the entity and that no run of any workload remembers."""
    everyone = [run for name in names(places) for run in revisions.runs(places.root, name)]
    remembered = {md5 for run in everyone for md5 in (*run.outs.values(), *run.deps.values())}
    for path in revisions.stray(places.root, remembered):
        if looking.holds(sought, path):
            path.unlink(missing_ok=True)


def _write_over(places: Places, spec: Spec, sought: Trace) -> None:
    for path in looking.changeable(places, spec.name, sought):
        try:
            sought.from_file(path)
        except (OSError, ValueError, sqlite3.Error) as error:  # said in the receipt: it still holds it
            log.warning("%s: %s cannot be written over: %s", spec.name, path.name, error)


def _rebuild(places: Places, spec: Spec) -> str:
    """The data without it, so that the loop goes on; a sentence. The model waits for `aiprime run`."""
    try:
        for stage in _REBUILT:
            up_to_date(stage, spec.name, places)
    except UserError as error:
        return f"the data could not be made again: {error.what}"
    return "the data were made again without it"


def _entities(platform: Platform, spec: Spec) -> set[str]:
    """Every entity that anything of the workload names."""
    import pyarrow.parquet as pq

    places, name = platform.places, spec.data.entity or ""
    found = online.entities(places.home, spec.name) | Records.at(places.home).entities(spec.name)
    objects = {
        path
        for run in revisions.runs(places.root, spec.name)
        for md5 in run.outs.values()
        for path in revisions.objects(places.root, md5)
    }
    for path in [*objects, *places.store(spec.name).rglob("*.parquet"), *looking.files(places, spec.name)]:
        try:
            file = pq.ParquetFile(path)
        except (OSError, ValueError):
            continue
        for column in {name, "entity"} & {*file.schema_arrow.names}:
            found |= {str(one) for one in pq.read_table(path, columns=[column])[column].unique().to_pylist() if one is not None}
    return found
