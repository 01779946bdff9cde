"""All that a card says, gathered from what the stages and the gate left in the store; nothing is measured anew but the intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assets import cost
from assets.cards import environment, figures
from assets.cards import rows as data_rows
from assets.cards.environment import Environment
from assets.cards.figures import Figure
from assets.cards.rows import Rows
from assets.spec import Spec
from data.files import sha256
from data.places import Places
from data.schema import TableSchema
from training.signature import Signature


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of the model's folder."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One version's facts. `told` is the payload of its `registered` record: verdict, comparisons, commit, serve section."""

    spec: Spec
    version: str
    told: Mapping[str, Any]
    schema: TableSchema
    signature: Signature
    files: tuple[File, ...]
    rows: Rows
    figures: tuple[Figure, ...]
    metric: str
    baseline: str
    training: Mapping[str, Any]  # training.json
    checks: tuple[Mapping[str, Any], ...]  # of quality.json
    environment: Environment
    latency_ms: float | None
    cpu_s: float | None

    @property
    def size(self) -> int:
        """Bytes of the model's files."""
        return sum(file.bytes for file in self.files)


def facts(spec: Spec, places: Places, version: str, told: Mapping[str, Any]) -> Facts:
    """The facts of the model that is in the workload's store, and is registered as `version` with `told`."""
    store, folder, schema = places.store(spec.name), places.models(spec.name, version), data_rows.schema(spec, places)
    scores = json.loads((store / "scores.json").read_bytes())
    return Facts(
        spec=spec,
        version=version,
        told=told,
        schema=schema,
        signature=Signature.read(folder),
        files=tuple(
            File(name=file.relative_to(folder).as_posix(), bytes=file.stat().st_size, sha256=sha256(file))
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        ),
        rows=data_rows.rows(spec, places),
        figures=figures.figures(spec, places, schema),
        metric=figures.judged_by(spec),
        baseline=scores["baseline"],
        training=json.loads((store / "training.json").read_bytes()),
        checks=tuple(json.loads((store / "quality.json").read_bytes())["results"]),
        environment=environment.environment(places),
        latency_ms=_latency(places, spec.name, told),
        cpu_s=_cpu_s(places, spec.name, version),
    )


def _latency(places: Places, workload: str, told: Mapping[str, Any]) -> float | None:
    """What the gate measured."""
    try:
        found = json.loads((places.home / "gate" / workload / f"{told.get('judged')}.json").read_bytes())
    except FileNotFoundError:
        return None
    return found.get("latency_ms")


def _cpu_s(places: Places, workload: str, version: str) -> float | None:
    """What the retrain that made the version has cost, where one did and was counted."""
    for file in sorted((places.home / "retraining" / workload).glob("*.json")):
        if cost.made(places, workload, file.stem) == version:
            return cost.cpu_seconds(places, workload, file.stem)
    return None
