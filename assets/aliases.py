"""MLflow's aliases `champion`, `challenger` and `shadow`: a mirror of the release for people who look there. Nothing reads them back."""

from __future__ import annotations

import json
import logging

from data.files import write_json
from data.places import Places
from serving.ledger import Ledger
from serving.release import Release

log = logging.getLogger("aiprime.aliases")
NAMES = ("champion", "challenger", "shadow")


def wanted(release: Release) -> dict[str, str]:
    """The aliases that a release comes to."""
    arm = "shadow" if release.shadow else "challenger"
    found = {"champion": release.champion, arm: release.challenger}
    return {name: version for name, version in found.items() if version is not None}


def mirror(places: Places, workload: str) -> None:
    """Make the aliases follow the ledger; where they cannot, the release stands and the next call mends them."""
    url = places.service("mlflow")
    if url is None:
        return
    should = wanted(Ledger.at(places.home).release(workload))
    mark, mirrored = places.home / "aliases" / f"{workload}.json", {"url": url, "aliases": should}
    if mark.is_file() and json.loads(mark.read_bytes()) == mirrored:
        return  # importing MLflow takes longer than all else that an unchanged run does
    try:
        from training.tracking import Tracking

        tracking = Tracking(url)
        have = tracking.aliases(workload)
        for name in NAMES:
            if name in should and have.get(name) != should[name]:
                tracking.alias(workload, name, should[name])
            elif name in have and name not in should:
                tracking.drop_alias(workload, name)
        write_json(mark, mirrored)
    except Exception as error:  # noqa: BLE001  (a mirror must not undo a release)
        log.warning("%s: MLflow's aliases could not follow the ledger: %s", workload, error)
