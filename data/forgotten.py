"""Entities that were asked to be forgotten: a list of keyed digests, and the filter that keeps their rows out of every later read.

HOME/forgotten.json states no key in clear: HMAC-SHA256 (RFC 2104) under a secret of this home, HOME/keys/forgetting.key. Whoever has only the
list, a receipt or the ledger can neither read a key from it nor try likely ones; whoever has the home can test a key that they
know, which is what the filter does with each entity that a source brings. Knows no store that holds an entity, and deletes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.files import make_once, write_json

if TYPE_CHECKING:
    import pandas as pd

FILE = "forgotten.json"
_KEY = Path("keys") / "forgetting.key"
_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Tombstone:
    """One entity of one workload, by its digest; `receipt` names what was done about it."""

    digest: str
    workload: str
    at: str
    receipt: str


@dataclass(frozen=True)
class Secret:
    """What digests are keyed with; `id` tells one secret from another and says nothing of it."""

    _bytes: bytes

    @property
    def id(self) -> str:
        return hmac.new(self._bytes, b"aiprime: the id of this key", hashlib.sha256).hexdigest()[:16]

    def digest(self, entity: Any) -> str:
        """The digest of an entity's key, as text: equal for `7` and `"7"`."""
        return hmac.new(self._bytes, str(entity).encode("utf-8", errors="surrogatepass"), hashlib.sha256).hexdigest()


def secret(home: Path) -> Secret:
    """The home's secret; made now where there is none, so that every backup from the first run on has it.

    UserError where it is gone while tombstones rely on it: without it what was forgotten would come back unseen.
    """
    file = home / _KEY
    if not file.exists():
        if (home / FILE).exists():
            what = "the key that tombstones are read with is gone: what was forgotten cannot be kept out"
            raise UserError(what, where=str(file), next_step="restore it from a backup")
        make_once(file, secrets.token_bytes(_BYTES))
    content = file.read_bytes()
    if len(content) != _BYTES:
        raise UserError(
            "the key that tombstones are read with is damaged", where=str(file), next_step="restore it from a backup"
        )
    return Secret(content)


def tombstones(home: Path) -> list[Tombstone]:
    """All of them, oldest first. UserError where the list was made with another key, or is none of ours."""
    file = home / FILE
    try:
        written = json.loads(file.read_bytes())
        found = [Tombstone(**one) for one in written["forgotten"]]
    except FileNotFoundError:
        return []
    except (ValueError, LookupError, TypeError) as error:
        step = "restore it from a backup; without it what was forgotten would come back"
        raise UserError(f"the list of what was forgotten cannot be read: {error}", where=str(file), next_step=step) from error
    if written["key"] != secret(home).id:
        step = f"restore {_KEY} of the same time; with another key what was forgotten would come back"
        raise UserError("the list of what was forgotten was made with another key", where=str(file), next_step=step)
    return found


def bury(home: Path, tombstone: Tombstone) -> Tombstone:
    """Keep a tombstone, durably; the one that is there already for the same entity and workload, where there is one."""
    known = tombstones(home)
    for one in known:
        if (one.digest, one.workload) == (tombstone.digest, tombstone.workload):
            return one
    write_json(home / FILE, {"key": secret(home).id, "forgotten": [asdict(one) for one in [*known, tombstone]]})
    return tombstone


def renew(home: Path, tombstone: Tombstone) -> None:
    """Put a tombstone into the place of the one of the same entity and workload: a later receipt."""
    rest = [one for one in tombstones(home) if (one.digest, one.workload) != (tombstone.digest, tombstone.workload)]
    write_json(home / FILE, {"key": secret(home).id, "forgotten": [asdict(one) for one in [*rest, tombstone]]})


def of(home: Path, workload: str) -> list[str]:
    """The digests of a workload's forgotten entities, sorted: what `source.json` states, so that DVC sees them change."""
    secret(home)
    return sorted({one.digest for one in tombstones(home) if one.workload == workload})


def left(entities: Collection[Any], digests: Collection[str], home: Path) -> set[Any]:
    """The entities that are among the forgotten."""
    key, wanted = secret(home), set(digests)
    return {entity for entity in entities if key.digest(entity) in wanted}


def without(df: pd.DataFrame, entity: str | None, digests: Collection[str], home: Path) -> pd.DataFrame:
    """The rows of a canonical table that are of nobody who was forgotten. UserError where fewer than two are left."""
    if not digests or entity is None:
        return df
    gone = left(df[entity].dropna().unique().tolist(), digests, home)
    if not gone:
        return df
    kept = df[~df[entity].isin(list(gone))].reset_index(drop=True)
    kept.attrs = df.attrs | {"left_out": {**df.attrs.get("left_out", {}), "rows of who was forgotten": len(df) - len(kept)}}
    if len(kept) < 2:
        what = f"{len(kept)} rows are left: the others are of entities that were forgotten"
        raise UserError(what, next_step="bring rows of others, or aiprime remove the workload")
    return kept
