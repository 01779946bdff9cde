"""The registered version: every judged model gets one, with its verdict; the same bytes never get two."""

import hashlib
import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg

from assets import cost, gate, signing, stage_asset, yardstick
from assets.cards import making as cards
from assets.platform import Platform
from assets.provenance import tags
from assets.spec import Spec
from assets.stages import read_features
from data.failpoints import failpoint
from data.files import move_whole, sha256, tree_digest, write_atomically
from data.places import Places
from data.schema import SPLIT
from data.split import HOLDOUT
from serving import manifests
from serving.ledger import Decision
from training.examples import instances
from training.signature import Signature
from training.tracking import Tracking, Version

log = logging.getLogger("aiprime.registration")


def asset(spec: Spec, places: Places) -> dg.AssetsDefinition:
    """`WORKLOAD/registered_model`."""

    @stage_asset.asset(
        spec,
        places,
        "registered_model",
        "registration.py",
        after=["evaluation"],
        kinds={"mlflow"},
        description="The version in MLflow: files, signature, input example, and where it all came from.",
    )
    def registered_model(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        decision = stage_asset.act(context, spec, places, lambda: register(spec, platform, gate.judge(spec, platform)))
        cost.make(places, spec.name, stage_asset.first_try(context), decision.version)
        told = decision.payload
        return dg.MaterializeResult(
            data_version=dg.DataVersion(told["model_digest"]),
            metadata={
                "version": decision.version,
                "verdict": told["verdict"],
                "mlflow version": dg.MetadataValue.url(told["url"]),
                "manifest": dg.MetadataValue.path(str(places.models(spec.name, decision.version).with_suffix(".yaml"))),
                "model digest": told["model_digest"],
            },
        )

    return registered_model


def register(spec: Spec, platform: Platform, judged: gate.Judged) -> Decision:
    """The ledger's `registered` record of the model in the store, served as the YAML says; what is missing of it is made.

    Another `serve:` section is another version, for a version's manifest never changes.

    Idempotent after a crash at any point: MLflow is asked for the digest first, the copy is renamed into place, the record has a key.
    """
    places, ledger = platform.places, platform.ledger
    serve = spec.serve.model_dump(mode="json")
    earlier = ledger.history(spec.name, "registered")
    for known in reversed(earlier):
        if (known.payload["model_digest"], known.payload["serve"]) == (judged.model_digest, serve):
            manifest = _place(spec, places, known.version, judged.model_digest)  # gc may have taken its files
            cards.make(spec, platform, known.version, known.payload)
            now = _made_again(spec, platform, known, manifest)
            return now if now.payload["passed"] == judged.passed else _judged_again(spec, platform, now, judged)
    failpoint("after-train")
    tracking = platform.tracking()
    found = tracking.registered(spec.name, judged.model_digest)
    taken = {known.version for known in earlier}
    version = found if found and found.version not in taken else _log(spec, places, tracking, judged)
    failpoint("after-mlflow")
    manifest = _place(spec, places, version.version, judged.model_digest, new=True)
    payload = {
        "model_digest": judged.model_digest,
        "manifest": manifest,
        "serve": serve,
        **_verdict(judged),
        "run_id": version.run_id,
        "url": version.url,
        **tags(places, spec.name),
    }
    payload["card"] = cards.make(spec, platform, version.version, payload)
    decision = ledger.record("registered", spec.name, version.version, payload, key=f"registered:{spec.name}:{version.version}")
    failpoint("after-register")
    log.info("%s: registered version %s", spec.name, version.version)
    return decision


def _verdict(judged: gate.Judged) -> dict[str, Any]:
    """What a record says of the gate: the verdict, the windows it rests on, and the cutoff with what made it start."""
    return {
        "verdict": judged.sentence,
        "passed": judged.passed,
        "judged": judged.key,
        "against": judged.champion,
        "comparisons": judged.comparisons,
        "gate_window": judged.gate_window,
        "cutoff": judged.cutoff,
    }


def _made_again(spec: Spec, platform: Platform, known: Decision, manifest: str) -> Decision:
    """The record, with the hash of the manifest as we write it now, where one that was gone was written by newer code than the first.

    A manifest that somebody changed is none that we write: the record stays as it is, and the version is not cleared.
    """
    held = sha256(platform.places.models(spec.name, known.version).with_suffix(".yaml"))
    if held != manifest or known.payload.get("manifest", manifest) == manifest:
        return known
    key = f"registered:{spec.name}:{known.version}:{known.sequence}:{manifest[:12]}"
    return platform.ledger.record("registered", spec.name, known.version, {**known.payload, "manifest": manifest}, key=key)


def _judged_again(spec: Spec, platform: Platform, known: Decision, judged: gate.Judged) -> Decision:
    """The same bytes were judged on other rows or against another champion, and otherwise: the same version, with the new verdict."""
    payload = {**known.payload, **_verdict(judged)}
    key = f"registered:{spec.name}:{known.version}:{judged.key}"
    decision = platform.ledger.record("registered", spec.name, known.version, payload, key=key)
    platform.tracking().tag_version(spec.name, known.version, _tags(judged))
    log.info("%s: version %s is now %s", spec.name, known.version, judged.sentence)
    return decision


def _tags(judged: gate.Judged) -> dict[str, str]:
    """The verdict as MLflow's tags."""
    facts = {"gate": "passed" if judged.passed else "refused", "verdict": judged.sentence[:5000]}
    if judged.gate_window:
        facts["gate_window"] = " to ".join(judged.gate_window)
    if judged.cutoff:
        facts |= {f"cutoff_{name}": str(value)[:5000] for name, value in judged.cutoff.items()}
    return facts


def _log(spec: Spec, places: Places, tracking: Tracking, judged: gate.Judged) -> Version:
    store = places.store(spec.name)
    record = json.loads((store / "training.json").read_text())
    run_id = record["run_id"]
    facts = {
        **tags(places, spec.name),
        "model_digest": judged.model_digest,
        **_tags(judged),
    }
    if run_id is None:  # trained by `dvc repro` while no tracking server was up: the curve is logged now
        with tracking.run(spec.name, f"{spec.name} (from dvc)", record["settings"], facts) as run_id:
            import pandas as pd

            curve = pd.read_csv(store / "curves.csv")
            for name in ("train_loss", "valid_loss"):
                tracking.log_curve(run_id, name, dict(zip(curve["step"], curve[name], strict=True)))
    scores = _flat(json.loads((store / "scores.json").read_text()))
    tracking.log_scores(run_id, scores, facts, [store / "curves.png", *sorted((store / "evaluation").glob("*.png"))])
    table, _ = read_features(places, spec.name)
    example = next(instances(table[table[SPLIT] == HOLDOUT].tail(1), Signature.read(store / "model")))
    return tracking.register(spec.name, store / "model", run_id, example, facts)


def _flat(scores: Any, prefix: str = "") -> dict[str, float]:
    """Nested scores as MLflow's flat metric names: `holdout/candidate/mae`."""
    if isinstance(scores, dict):
        return {
            name: value
            for key, inner in scores.items()
            for name, value in _flat(inner, f"{prefix}/{key}" if prefix else str(key)).items()
        }
    return {_safe(prefix): float(scores)} if isinstance(scores, int | float) and not isinstance(scores, bool) else {}


def _safe(name: str) -> str:
    return "".join(c if (c.isalnum() and c.isascii()) or c in "_-. /" else "_" for c in name)[:240]


def _place(spec: Spec, places: Places, version: str, digest: str, *, new: bool = False) -> str:
    """The version's files, their signature, its manifest, and what it is watched by; made where they are missing.

    SHA-256 (hex) of the manifest as we write it. What lies there of a `new` one no record is of: it is written anew.
    """
    copy = _copy(places.store(spec.name) / "model", places.models(spec.name, version), digest)
    file = copy.with_suffix(".yaml")
    content = manifests.filed(file, manifests.render(spec.name, version, copy, digest, spec.serve))
    if new or not file.is_file():
        write_atomically(file, content)
    failpoint("before-sign")
    signing.version(places, spec.name, version, digest)
    yardstick.make(spec, places, version)
    return hashlib.sha256(content).hexdigest()


def _copy(source: Path, target: Path, digest: str) -> Path:
    """The immutable copy that is served; renamed into place whole, never overwritten."""
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".copy-") as beside:
            shutil.copytree(source, Path(beside) / "model")
            move_whole(Path(beside) / "model", target)
    if (found := tree_digest(target)) != digest:
        raise RuntimeError(f"{target} holds {found[:12]}, not the judged model {digest[:12]}")
    return target
