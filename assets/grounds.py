"""What a version's answers are explained by, kept beside what it is watched by: a sample of its training rows, and the checks of its data.

HOME/monitor/WORKLOAD/VERSION/background.parquet and checks.json; they go with the version. Made from what is in the workload's store, so
only while that is what the version was made from: at its registration, and whenever it is registered again.
"""

from __future__ import annotations

import json

from assets.spec import Spec
from assets.stages import read_features
from data import versions
from data.files import write_json
from data.places import Places
from training.explain import background
from training.signature import Signature

CHECKS = "checks.json"


def keep(spec: Spec, places: Places, version: str) -> None:
    """Keep both for `version`, the model that is in the workload's store; nothing where they are there already."""
    target, store = places.home / "monitor" / spec.name / version, places.store(spec.name)
    target.mkdir(parents=True, exist_ok=True)
    if not (target / background.NAME).is_file():
        table, _ = read_features(places, spec.name)
        beside = target / f".{background.NAME}"
        background.sample(table, Signature.read(store / "model")).to_parquet(beside, index=False)
        beside.replace(target / background.NAME)
    if not (target / CHECKS).is_file():
        quality = json.loads((store / "quality.json").read_bytes())
        found = versions.locked(places.root, spec.name).get("dataset", "none")
        write_json(target / CHECKS, {"data_version": found, "quality": quality})
