"""The gate: may this model replace the champion? TFX's blessing, on by default, on the same rows for both.

It skips by a key of its own (model, champion, rows, rules, serving): the verdict for one key is computed once and kept.
Knows nothing of Dagster.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from assets.spec import Spec
from assets.stages import read_features
from data import versions
from data.errors import UserError
from data.files import tree_digest, write_json
from data.places import Places
from data.schema import ROW_ID, SPLIT
from data.split import HOLDOUT
from training.signature import MODEL_JSON, Signature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assets.platform import Platform

log = logging.getLogger("aiprime.gate")
REPLAYED = 64  # requests sent to the booted candidate


@dataclass(frozen=True)
class Judged:
    """The gate's verdict on one model, as it is kept."""

    key: str
    model_digest: str
    champion: str | None  # the version it was compared with
    passed: bool
    reasons: list[str]
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    latency_ms: float = 0.0

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        return ("passed: " if self.passed else "refused: ") + "; ".join(self.reasons)


def judge(spec: Spec, platform: Platform) -> Judged:
    """Judge the model in the workload's store against the baseline and the champion; the stored verdict where nothing changed."""
    places = platform.places
    store = places.store(spec.name)
    _belong_together(places, spec.name)
    digest = tree_digest(store / "model")
    champion = _rival(platform, spec.name, digest)
    rules = [spec.promote.model_dump(mode="json"), spec.serve.model_dump(mode="json")]
    rows = versions.locked(places.root, spec.name)["features"]  # hashed again just now
    key = sha256(json.dumps([digest, champion, rows, rules], sort_keys=True).encode()).hexdigest()[:24]
    file = places.home / "gate" / spec.name / f"{key}.json"
    if file.is_file():
        return Judged(**json.loads(file.read_text()))
    judged = _judge(spec, platform, key, digest, champion)
    write_json(file, asdict(judged))
    log.info("%s: gate: %s", spec.name, judged.sentence)
    return judged


def _belong_together(places: Places, workload: str) -> None:
    """Refuse to judge a model by scores, checks or rows that were made for another one, or that were damaged since."""
    if apart := versions.unsettled(places.root, workload):
        raise UserError(
            f"{workload} cannot be judged: {'; '.join(apart)}",
            where=str(places.root / "dvc.lock"),
            next_step=f"aiprime run {workload} brings every stage up to date",
        )
    for stage in ("quality", "features", "model", "evaluation"):
        versions.verify(places.root, workload, stage)


def _rival(platform: Platform, workload: str, digest: str) -> str | None:
    """The version to compare with: the champion; where the model *is* the champion, the one it replaced, so that its verdict stands."""
    champion = platform.ledger.champion(workload)
    if champion is None:
        return None
    its = next((d for d in platform.ledger.history(workload, "registered") if d.version == champion.version), None)
    if its is not None and its.payload["model_digest"] == digest:
        return champion.payload["replaces"]
    return champion.version


def _judge(spec: Spec, platform: Platform, key: str, digest: str, champion: str | None) -> Judged:
    from training import evaluate, promote

    places = platform.places
    store = places.store(spec.name)
    table, schema = read_features(places, spec.name)
    holdout = table[table[SPLIT] == HOLDOUT]
    losses = evaluate.read_losses(store / "evaluation")
    against_baseline = evaluate.compare_with_baseline(losses, holdout, schema, spec.promote)
    against_champion: list[Any] = []
    note = ""
    if champion is not None:
        folder = places.models(spec.name, champion)
        if not (folder / MODEL_JSON).is_file():
            raise UserError(
                f"the files of champion {champion} are gone",
                where=str(folder),
                next_step="restore them from a backup, or promote another version",
            )
        try:
            theirs = evaluate.losses_of(folder, holdout, schema)
            against_champion = evaluate.compare_with_champion(losses, theirs, holdout, schema, spec.promote)
        except UserError as error:  # it reads columns that are gone, or answers other horizons: a person changed the workload
            note = f"compared with the baseline only, for champion {champion} cannot be asked: {error.what}"
    latency, agrees = _replay(spec, platform, digest, holdout)
    verdict = promote.decide(
        spec.promote,
        baseline=against_baseline,
        champion=against_champion,
        latency_ms=latency,
        size_mb=sum(f.stat().st_size for f in (store / "model").rglob("*") if f.is_file()) / 1e6,
        quality_passed=(store / "quality.json").is_file(),
        served_agrees=agrees,
    )
    return Judged(
        key=key,
        model_digest=digest,
        champion=champion,
        passed=verdict.passed,
        reasons=[*verdict.reasons, *([note] if note else [])],
        comparisons=[c.row() for c in verdict.comparisons],
        latency_ms=round(latency, 3),
    )


def _replay(spec: Spec, platform: Platform, digest: str, holdout: Any) -> tuple[float, bool]:
    """Boot the candidate in a scratch model server and send it holdout rows: p50 in ms, and whether it answers as evaluated."""
    import http.client
    from urllib.parse import urlsplit

    from serving import manifests
    from training.examples import instances
    from training.predictor import OnnxPredictor

    folder = platform.places.store(spec.name) / "model"
    rows = holdout.sort_values(ROW_ID).tail(REPLAYED)
    signature = Signature.read(folder)
    expected = OnnxPredictor(folder).predict(rows)
    manifest = manifests.render(spec.name, "candidate", folder, digest, spec.serve)
    times, answers = [], []
    with platform.deployment().scratch(manifest) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
        for instance in instances(rows, signature):
            body = json.dumps({"instances": [instance]}, allow_nan=False)
            started = time.perf_counter()
            connection.request("POST", f"/v1/models/{spec.name}:predict", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            times.append(1000 * (time.perf_counter() - started))
            if answer.status != 200:
                raise RuntimeError(f"the booted candidate refused a holdout row: {answer.status} {content[:300]!r}")
            answers.append(json.loads(content)["predictions"][0])
        connection.close()
    return sorted(times)[len(times) // 2], _same(answers, expected, signature)


def _same(answers: list[dict[str, Any]], expected: dict[str, Any], signature: Signature) -> bool:
    """Whether what was served equals what was evaluated, to 1e-6 relative."""
    import numpy as np

    if signature.task == "classification":
        served: Iterable[Any] = [[a["probabilities"][c] for c in signature.classes] for a in answers]
        return bool(np.allclose(np.array(served), expected["probabilities"], rtol=1e-5, atol=1e-6))
    served = [[f["prediction"] for f in a["forecast"]] if signature.horizons else a["prediction"] for a in answers]
    return bool(np.allclose(np.array(served), np.asarray(expected["prediction"]), rtol=1e-5, atol=1e-6))
