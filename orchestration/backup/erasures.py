"""What was forgotten after a backup was taken is forgotten again in the home that it becomes.

Receipts and tombstones are in that home before it is put to use; what they say is done afterwards, and by `aiprime up` where that was cut off:
a receipt whose record the ledger lacks was not applied here. How an entity is forgotten, others know.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data import forgotten
from data.errors import UserError
from data.forgotten import Tombstone
from data.places import Places
from orchestration.backup import receipts
from serving.ledger import Ledger

if TYPE_CHECKING:
    from assets.forgetting import Receipt


def keep(home: Path, later: Mapping[str, Path]) -> list[Path]:
    """Bring receipts (by name: where they lie) and their tombstones into a home that is not in use yet; the receipts there.

    UserError where one does not hold, or is of another home's secret: who it is about could not be told.
    """
    came = receipts.add({name: file.read_bytes() for name, file in later.items()}, home / receipts.FOLDER)
    held = [_held(file, later[file.name], home) for file in came]
    for told in sorted(held, key=lambda one: (one.at, one.id)):
        for workload in told.workloads:
            forgotten.renew(home, Tombstone(digest=told.digest, workload=workload, at=told.at, receipt=told.id))
    return came


def due(places: Places) -> list[Path]:
    """The receipts of the home that were not applied to it: of a workload that is here the ledger has no record, or it was cut off."""
    files = sorted((places.home / receipts.FOLDER).glob("*.json"))
    if not files:
        return []
    done = {(one.payload.get("receipt"), one.workload) for one in Ledger.at(places.home).history(kind="forgotten")}
    return [file for file in files if _open(places, file, done)]


def again(places: Places) -> int:
    """Apply what is due; how many receipts that were. Cut off, the next call goes on. The whole state must be held.

    Untrusted where a receipt does not hold; UserError where it is of another secret.
    """
    files = due(places)
    if not files:
        return 0
    from assets import forgetting
    from assets.platform import Platform

    refuse_another(places)
    forgetting.reapply(Platform(), files)
    ledger = Ledger.at(places.home)
    for told in [forgetting.read(file, places.home) for file in files]:
        for workload in told.workloads:
            if _has_entities(places, workload):
                facts = {"entity": told.digest, "receipt": told.id, "datasets": [], "retrain": [], "deleted": []}
                reason = {"reason": "an entity was forgotten; nothing of it was found again"}
                ledger.record(
                    "forgotten", workload, "", facts | reason, key=f"forgotten:{told.id}:{workload}"
                )  # where it is not yet
    return len(files)


def refuse_another(places: Places) -> None:
    """RuntimeError where the process is in another project, or of another home: the assets act on that one."""
    from assets.platform import Platform

    if Platform().places != places:
        raise RuntimeError(f"{places.home} is not the home of the project in which this is called")


def _held(file: Path, source: Path, home: Path) -> Receipt:
    from assets import forgetting

    try:
        told = forgetting.read(file, home)
    except UserError as error:
        what = f"a receipt of an erasure does not hold: {error.what}"
        raise UserError(what, where=str(source), next_step=f"{error.next_step}; nothing was changed") from error
    if told.key != forgotten.secret(home).id:
        what = "the receipt was made with another key: who it is about cannot be told"
        step = "move it away where it is of another home; else restore a backup of the home that wrote it; nothing was changed"
        raise UserError(what, where=str(source), next_step=step)
    return told


def _open(places: Places, file: Path, done: set[tuple[Any, str]]) -> bool:
    """By what the receipt states: it is only believed once its signature was looked at, before it is applied."""
    try:
        stated = json.loads(base64.b64decode(json.loads(file.read_bytes())["payload"]))["predicate"]
        number, workloads = str(stated["id"]), list(stated["workloads"])
    except (ValueError, LookupError, TypeError) as error:
        step = "restore it from a backup's receipts, or move it away where it is none"
        raise UserError(f"a receipt of an erasure cannot be read: {error}", where=str(file), next_step=step) from error
    cut_off = (places.home / "forgetting" / f"{number}.json").exists()
    return cut_off or any((number, name) not in done and _has_entities(places, name) for name in workloads)


def _has_entities(places: Places, workload: str) -> bool:
    """Whether the workload is here and its rows are of somebody; one that is not here yet is asked for again at each start."""
    if not places.defs(workload).is_file():
        return False
    from assets import forgetting

    try:
        return bool(forgetting.workloads_with_entities(places, workload))
    except UserError:  # of no entity, or not to be read: `aiprime run` says which
        return False
