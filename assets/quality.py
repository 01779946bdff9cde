"""The data's expectations as blocking checks: where they fail, nothing is trained."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import stage_asset
from assets.spec import Spec
from assets.stages import ExpectationsFailed
from data.places import Places

CHECKS = {
    "schema": "The columns and their types are the declared ones.",
    "expectations": "The values keep to what the workload's YAML expects of them.",
    "leaks": "No column tells the truth that it should not know, and no row is on both sides of the split.",
    "poison": "No more rows look planted than the workload's YAML accepts.",
}


def check(spec: Spec, places: Places) -> dg.AssetChecksDefinition:
    """The checks of `WORKLOAD/dataset`. An unchanged dataset is not checked again: the stored results are reported."""
    key = stage_asset.key(spec, "dataset")

    @dg.multi_asset_check(
        name=f"{spec.name}_quality",
        specs=[dg.AssetCheckSpec(name, asset=key, blocking=True, description=text) for name, text in CHECKS.items()],
        op_tags={"aiprime/workload": spec.name},
    )
    def quality(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        said = ""
        try:
            stage_asset.bring(context, spec, places, "quality")
        except dg.Failure as failure:
            if not isinstance(failure.__cause__, ExpectationsFailed):
                raise
            said = str(failure.__cause__)
        yield from results(spec, places, said)

    return quality


def results(spec: Spec, places: Places, said: str = "") -> Iterator[dg.AssetCheckResult]:
    """The last report, as one result per check: each expectation a row, with links to Data Docs and the broken rows."""
    folder = places.home / "quality" / spec.name
    stored = places.store(spec.name) / "quality.json"
    report = json.loads((stored if stored.is_file() else folder / "report.json").read_text())
    gateway = places.service("gateway")  # a browser follows no link from a page to a file
    page = f"{gateway}/docs/{spec.name}/" if gateway else (folder / "docs" / "index.html").as_uri()
    shown: dict[str, Any] = {"data docs": dg.MetadataValue.url(page)}
    for name in CHECKS:
        rows = [row for row in report["results"] if row["check"] == name]
        broken = [row for row in rows if not row["passed"] and row["severity"] != "warning"]
        if broken:
            shown["said"] = said
            shown["failing rows"] = dg.MetadataValue.path(str(folder / "failed_rows.csv"))
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=stage_asset.key(spec, "dataset"),
            passed=not broken,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata=shown | {"expectations": len(rows), "broken": len(broken), "results": stage_asset.table(rows)},
        )
