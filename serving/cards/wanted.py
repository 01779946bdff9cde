"""What a whole card says: the list that completeness is counted by, each entry of the same weight.

Drawn from CycloneDX's modelCard, NTIA's minimum elements of an SBOM, and Model Cards (Mitchell et al. 2019). A list of our own, so its
score compares our versions with each other; of 97,940 public models the mean by another such list was 54 of 100.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving.cards.reading import Card, beginning, licence, ours

Held = Callable[[Card], object]


@dataclass(frozen=True)
class Completeness:
    """How much of the list is there; `missing` names the rest."""

    wanted: int
    missing: tuple[str, ...]

    @property
    def score(self) -> int:
        """Of 100; 100 only where nothing is missing."""
        return 100 * (self.wanted - len(self.missing)) // self.wanted


def completeness(card: Card) -> Completeness:
    """The count for one card."""
    return Completeness(len(WANTED), tuple(name for name, held in WANTED.items() if not held(card)))


def _several_horizons(card: Card) -> bool:
    """Whether each horizon is scored; a model of one horizon, or of none, has nothing to tell apart."""
    horizons = [one for one in card.metrics if one.get("slice", "").endswith("steps ahead")]
    return bool(horizons) or "," not in card.facts.get("horizons", "")


def _baselines(card: Card) -> set[str]:
    """The names of the slices' lines that are the baseline's."""
    return {one["slice"] for one in card.metrics if one["slice"].endswith(f", {card.facts.get('baseline')}")}


WANTED: dict[str, Held] = {
    "serial number": lambda card: card.document.get("serialNumber"),
    "time": lambda card: card.made,
    "tool that made it": lambda card: card.document["metadata"].get("tools"),
    "name": lambda card: card.name,
    "version": lambda card: card.version,
    "description": lambda card: card.model.get("description"),
    "package URL": lambda card: card.model.get("purl"),
    "digest": lambda card: card.model.get("hashes"),
    "files with digests": lambda card: (
        card.model.get("components") and all(one.get("hashes") for one in card.model["components"])
    ),
    "formats": lambda card: card.facts.get("formats"),
    "size": lambda card: card.facts.get("bytes"),
    "licence of the model": lambda card: licence(card.model),
    "commit": lambda card: (card.model.get("pedigree") or {}).get("commits"),
    "uncommitted changes": lambda card: card.facts.get("changes"),
    "run": lambda card: card.facts.get("run"),
    "learning approach": lambda card: card.parameters.get("approach"),
    "task": lambda card: card.parameters.get("task"),
    "family": lambda card: card.parameters.get("architectureFamily"),
    "architecture": lambda card: card.parameters.get("modelArchitecture"),
    "inputs": lambda card: card.parameters.get("inputs"),
    "outputs": lambda card: card.parameters.get("outputs"),
    "hyper-parameters": lambda card: beginning(card.facts, "hyperparameter:"),
    "seed": lambda card: card.facts.get("seed"),
    "training steps": lambda card: card.facts.get("steps"),
    "training rows": lambda card: card.facts.get("training-rows"),
    "datasets": lambda card: card.parameters.get("datasets"),
    "dataset's hash": lambda card: card.component("data:dataset").get("hashes"),
    "examples' hash": lambda card: card.component("data:features").get("hashes"),
    "dataset's rows": lambda card: card.data.get("rows"),
    "dataset's period": lambda card: card.data.get("period"),
    "columns and ranges": lambda card: beginning(card.data, "column:"),
    "source with digests": lambda card: (
        card.components("source:") and all(one.get("hashes") for one in card.components("source:"))
    ),
    "origin of the data": lambda card: card.component("data:dataset").get("description"),
    "licence of the data": lambda card: licence(card.component("data:dataset")),
    "quality checks": lambda card: beginning(card.data, "check:"),
    "metric": lambda card: any(one["type"] == card.facts.get("metric") for one in card.metrics),
    "intervals": lambda card: any(
        one["type"] == card.facts.get("metric") and one.get("confidenceInterval") for one in card.metrics
    ),
    "slices": lambda card: (
        len({one["slice"] for one in card.metrics if one["type"] == card.facts.get("metric")} - _baselines(card)) > 1
    ),
    "horizons": _several_horizons,
    "baseline's score": lambda card: (
        card.facts.get("baseline")
        and any(one["type"].endswith(f"minus that of {card.facts['baseline']}") for one in card.metrics)
    ),
    "champion compared": lambda card: card.facts.get("champion"),
    "gate's verdict": lambda card: card.facts.get("verdict"),
    "uses": lambda card: card.considerations.get("useCases"),
    "users": lambda card: card.considerations.get("users"),
    "limits": lambda card: card.considerations.get("technicalLimitations"),
    "tradeoffs": lambda card: card.considerations.get("performanceTradeoffs"),
    "people": lambda card: card.considerations.get("ethicalConsiderations"),
    "compute": lambda card: ours(card.considerations.get("environmentalConsiderations") or {}).get("fit-seconds"),
    "locks with digests": lambda card: card.components("lock:"),
    "main libraries": lambda card: len(card.components("library:")) >= 10,
    "dependencies": lambda card: card.document.get("dependencies"),
}
