"""What `aiprime gc` frees beside the versions' own files: what was kept to watch, judge and count them, MLflow's copies, old records.

Everything here can be made again or is of nothing that may still serve; records are erased only where a person names a date. Dagster's
runs and the ledger are never touched.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from data.places import Places
from serving.ledger import Ledger
from serving.records import Records

_NEWEST = 20  # of drift pages, of verdicts, of retrains' costs


def leftovers(places: Places, workload: str, kept: Collection[str]) -> None:
    """Delete what versions that are not `kept` were watched by, and all but the newest drift pages, verdicts and costs.

    Call it under the workload's lease: a retrain that runs still counts its cost.
    """
    watched = places.home / "monitor" / workload
    for folder in watched.iterdir() if watched.is_dir() else ():
        if folder.name.isdigit() and folder.name not in kept:
            shutil.rmtree(folder)
    kinds = {
        watched / "drift": "*.html",
        places.home / "gate" / workload: "*.*",  # verdicts, and the signatures of what was judged
        places.home / "retraining" / workload: "*.json",
    }
    for folder, kind in kinds.items():
        for file in sorted(folder.glob(kind), key=_written)[:-_NEWEST]:
            file.unlink()


def _written(file: Path) -> tuple[float, str]:
    return file.stat().st_mtime, file.name


def tracked(places: Places, workload: str, kept: Collection[str]) -> int | None:
    """Delete MLflow's files of versions that are not `kept`; their records stay. How many; None where MLflow does not run."""
    url = places.service("mlflow")
    if url is None:
        return None
    from training.tracking import Tracking

    tracking = Tracking(url)
    return tracking.drop_files(workload, kept) if tracking.alive() else None


def records(places: Places, before: datetime) -> str:
    """Erase the contents of all predictions that were made before a date, the decision on record first; what went, in a sentence."""
    before = before if before.tzinfo else before.replace(tzinfo=UTC)
    ledger, kept, said = Ledger.at(places.home), Records.at(places.home), []
    for workload in ledger.workloads():
        first = next(kept.predictions(workload, limit=1), None)
        if first is None or first.at >= before.timestamp():
            continue
        payload = {"before": before.isoformat(), "reason": "retention: aiprime gc --records-before"}
        ledger.record("erased", workload, "", payload, actor="person", key=f"erased:{workload}:{before.isoformat()}")
        gone = kept.erase(workload, before=before.timestamp())
        said.append(f"{workload}: {gone.predictions:,} predictions, {gone.labels:,} labels")
    return f"erased from before {before:%Y-%m-%d %H:%M} UTC: {'; '.join(said) or 'nothing'}"
