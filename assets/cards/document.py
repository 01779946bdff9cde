"""Facts as a CycloneDX 1.6 document (ECMA-424): the model with its card, its data, its code and what it was made with.

What CycloneDX has no field for is a property named `aiprime:...`. Pure: the same facts and time give the same document. 1.6 and not
the newest that the library knows: whoever reads 1.7 reads 1.6, and nothing of 1.7 is used here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from assets.cards import environment, sentences
from assets.cards.datasets import DATASET, FEATURES, dataset, features, locks, sources
from assets.cards.facts import Facts
from assets.cards.figures import Figure
from assets.cards.plain import Plain, clean, licenses, number, properties

SPEC_VERSION = "1.6"
MODEL = "model"
_MIME = {".onnx": "application/onnx", ".json": "application/json", ".safetensors": "application/vnd.safetensors"}
_NAMESPACE = uuid.UUID("2c5b3c0e-6a52-5d0a-9a53-6f1f8c1b7a10")  # ours, for serial numbers that follow from the content


def document(facts: Facts, at: str, spdx: Iterable[str]) -> Plain:
    """The BOM. `at` is when it was made (ISO 8601); `spdx` are the identifiers of licences that the schema knows."""
    known, named = frozenset(spdx), (facts.spec.name, facts.version, facts.told["model_digest"])
    libraries = [
        clean(
            {
                "type": "library",
                "bom-ref": f"library:{one.name}",
                "name": one.name,
                "version": one.version,
                "licenses": licenses(one.license, known),
                "purl": f"pkg:pypi/{one.name}@{one.version}",
            }
        )
        for one in facts.environment.libraries
    ]
    components = [dataset(facts, known), features(facts), *sources(facts), *locks(facts), *libraries]
    return clean(
        {
            "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": SPEC_VERSION,
            "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, '/'.join(named))}",
            "version": 1,
            "metadata": {
                "timestamp": at,
                "lifecycles": [{"phase": "build"}],
                "tools": {"components": [{"type": "application", "name": "ai-prime", "version": environment.version()}]},
                "component": _model(facts, known),
            },
            "components": components,
            "dependencies": [
                {"ref": MODEL, "dependsOn": [FEATURES, *(one["bom-ref"] for one in libraries)]},
                {"ref": FEATURES, "dependsOn": [DATASET]},
                {"ref": DATASET, "dependsOn": [one["bom-ref"] for one in sources(facts)]},
            ],
        }
    )


def _model(facts: Facts, known: frozenset[str]) -> Plain:
    spec, told = facts.spec, facts.told
    changes = told.get("git_changes")
    commit = told.get("git_commit")
    return {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": spec.name,
        "version": facts.version,
        "description": spec.description or f"{spec.task} of {spec.data.target}",
        "hashes": [{"alg": "SHA-256", "content": told["model_digest"]}],
        "licenses": licenses(spec.card.license, known),
        "purl": f"pkg:mlflow/{spec.name}@{facts.version}",
        "pedigree": {
            "commits": [{"uid": commit}] if commit and commit != "none" else None,
            "notes": f"uncommitted changes: {changes}" if changes else None,
        },
        "externalReferences": [
            {"type": "build-meta", "url": told["url"], "comment": "the version in MLflow, where it was registered"}
            if told.get("url")
            else None,
            {"type": "model-card", "url": f"/models/{spec.name}/versions/{facts.version}"},
        ],
        "components": [
            {
                "type": "file",
                "bom-ref": f"file:{file.name}",
                "name": file.name,
                "mime-type": next((mime for end, mime in _MIME.items() if file.name.endswith(end)), "application/octet-stream"),
                "hashes": [{"alg": "SHA-256", "content": file.sha256}],
                "properties": properties({"bytes": file.bytes}),
            }
            for file in facts.files
        ],
        "modelCard": _card(facts),
        "properties": properties(
            {
                "digest-of": "the folder's files, their names and contents",
                "bytes": facts.size,
                "formats": ", ".join(sorted({file.name.rpartition(".")[2] for file in facts.files})),
                "run": told.get("run_id"),
                "commit": commit,
                "changes": changes,
                "lock": facts.environment.lock,
                "verdict": told.get("verdict"),
                "passed": told.get("passed"),
                "champion": told.get("against") or "none served, so there was none to compare with",
                "gate-window": " to ".join(told["gate_window"]) if told.get("gate_window") else None,
                "retrain-reason": (told.get("cutoff") or {}).get("reason"),
            }
        ),
    }


def _card(facts: Facts) -> Plain:
    spec, training = facts.spec, facts.training
    settings = {f"hyperparameter:{name}": value for name, value in sorted((training.get("settings") or {}).items())}
    spent = {"fit-seconds": training.get("seconds"), "cpu-seconds": facts.cpu_s, "energy": "not measured"}
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": spec.task,
            "architectureFamily": spec.family,
            "modelArchitecture": f"{spec.family}, size {spec.train.size}",
            "datasets": [{"ref": DATASET}, {"ref": FEATURES}],
            "inputs": [{"format": f"{one.name}: {one}"} for one in facts.signature.inputs],
            "outputs": [{"format": f"{one.name}: {one.datatype}{list(one.shape) or ''}"} for one in facts.signature.outputs],
        },
        "quantitativeAnalysis": {"performanceMetrics": [*_metrics(facts), *_compared(facts)]},
        "considerations": {
            "users": [f"clients of the endpoint /v1/models/{spec.name}:predict"],
            "useCases": sentences.uses(facts),
            "technicalLimitations": sentences.limits(facts),
            "performanceTradeoffs": sentences.tradeoffs(facts),
            "ethicalConsiderations": [{"name": spec.card.people}] if spec.card.people else None,
            "environmentalConsiderations": {"properties": properties(spent)},
        },
        "properties": properties(
            {
                "metric": facts.metric,
                "baseline": facts.baseline,
                "confidence": spec.promote.confidence,
                "horizons": ", ".join(map(str, facts.signature.horizons)) or None,
                "seed": spec.train.seed,
                "steps": training.get("steps"),
                "precision": training.get("precision"),
                "training-rows": training.get("rows"),
                "trials": len(training.get("trials") or ()) or None,
                **settings,
            }
        ),
    }


def _metrics(facts: Facts) -> list[Plain]:
    return [_metric(one) for one in facts.figures] + [
        {"type": one.metric, "slice": f"{one.slice}, {facts.baseline}", "value": number(one.baseline)}
        for one in facts.figures
        if one.baseline is not None
    ]


def _metric(one: Figure) -> Plain:
    interval = None if one.low is None else {"lowerBound": number(one.low), "upperBound": number(one.high)}
    return {"type": one.metric, "slice": one.slice, "value": number(one.value), "confidenceInterval": interval}


def _compared(facts: Facts) -> list[Plain]:
    """The gate's comparisons: model minus reference on the same rows; below zero is better."""
    return [
        {
            "type": f"{one['metric']} minus that of {one['against']}",
            "slice": one["window"],
            "value": number(one["difference"]),
            "confidenceInterval": None
            if one["low"] is None
            else {"lowerBound": number(one["low"]), "upperBound": number(one["high"])},
        }
        for one in facts.told.get("comparisons") or ()
    ]
