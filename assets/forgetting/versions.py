"""The model versions that were trained on an entity: which, which of them may go, and how they go.

What serves stays until it is replaced, and so does a challenger, and the version before while the champion is such a one itself: without
them nobody is answered. They are named, so that a person retrains. A model is weights, vocabulary and statistics of all its rows: no row
can be taken out of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from assets.platform import Platform
from data.places import Places


@dataclass(frozen=True, kw_only=True)
class Versions:
    """By what is to be done: nothing but retraining, or deletion. `unknown` were made from data that is not there any more."""

    serving: tuple[str, ...] = ()  # champion, the one before it, challenger: to be retrained
    old: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def trained_on(platform: Platform, workload: str, datasets: Collection[str], known: Collection[str]) -> Versions:
    """The workload's versions whose dataset is among `datasets`; those whose dataset is not even `known` count as `unknown`."""
    release = platform.ledger.release(workload)
    made = {one.version: one.payload.get("data_version", "none") for one in platform.ledger.history(workload, "registered")}
    needed = {release.champion, release.challenger}
    if release.champion is not None and made.get(release.champion) in datasets:
        needed.add(release.previous)
    serving, old, unknown = [], [], []
    for version, data in made.items():
        there = platform.places.models(workload, version).is_dir()
        if data in datasets:
            if version in needed:
                serving.append(version)
            elif there or _watched(platform.places, workload, version).is_dir():
                old.append(version)
        elif data not in known and there:
            unknown.append(version)
    return Versions(serving=tuple(serving), old=tuple(old), unknown=tuple(unknown))


def delete(platform: Platform, workload: str, versions: Collection[str], receipt: str) -> None:
    """Delete the versions' files, what lies beside them, and what they were watched by. Their records stay in the ledger, and say that
    nobody may go back to them."""
    places, previous = platform.places, platform.ledger.release(workload).previous
    for version in versions:
        if version == previous:
            reason = {"reason": "it was trained on an entity that was forgotten"}
            platform.ledger.record(
                "retired", workload, version, reason, actor="person", key=f"forgotten:{receipt}:{workload}:{version}"
            )
        folder = places.models(workload, version)
        if folder.is_dir():
            shutil.rmtree(folder)
        for companion in folder.parent.glob(f"{version}.*"):
            companion.unlink()
        shutil.rmtree(_watched(places, workload, version), ignore_errors=True)


def drop_tracked(platform: Platform, workload: str, gone: Collection[str]) -> str | None:
    """Delete MLflow's files of these versions; a sentence where MLflow does not run and they stay."""
    if not gone:
        return None
    from training.tracking import Tracking

    url = platform.places.service("mlflow")
    tracking = Tracking(url) if url else None
    if tracking is None or not tracking.alive():
        return f"MLflow does not run: its copies of {workload} {', '.join(gone)} stay until aiprime up, and forget again"
    kept = {one.version for one in platform.ledger.history(workload, "registered")} - {*gone}
    tracking.drop_files(workload, kept)
    return None


def _watched(places: Places, workload: str, version: str) -> Path:
    return places.home / "monitor" / workload / version
