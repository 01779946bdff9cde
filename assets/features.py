"""The table of examples that training sees; with an entity, joined point-in-time by Feast."""

import json
from typing import Any

import dagster as dg

from assets import stage_asset
from assets.spec import Spec
from data.places import Places


def asset(spec: Spec, places: Places) -> dg.AssetsDefinition:
    """`WORKLOAD/features`."""
    through = {"feast"} if spec.data.entity else set()
    said = "point-in-time joined by Feast" if through else "as they stand in the dataset"

    @stage_asset.asset(
        spec,
        places,
        "features",
        "features.py",
        after=["dataset"],
        kinds={"parquet", "dvc", *through},
        stages=("features",),
        description=f"The model's inputs and the truth, one row per example, {said}.",
    )
    def features(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        version, told = stage_asset.bring(context, spec, places, "quality", "features")
        return dg.MaterializeResult(data_version=dg.DataVersion(version), metadata=told | _look(spec, places))

    return features


def _look(spec: Spec, places: Places) -> dict[str, Any]:
    import pyarrow.parquet as pq

    folder = places.store(spec.name) / "features"
    schema = json.loads((folder / "schema.json").read_text())
    stored = set(schema["stored"])
    inputs = [
        {"input": c["name"], "kind": c["kind"], "from": "online store" if c["name"] in stored else "request"}
        for c in schema["inputs"]
    ]
    return {
        "dagster/row_count": pq.read_metadata(folder / "table.parquet").num_rows,
        "inputs": stage_asset.table(inputs),
        "horizons": ", ".join(map(str, schema["horizons"])) or "none",
    }
