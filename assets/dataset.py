"""The first asset: the canonical table, versioned by DVC."""

from typing import Any

import dagster as dg

from assets import retraining, stage_asset
from assets.spec import Spec
from data import cutoff
from data.places import Places


def asset(spec: Spec, places: Places) -> dg.AssetsDefinition:
    """`WORKLOAD/dataset`: the source re-read, typed and sorted. Its data version is the content hash."""

    @stage_asset.asset(
        spec,
        places,
        "dataset",
        "dataset.py",
        kinds={"dvc", "parquet"},
        stages=("source", "dataset"),
        description=spec.description or f"The rows of {spec.data.source}, typed, sorted and versioned.",
    )
    def dataset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        stage_asset.act(
            context, spec, places, lambda: retraining.apply(spec, places, stage_asset.first_try(context), context.run.tags)
        )
        version, told = stage_asset.bring(context, spec, places, "source", "dataset")
        return dg.MaterializeResult(data_version=dg.DataVersion(version), metadata=told | _look(spec, places))

    return dataset


def _look(spec: Spec, places: Places) -> dict[str, Any]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(places.store(spec.name) / "dataset.parquet")
    shown: dict[str, Any] = {
        "dagster/row_count": file.metadata.num_rows,
        "columns": stage_asset.table(
            [{"column": name, "kind": kind, "role": _role(spec, name)} for name, kind in spec.data.columns.items()]
        ),
        "source": spec.data.source,
        "path": dg.MetadataValue.path(str(places.store(spec.name) / "dataset.parquet")),
    }
    first = next(file.iter_batches(batch_size=5), None)
    if (until := cutoff.in_dataset(places.store(spec.name) / "dataset.parquet")) is not None:
        shown["data up to"] = f"{until.until:%Y-%m-%d %H:%M} UTC, set by a retrain"
        shown["cutoff"] = dg.MetadataValue.json((cutoff.read(places, spec.name) or until).plain())
    if first is not None:
        shown["preview"] = stage_asset.table(first.to_pandas().astype(str).to_dict("records"))
    return shown


def _role(spec: Spec, column: str) -> str:
    data = spec.data
    roles = {data.target: "target", data.entity: "entity", data.time: "time"} | dict.fromkeys(data.ignore, "ignored")
    return roles.get(column, "feature")
