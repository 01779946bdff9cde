"""The receipt of an erasure: an in-toto statement in a DSSE envelope, signed as releases are, at HOME/receipts/ID.json.

It holds the entity's keyed digest, what was found and taken away, which versions are to be retrained, and where the key still stands and
why. Never changed once it is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.files import write_atomically
from serving.trust import envelope, keys
from serving.trust.refusal import Untrusted

PREDICATE = "urn:aiprime:erasure:v1"
FOLDER = "receipts"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What was done. `workloads`: by name, what was found there, `retrain` and `remains`."""

    id: str
    at: str
    digest: str  # HMAC-SHA256 of the entity's key
    key: str  # the id of the secret that it was made with
    workloads: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def retrain(self) -> dict[str, list[str]]:
        """By workload: the versions that were trained on the entity and still serve."""
        return {name: one["retrain"] for name, one in self.workloads.items() if one.get("retrain")}


def write(home: Path, receipt: Receipt) -> Path:
    """Sign it and keep it, durably; its file. One that is there already stays as it is."""
    file = place(home, receipt.id)
    if not file.exists():
        subject = [{"name": "entity", "digest": {"hmac-sha256": receipt.digest}}]
        predicate = {"id": receipt.id, "at": receipt.at, "key": receipt.key, "workloads": receipt.workloads}
        statement = {"_type": envelope.STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": predicate}
        write_atomically(file, envelope.seal(statement, keys.signing(home)))
    return file


def place(home: Path, receipt: str) -> Path:
    """Where a receipt lies."""
    return home / FOLDER / f"{receipt}.json"


def read(file: Path, home: Path) -> Receipt:
    """A receipt whose signature holds. Untrusted where it does not, or it is another statement."""
    statement, _ = envelope.unseal(file, keys.accepted(home))
    try:
        if statement["predicateType"] != PREDICATE:
            raise ValueError(statement["predicateType"])
        return Receipt(digest=statement["subject"][0]["digest"]["hmac-sha256"], **statement["predicate"])
    except (LookupError, TypeError, ValueError) as error:
        step = "name receipts of erasures (AIPRIME_HOME/receipts)"
        raise Untrusted("it is no receipt of an erasure", where=file, next_step=step) from error
