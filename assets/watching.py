"""The deployed model under watch: the logged traffic, and one turn of the loop over it."""

from typing import Any

import dagster as dg

from assets import loop, retraining, stage_asset
from assets.platform import Platform
from assets.spec import Spec
from assets.windows import Window, iso
from data.places import Places
from serving.ledger import Decision
from serving.records import Records


def predictions(spec: Spec, places: Places) -> dg.AssetsDefinition:
    """`WORKLOAD/predictions`: what was asked and answered, and how far truth is known."""

    @stage_asset.asset(
        spec,
        places,
        "predictions",
        "watching.py",
        after=["endpoint"],
        kinds={"sqlite"},
        description="Every answered request, kept with proof; labels join it later.",
    )
    def predictions(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        records = Records.at(platform.places.home)
        kept, watermark = records.bounds(spec.name), records.watermark(spec.name)
        known = iso(watermark.time) if watermark.time is not None else "no truth is known yet"
        shown = {
            "predictions": kept.predictions,
            "truth known up to": known,
            "labelled": watermark.labelled,
            "due": watermark.due,
        }
        return dg.MaterializeResult(data_version=dg.DataVersion(str(records.newest(spec.name))), metadata=shown)

    return predictions


def monitoring(spec: Spec, places: Places) -> dg.AssetsDefinition:
    """`WORKLOAD/monitoring`: the windows that were due, judged; a retrain is asked for or declined, on record."""

    @stage_asset.asset(
        spec,
        places,
        "monitoring",
        "watching.py",
        after=["predictions"],
        kinds={"evidently"},
        description="Drift, estimated and measured quality, window by window; what it leads to is in the ledger.",
    )
    def monitoring(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        turned = loop.turn(spec, platform, waits=lambda asked: _waits(context.instance, asked))
        shown: dict[str, Any] = {"windows closed": len(turned.windows), "rollout": turned.rollout}
        if turned.answer is not None:
            shown["retrain"] = ("asked for: " if turned.answer.fire else "no: ") + "; ".join(turned.answer.reasons)
        return dg.MaterializeResult(metadata=shown | (look(turned.windows[-1], platform.places) if turned.windows else {}))

    return monitoring


def _waits(instance: dg.DagsterInstance, asked: Decision) -> bool:
    """Whether the run of a retrain's request is queued or under way."""
    runs = instance.get_runs(dg.RunsFilter(tags={retraining.ASKED: str(asked.sequence)}), limit=1)
    return bool(runs) and (not runs[0].is_finished or runs[0].is_complete_and_waiting_to_retry)


def look(window: Window, places: Places) -> dict[str, Any]:
    """A window as a person looks at it: a row per signal, and Evidently's page where it was drawn."""
    rows = [
        {"signal": name, "state": one.state, "value": one.value, "limit": one.limit, "said": one.said}
        for name, one in window.signals.items()
    ]
    drift = window.signals.get("drift")
    page = drift.detail.get("page") if drift else None
    shown: dict[str, Any] = {
        "window": f"{iso(window.start)} to {iso(window.end)}",
        "version": window.version,
        "rows": window.rows,
        "labelled": window.labelled,
        "red": window.red,
        "signals": stage_asset.table(rows),
    }
    gateway = places.service("gateway")
    if page and gateway:
        shown["drift page"] = dg.MetadataValue.url(f"{gateway}/drift/{window.workload}/{page}")
    return shown


def materialization(window: Window, places: Places) -> dg.AssetMaterialization:
    """A closed window as an event of the asset, for whoever turns the loop outside of a run."""
    return dg.AssetMaterialization([window.workload, "monitoring"], metadata=look(window, places))
