"""MLflow's aliases `champion`, `challenger` and `shadow`: a mirror of the release for people who look there. Nothing reads them back."""

from __future__ import annotations

import logging

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
    from training.tracking import Tracking

    url = places.service("mlflow")
    if url is None:
        return
    try:
        tracking, should = Tracking(url), wanted(Ledger.at(places.home).release(workload))
        have = tracking.aliases(workload)
        for name in NAMES:
            if name in should and have.get(name) != should[name]:
                tracking.alias(workload, name, should[name])
            elif name in have and name not in should:
                tracking.drop_alias(workload, name)
    except Exception as error:  # noqa: BLE001  (a mirror must not undo a release)
        log.warning("%s: MLflow's aliases could not follow the ledger: %s", workload, error)
