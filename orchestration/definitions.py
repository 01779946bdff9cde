"""The composition root: every workload's graph, and what it acts on. Local or cluster is decided here and nowhere else."""

from typing import Any

import dagster as dg

from assets.platform import Platform
from assets.spec import names, read
from assets.workload import Workload
from data.errors import UserError
from data.places import Places
from orchestration.loop_sensor import loop_sensor
from orchestration.sensors import outside_repro


@dg.definitions
def defs() -> dg.Definitions:
    """All workloads. A broken YAML shows as one red asset, and the others still load."""
    places = Places.find()
    parts = [_workload(places, name) for name in names(places)]
    return dg.Definitions.merge(
        *parts,
        surroundings(places),
        dg.Definitions(sensors=[outside_repro(places), loop_sensor(places, _loop_jobs(parts))]),
    )


def surroundings(places: Places) -> dg.Definitions:
    """What every graph acts on and runs in: here local or cluster is decided."""
    platform = Platform(target=places.setting("AIPRIME_TARGET", "local") or "local")
    return dg.Definitions(resources={"platform": platform}, executor=dg.in_process_executor)


def _loop_jobs(parts: list[dg.Definitions]) -> list[Any]:
    """The jobs that the loop may start."""
    return [job for part in parts for job in part.jobs or () if job.name.endswith(("_monitor", "_retrain"))]


def _workload(places: Places, name: str) -> dg.Definitions:
    try:
        return Workload(read(places.defs(name)), places).build_defs()
    except UserError as error:
        return _broken(name, str(error))


def _broken(name: str, said: str) -> dg.Definitions:
    @dg.asset(key=[name, "invalid"], group_name="invalid", description=said, metadata={"error": dg.MetadataValue.md(said)})
    def invalid() -> None:
        raise dg.Failure(description=said, allow_retries=False)

    return dg.Definitions(assets=[invalid])
