"""The scores on the holdout, and the gate's verdict: candidate against the naive baseline and the champion, on the same rows."""

import json
from typing import Any

import dagster as dg

from assets import gate, stage_asset
from assets.platform import Platform
from assets.spec import Spec
from data.places import Places


def asset(spec: Spec, places: Places) -> dg.AssetsDefinition:
    """`WORKLOAD/evaluation`."""

    @stage_asset.asset(
        spec,
        places,
        "evaluation",
        "evaluation.py",
        after=["model"],
        kinds={"dvc", "onnx"},
        stages=("evaluation",),
        description="Scores on rows the model never saw, and whether it may replace the champion.",
    )
    def evaluation(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        version, told = stage_asset.bring(context, spec, places, "evaluation")
        judged = stage_asset.act(context, spec, places, lambda: gate.judge(spec, platform))
        return dg.MaterializeResult(data_version=dg.DataVersion(version), metadata=told | _look(spec, places, judged))

    return evaluation


def _look(spec: Spec, places: Places, judged: gate.Judged) -> dict[str, Any]:
    store = places.store(spec.name) / "evaluation"
    scores = json.loads((store.parent / "scores.json").read_text())
    shown: dict[str, Any] = {
        "verdict": judged.sentence,
        "passed": judged.passed,
        "candidate, baseline, champion": stage_asset.table(judged.comparisons),
        "latency ms (p50, booted)": judged.latency_ms,
        "scores": dg.MetadataValue.json(scores),
    }
    for file in sorted(store.glob("*.png")):
        shown[file.stem.replace("_", " ")] = stage_asset.picture(file.read_bytes())
    return shown
