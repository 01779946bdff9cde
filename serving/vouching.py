"""Who vouches for a version: the key that signed its files, the decision that cleared it, and whether both still hold.

For whoever looks; makes nothing. The model server judges for itself, before it reads a file (serving/trust/verification.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from serving.ledger import Ledger
from serving.trust import keys, signature, statement, verification
from serving.trust.keys import short
from serving.trust.refusal import Untrusted

_KEPT = 1_000  # of the workload's newest clearings, those that are looked through


@dataclass(frozen=True, kw_only=True)
class Vouched:
    """What was found. `amiss` says in words what is missing or does not hold; empty where all is well."""

    version: str
    key: str | None = None  # id of the trusted key that signed the files; None: nobody did
    files: bool = False  # whether the files themselves were hashed again, or only the signature of their list checked
    statement: int | None = None  # sequence of the decision that the release statement names
    cleared: int | None = None  # ... of the newest that is on record
    at: str = ""  # when that was, ISO 8601 UTC
    by: str = ""  # "gate" or "person"
    reason: str = ""
    amiss: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """Whether it is signed by a trusted key and cleared to serve."""
        return not self.amiss

    @property
    def said(self) -> str:
        """In a sentence."""
        parts = list(self.amiss)
        if self.key is not None:
            parts.append(f"signed by the key {short(self.key)}")
        if self.cleared is not None:
            by = "by a person" if self.by == "person" else f"by the {self.by}"
            parts.append(f"cleared to serve on {self.at[:16].replace('T', ' ')} UTC {by}: {self.reason or 'no reason given'}")
        return "; ".join(parts)


def who_vouches(home: Path, ledger: Ledger, workload: str, version: str, *, files: bool = False) -> Vouched:
    """Look now; `files`: every file of the version is hashed again, which takes as long as reading it."""
    folder = home / "models" / workload / version
    cleared = next((one for one in reversed(ledger.latest(workload, _KEPT, ("cleared",))) if one.version == version), None)
    key = sequence = None
    amiss = []
    try:
        trusted = keys.found(home)
        key = verification.candidate(folder, trusted).key if files else signature.read(signature.beside(folder), trusted)[1].id
        if cleared is not None:
            sequence = statement.read(statement.beside(folder), trusted).sequence
    except Untrusted as error:
        amiss.append(error.what)
    except (UserError, OSError) as error:
        amiss.append(str(error).splitlines()[0])
    if cleared is None:
        amiss.append("it was never cleared to serve")
    elif sequence not in {None, cleared.sequence}:
        amiss.append(f"the ledger's newest clearing is decision {cleared.sequence}, the statement's is {sequence}")
    return Vouched(
        version=version,
        key=key,
        files=files,
        statement=sequence,
        cleared=cleared.sequence if cleared else None,
        at=cleared.at if cleared else "",
        by=str(cleared.payload.get("by", cleared.actor)) if cleared else "",
        reason=str(cleared.payload.get("reason") or "") if cleared else "",
        amiss=tuple(amiss),
    )
