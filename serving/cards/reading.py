"""One bill of materials as a reader asks it. What is absent is empty; what is no document at all is a UserError."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from data.errors import UserError
from serving.chain import canonical

OURS = "aiprime:"


def bom_file(home: Path, workload: str, version: str | int) -> Path:
    """HOME/models/WORKLOAD/VERSION.bom.json: CycloneDX."""
    return home / "models" / workload / f"{version}.bom.json"


def markdown_file(home: Path, workload: str, version: str | int) -> Path:
    """HOME/models/WORKLOAD/VERSION.card.md."""
    return home / "models" / workload / f"{version}.card.md"


def card_file(home: Path, workload: str, version: str | int) -> Path:
    """HOME/models/WORKLOAD/VERSION.card.html."""
    return home / "models" / workload / f"{version}.card.html"


def card_path(workload: str, version: str | int) -> str:
    """Where the gateway shows it."""
    return f"/models/{quote(workload, safe='')}/versions/{quote(str(version), safe='')}"


@dataclass(frozen=True)
class Card:
    """A parsed document."""

    document: dict[str, Any]

    @classmethod
    def read(cls, file: Path) -> Card:
        """The written document; FileNotFoundError where there is none, UserError where it is not one of ours."""
        try:
            document = json.loads(file.read_bytes())
            if document["bomFormat"] != "CycloneDX" or document["metadata"]["component"]["type"] != "machine-learning-model":
                raise ValueError("it describes no model")
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"this is not a model's bill of materials: {error}",
                where=str(file),
                next_step="remove it; aiprime run makes it again",
            ) from error
        return cls(document)

    @property
    def digest(self) -> str:
        """SHA-256 of what it says; when it was made does not count, so that the same card made again has the same one."""
        metadata = {name: value for name, value in self.document["metadata"].items() if name != "timestamp"}
        return hashlib.sha256(canonical(self.document | {"metadata": metadata}).encode()).hexdigest()

    @property
    def made(self) -> str:
        """When, ISO 8601."""
        return self.document["metadata"].get("timestamp", "")

    @property
    def model(self) -> dict[str, Any]:
        """The model's component."""
        return self.document["metadata"]["component"]

    @property
    def name(self) -> str:
        return self.model.get("name", "")

    @property
    def version(self) -> str:
        return self.model.get("version", "")

    @property
    def card(self) -> dict[str, Any]:
        """CycloneDX's modelCard."""
        return self.model.get("modelCard") or {}

    @property
    def parameters(self) -> dict[str, Any]:
        return self.card.get("modelParameters") or {}

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return (self.card.get("quantitativeAnalysis") or {}).get("performanceMetrics") or []

    @property
    def considerations(self) -> dict[str, Any]:
        return self.card.get("considerations") or {}

    @cached_property
    def facts(self) -> dict[str, str]:
        """Our properties of the model and of its card, without the prefix."""
        return ours(self.model) | ours(self.card)

    def component(self, ref: str) -> dict[str, Any]:
        """The component of that reference; empty where there is none."""
        return next((one for one in self.document.get("components") or () if one.get("bom-ref") == ref), {})

    def components(self, prefix: str) -> list[dict[str, Any]]:
        """The components whose reference begins so: `library:`, `source:`, `lock:`."""
        return [one for one in self.document.get("components") or () if str(one.get("bom-ref")).startswith(prefix)]

    @cached_property
    def data(self) -> dict[str, str]:
        """Our properties of the dataset's contents."""
        return contents(self.component("data:dataset"))


def ours(component: dict[str, Any]) -> dict[str, str]:
    """Our properties, without the prefix."""
    found = component.get("properties") or ()
    return {one["name"].removeprefix(OURS): one.get("value", "") for one in found if one["name"].startswith(OURS)}


def contents(component: dict[str, Any]) -> dict[str, str]:
    """Our properties of a data component's contents."""
    found: dict[str, str] = {}
    for one in component.get("data") or ():
        found |= ours(one.get("contents") or {})
    return found


def beginning(named: dict[str, str], prefix: str) -> dict[str, str]:
    """The entries whose name begins so, without it."""
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


def licence(component: dict[str, Any]) -> str:
    """The licence in words; empty where none is stated."""
    for one in component.get("licenses") or ():
        return one.get("expression") or one["license"].get("id") or one["license"].get("name", "")
    return ""
