"""What happened outside Dagster reaches it here: a `dvc repro` in a terminal becomes materialisations in the UI."""

from collections.abc import Iterator

import dagster as dg

from assets import lease
from assets.spec import Spec, names, read
from data import versions
from data.errors import UserError
from data.places import Places

# Asset name to the DVC stage whose output it is, in topological order.
STAGES = {"dataset": "dataset", "features": "features", "model": "model", "evaluation": "evaluation"}
PARENT = {"features": "dataset", "model": "features", "evaluation": "model"}


def outside_repro(places: Places) -> dg.SensorDefinition:
    """A sensor over dvc.lock: reports what the terminal has brought up to date, with the versions it had as input."""

    @dg.sensor(
        name="outside_dvc_repro",
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Shows in the UI what `dvc repro` did in a terminal.",
    )
    def outside_dvc_repro(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        lock = places.root / "dvc.lock"
        seen = str(lock.stat().st_mtime_ns) if lock.is_file() else "none"
        if seen == (context.cursor or "none"):
            return dg.SkipReason("dvc.lock has not changed")
        if any(lease.busy(places.home, name) for name in names(places)):
            return dg.SkipReason("a run is in progress: what it does it tells itself")
        events = [event for name in names(places) for event in _news(context.instance, places, name)]
        return dg.SensorResult(asset_events=events, cursor=seen)

    return outside_dvc_repro


def _news(instance: dg.DagsterInstance, places: Places, workload: str) -> Iterator[dg.AssetMaterialization]:
    from dagster._core.definitions.data_version import (
        CODE_VERSION_TAG,
        DATA_VERSION_IS_USER_PROVIDED_TAG,
        DATA_VERSION_TAG,
        INPUT_DATA_VERSION_TAG_PREFIX,
        INPUT_EVENT_POINTER_TAG_PREFIX,
    )

    try:
        spec: Spec = read(places.defs(workload))
    except UserError:
        return
    locked = versions.locked(places.root, workload)
    told = False
    for asset, stage in STAGES.items():
        if stage not in locked:
            return
        key = dg.AssetKey([spec.name, asset])
        last = instance.get_latest_materialization_event(key)
        tags = {DATA_VERSION_TAG: locked[stage], DATA_VERSION_IS_USER_PROVIDED_TAG: "true"}
        recipes = ("source", "dataset") if asset == "dataset" else (stage,)
        tags[CODE_VERSION_TAG] = "-".join((versions.recipe_locked(places.root, one, workload) or "")[:16] for one in recipes)
        if parent := PARENT.get(asset):
            above = dg.AssetKey([spec.name, parent])
            pointer = instance.get_latest_materialization_event(above)
            tags[f"{INPUT_DATA_VERSION_TAG_PREFIX}/{above.to_user_string()}"] = locked[STAGES[parent]]
            tags[f"{INPUT_EVENT_POINTER_TAG_PREFIX}/{above.to_user_string()}"] = _pointer(instance, above, told, pointer)
        had = last.asset_materialization.tags or {} if last and last.asset_materialization else {}
        known = {name: value for name, value in tags.items() if not name.startswith(INPUT_EVENT_POINTER_TAG_PREFIX)}
        if told or any(had.get(name) != value for name, value in known.items()):
            told = True
            yield dg.AssetMaterialization(key, tags=tags, metadata={"from": "dvc repro", "content_hash": locked[stage]})


def _pointer(instance: dg.DagsterInstance, key: dg.AssetKey, reported_now: bool, last: object) -> str:
    if reported_now or last is None:
        return "NULL"
    records = instance.fetch_materializations(key, limit=1).records
    return str(records[0].storage_id) if records else "NULL"
