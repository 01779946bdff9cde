"""The statements of what serves, made equal to the ledger again: after a restore or a migration, before anything is started."""

from __future__ import annotations

from data.errors import UserError
from data.places import Places
from serving.deploy import LocalTarget
from serving.ledger import Ledger


def seal(places: Places) -> list[str]:
    """Seal the statement of each version that serves and was cleared to; a sentence for each that cannot be."""
    ledger, amiss = Ledger.at(places.home), []
    clearance = LocalTarget(places.home, ledger).clearance
    for workload in ledger.workloads():
        release = ledger.release(workload)
        for serves in filter(None, (release.champion, release.challenger)):
            if clearance.current(workload, serves) is None:  # of before there were signatures: a migration clears it
                continue
            try:
                clearance.manifest(workload, serves)
            except UserError as error:
                amiss.append(f"{workload}: version {serves} cannot serve as it is: {error.what}")
    return amiss
