"""The fitted model: Lightning's loop over the family's module, exported as ONNX, safetensors and JSON."""

import json
from typing import Any

import dagster as dg

from assets import stage_asset
from assets.spec import Spec
from data.files import sha256
from data.places import Places
from training.signature import MODEL_ONNX


def asset(spec: Spec, places: Places) -> dg.AssetsDefinition:
    """`WORKLOAD/model`."""

    @stage_asset.asset(
        spec,
        places,
        "model",
        "fitting.py",
        after=["features"],
        kinds={"lightning", "onnx", "dvc"},
        stages=("model",),
        description=f"A {spec.family} model of size {spec.train.size}, fitted on the train rows.",
    )
    def model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        version, told = stage_asset.bring(context, spec, places, "model")
        return dg.MaterializeResult(data_version=dg.DataVersion(version), metadata=told | _look(spec, places))

    return model


def _look(spec: Spec, places: Places) -> dict[str, Any]:
    store = places.store(spec.name)
    record = json.loads((store / "training.json").read_text())
    file = store / "model" / MODEL_ONNX
    shown: dict[str, Any] = {
        "rows": record["rows"],
        "steps": record["steps"],
        "fit seconds": record["seconds"],
        "model": dg.MetadataValue.path(str(store / "model")),
        "onnx kB": round(file.stat().st_size / 1000, 1),
        "onnx sha256": sha256(file),
        "settings": stage_asset.table([record["settings"]]),
    }
    if record["trials"]:
        shown["search"] = stage_asset.table(record["trials"])
    shown["training curves"] = stage_asset.picture((store / "curves.png").read_bytes())
    url = places.service("mlflow")
    if record["run_id"] and url:
        shown["mlflow run"] = dg.MetadataValue.url(f"{url}/#/runs/{record['run_id']}")
    return shown
