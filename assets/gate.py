"""The gate: may this model replace the champion? TFX's blessing, on by default, on the same rows for both.

It skips by a key of its own (model, champion, rows, rules, serving, cutoff): the verdict for one key is computed once and kept.
Knows nothing of Dagster.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from assets import booted, signing
from assets.spec import Spec
from assets.stages import read_features
from data import cutoff, versions
from data.errors import UserError
from data.files import tree_digest, write_json
from data.places import Places
from data.schema import SPLIT, TableSchema
from data.split import FROZEN, HOLDOUT
from training.signature import MODEL_JSON

if TYPE_CHECKING:
    from assets.platform import Platform
    from training.promote import Comparison

log = logging.getLogger("aiprime.gate")


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
    cutoff: dict[str, Any] | None = None  # what a retrain set, and which window made it start (data/cutoff.py)
    gate_window: list[str] | None = None  # of truth, from and up to (ISO 8601, UTC): what it was judged on

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
    until = _cutoff(places, spec.name)
    facts = [digest, champion, rows, rules, *([until.plain()] if until else [])]
    key = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
    file = places.home / "gate" / spec.name / f"{key}.json"
    if file.is_file():
        return Judged(**json.loads(file.read_text()))
    judged = replace(_judge(spec, platform, key, digest, champion), cutoff=until.plain() if until else None)
    write_json(file, asdict(judged))
    log.info("%s: gate: %s", spec.name, judged.sentence)
    return judged


def _cutoff(places: Places, workload: str) -> cutoff.Cutoff | None:
    """The cutoff that the dataset was made with, and its reason where that is still the one that was asked for."""
    used = cutoff.in_dataset(places.store(workload) / "dataset.parquet")
    asked = cutoff.read(places, workload)
    if used is None or asked is None:
        return used
    same = asked.decides.model_copy(update={"labels_sha256": used.labels_sha256}) == used
    return used.model_copy(update={"reason": asked.reason, "sequence": asked.sequence}) if same else used


def _belong_together(places: Places, workload: str) -> None:
    """Refuse to judge a model by scores, checks or rows that were made for another one, or that were damaged since."""
    if apart := versions.unsettled(places.root, workload):
        raise UserError(
            f"{workload} cannot be judged: {'; '.join(apart)}",
            where=str(places.root / "dvc.lock"),
            next_step=f"aiprime run {workload} brings every stage up to date",
        )
    for stage in ("source", "dataset", "quality", "features", "model", "evaluation"):
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
    from training.holdout import gate_window

    store = platform.places.store(spec.name)
    table, schema = read_features(platform.places, spec.name)
    holdout = table[table[SPLIT] == HOLDOUT]
    losses = evaluate.read_losses(store / "evaluation")
    against_champion, note = _against(spec, platform, champion, table, schema) if champion is not None else ([], "")
    latency, agrees = booted.replay(spec, platform, digest, holdout)
    verdict = promote.decide(
        spec.promote,
        baseline=evaluate.compare_with_baseline(losses, holdout, schema, spec.promote),
        champion=against_champion,
        latency_ms=latency,
        size_mb=sum(f.stat().st_size for f in (store / "model").rglob("*") if f.is_file()) / 1e6,
        quality_passed=(store / "quality.json").is_file(),
        served_agrees=agrees,
    )
    window = gate_window(table, schema)
    return Judged(
        key=key,
        model_digest=digest,
        champion=champion,
        passed=verdict.passed,
        reasons=[*verdict.reasons, *([note] if note else [])],
        comparisons=[c.row() for c in verdict.comparisons],
        latency_ms=round(latency, 3),
        gate_window=[at.isoformat() for at in window] if window else None,
    )


def _against(spec: Spec, platform: Platform, champion: str, table: Any, schema: TableSchema) -> tuple[list[Comparison], str]:
    """The comparisons with the champion on the same rows, newest and frozen; or none, and why it could not be asked."""
    from training import evaluate
    from training.holdout import has_frozen

    store, folder = platform.places.store(spec.name), platform.places.models(spec.name, champion)
    if not (folder / MODEL_JSON).is_file():
        raise UserError(
            f"the files of champion {champion} are gone",
            where=str(folder),
            next_step="restore them from a backup, or promote another version",
        )
    ours = evaluate.read_losses(store / "evaluation")
    signing.opened(platform.places, spec.name, champion)
    try:
        theirs = evaluate.losses_of(folder, table, schema)
        found = evaluate.compare_with_champion(ours, theirs, table, schema, spec.promote)
        if has_frozen(table):
            kept, theirs = (evaluate.losses_of(model, table, schema, FROZEN) for model in (store / "model", folder))
            found.append(evaluate.compare_on_frozen(kept, theirs, table, schema, spec.promote))
    except UserError as error:  # it reads columns that are gone, or answers other horizons: a person changed the workload
        return [], f"compared with the baseline only, for champion {champion} cannot be asked: {error.what}"
    return found, ""
