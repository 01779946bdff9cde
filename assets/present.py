"""What the online store is brought to: every row that is known by now, also those behind a retrain's cutoff.

A cutoff ends what a version is fitted and judged on; a request that names an entity is answered from its newest values all the same.
In a replay "now" is the replay's own time: there the cutoff's rows are the newest.
"""

from __future__ import annotations

import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from assets import back, lease, loop
from assets.spec import Spec
from data import cutoff as cutoffs
from data.places import Places

log = logging.getLogger("aiprime.features")
_AHEAD = timedelta(days=1)  # a source's clock may be a little ahead


def folder(spec: Spec, places: Places) -> Path:
    """The folder of view.parquet and schema.json to publish from: the store's own where no cutoff holds or a replay is played."""
    trained = places.store(spec.name) / "features"
    cutoff = cutoffs.read(places, spec.name)
    played = lease.taken(places.home, loop.lock_name(spec.name))
    if cutoff is None or spec.data.time is None or played or not (trained / "view.parquet").is_file():
        return trained
    from data import examples, forgotten, prepare, sources

    now = datetime.now(UTC) + _AHEAD
    known = back.labels(spec, places, now) if cutoff.labels else None
    everything = cutoff.model_copy(update={"until": max(cutoff.until, now), "frozen": None})
    table = prepare.prepare(sources.read(spec.data, places), spec.data, everything, known)
    table = forgotten.without(table, spec.data.entity, forgotten.of(places.home, spec.name), places.home)
    stored = examples.make(table, spec.task, spec.data, spec.features).stored
    if stored is None:
        return trained
    present = places.home / "features" / spec.name / "present"
    present.mkdir(parents=True, exist_ok=True)
    stored.to_parquet(present / "view.parquet", index=False)
    shutil.copyfile(trained / "schema.json", present / "schema.json")
    log.info("%s: the online store is brought to %s rows, past the retrain's cutoff", spec.name, f"{len(stored):,}")
    return present
