"""V.release: the statement that one version may serve, sealed from the ledger's `cleared` record and bound to its sequence number.

A folder's signature says that we made it; this says that it is the one to be served now. A statement of before (an old version put in
a newer one's place, with all that lies beside it) names another version or another sequence number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.files import write_atomically
from serving.trust import envelope
from serving.trust.envelope import STATEMENT
from serving.trust.keys import PublicKey, SigningKey
from serving.trust.refusal import Untrusted

PREDICATE = "urn:aiprime:release:v1"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What may serve: a workload's version, as these bytes (`digest`: data.files.tree_digest), by the ledger's record `sequence`."""

    workload: str
    version: str
    digest: str
    sequence: int


def beside(folder: Path) -> Path:
    """Where a folder's release statement lies: FOLDER.release."""
    return folder.with_name(f"{folder.name}.release")


def write(file: Path, said: Statement, key: SigningKey) -> None:
    """Seal the statement into its file, atomically."""
    subject = {"name": f"{said.workload}/{said.version}", "digest": {"aiprimeTree": said.digest}}
    statement = {"_type": STATEMENT, "subject": [subject], "predicateType": PREDICATE, "predicate": asdict(said)}
    write_atomically(file, envelope.seal(statement, key))


def read(file: Path, keys: Iterable[PublicKey]) -> Statement:
    """The statement in a file. Untrusted where there is none, or no trusted key sealed it."""
    sealed, _ = envelope.unseal(file, keys)
    if sealed.get("predicateType") != PREDICATE:
        raise Untrusted("it is no release statement", where=file)
    said: Any = sealed.get("predicate")
    envelope.fields(said, set(Statement.__dataclass_fields__), file)
    if type(said["sequence"]) is not int or not all(  # True is an int, and equal to 1
        isinstance(said[one], str) for one in ("workload", "version", "digest")
    ):
        raise Untrusted("it is no release statement", where=file)
    return Statement(**said)
