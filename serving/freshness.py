"""How old the stored feature values are that complete requests: for whoever looks. What an answer does about it is the gateway's completion.

The age is that of now. A request that states its own time is judged by that one (what is asked of 1990 is not stale today).
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from serving.gateway.online import OnlineStore
from training.signature import Signature

LOOKED = 1_000  # entities, at the most: a page must not take longer with each that joins


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """Of the values that a version reads. Times are seconds since 1970 UTC; `amiss` says why nothing is known."""

    entity: str | None  # what values are stored by; None: one series
    ttl_s: int | None  # values older than this are stale; None: none ever are
    refuses: bool = True  # what is stale is not answered (else it is, and the answer says so)
    oldest: float | None = None
    newest: float | None = None
    looked: int = 0  # entities
    stale: int = 0  # ... whose values are
    more: bool = False  # there are entities that were not looked at
    amiss: str = ""

    @property
    def well(self) -> bool:
        """Whether every request that leaves them out is answered as if it had brought them."""
        return not self.amiss and not self.stale

    @property
    def briefly(self) -> str:
        """In a few words."""
        if self.amiss or self.oldest is None or self.newest is None:
            return self.amiss
        if self.ttl_s is None:
            return f"known up to {_day(self.newest)}"
        if self.stale:
            whose = f"those of {self.stale:,} of {self.looked:,} ({self.entity})" if self.entity else "they"
            return f"{whose} are older than {span(self.ttl_s)}, the oldest of {_day(self.oldest)}"
        of = f", of {'the first ' if self.more else 'all '}{self.looked:,} ({self.entity})" if self.entity else ""
        return f"known up to {_day(self.oldest)} or later{of}"

    @property
    def said(self) -> str:
        """In a sentence: how old they are, and what becomes of a request."""
        if self.amiss or self.oldest is None:
            return self.amiss
        if self.ttl_s is None:
            return f"{self.briefly}; no features.ttl is set: they are used however old they are"
        if not self.stale:
            return f"{self.briefly}; used until they are {span(self.ttl_s)} old"
        then = "is refused" if self.refuses else "is answered, and the answer says that it is stale"
        return f"{self.briefly}: a request that leaves them out and names no time of its own {then}"


def fresh(home: Path, workload: str, version: str, *, now: float | None = None, most: int = LOOKED) -> Freshness | None:
    """Look now; None where requests bring every value themselves, or the version's files are gone."""
    try:
        signature = Signature.read(home / "models" / workload / version)
    except (OSError, ValueError):
        return None
    if not signature.stored:
        return None
    ttl = signature.ttl_seconds
    facts = {"entity": signature.entity, "ttl_s": ttl, "refuses": signature.on_stale == "refuse"}
    try:
        times = _times(home, workload, signature, most + 1)
    except FileNotFoundError:
        return Freshness(**facts, amiss="no features were published yet")
    except (OSError, ValueError, KeyError, sqlite3.Error) as error:
        return Freshness(**facts, amiss=f"the stored values cannot be read now: {error}")
    if not times:
        return Freshness(**facts, amiss="nothing is stored that this version reads")
    known = [one.timestamp() for one in times[:most]]
    before = (time.time() if now is None else now) - ttl if ttl is not None else None
    stale = 0 if before is None else sum(one < before for one in known)
    return Freshness(**facts, oldest=min(known), newest=max(known), looked=len(known), stale=stale, more=len(times) > most)


def _times(home: Path, workload: str, signature: Signature, most: int) -> list[datetime]:
    """The time up to which each entity's values are known."""
    if signature.entity is None:
        written = json.loads((home / "features" / workload / "latest.json").read_bytes())
        at = datetime.fromisoformat(written["time"])
        return [at if at.tzinfo else at.replace(tzinfo=UTC)]
    store = OnlineStore(home / "feast" / workload)
    try:
        return store.times(signature.stored, most)
    finally:
        store.close()


def span(seconds: float) -> str:
    """A duration as people say it."""
    for name, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}".removesuffix(" 00:00")
