"""Who vouches for a backup: its manifest's digest, sealed with the key that signs this home's models, beside the manifest.

An in-toto statement in a DSSE envelope (serving/trust/envelope.py), looked at before the manifest is parsed. Where nothing is here that
knows a key, as on a bare machine, the key beside the signature is taken on first use, and whoever asked is told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from data.files import write_atomically
from orchestration.backup import placing
from serving.trust import envelope, keys
from serving.trust.keys import PublicKey, SigningKey, short
from serving.trust.refusal import Untrusted

PREDICATE = "urn:aiprime:backup:v1"
SIGNATURE, PUBLIC = "manifest.sig", "manifest.pub"


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What a person says of a backup: the file of the public key that must have signed it, or that it may be unsigned."""

    key: Path | None = None
    unsigned: bool = False


@dataclass(frozen=True, kw_only=True)
class Voucher:
    """The digest (SHA-256, hex) that was signed, by which key, and whether that key was known here. Nothing of it where unsigned."""

    manifest: str | None = None
    key: str | None = None
    known: bool = False

    @property
    def note(self) -> str | None:
        """What a person should know of it, in a sentence."""
        if self.key is None:
            return "it is not signed: whether anybody changed it since it was taken cannot be told"
        if self.known:
            return None
        who = f"it is signed with the key {short(self.key)}, and nobody here could vouch for that key"
        return f"{who}: compare it with what aiprime backup said, or name the key (--key FILE)"


def seal(folder: Path, manifest: str, digest: str, key: SigningKey) -> None:
    """Sign that the file `manifest` of a backup has this digest; the key's public half lies beside the signature."""
    subject = [{"name": manifest, "digest": {"sha256": digest}}]
    statement = {"_type": envelope.STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": {}}
    write_atomically(folder / PUBLIC, key.public.pem)
    write_atomically(folder / SIGNATURE, envelope.seal(statement, key))


def voucher(folder: Path, home: Path, trust: Trust | None = None) -> Voucher:
    """Who vouches for a backup, by the keys of this home, or those of a home that a restore put beside, or the one that `trust` names.

    UserError where it is signed by another, its signature does not hold, or it is not signed and `trust` does not accept that.
    """
    trust = trust or Trust()
    if not (folder / SIGNATURE).is_symlink() and not (folder / SIGNATURE).exists():
        if trust.unsigned:
            return Voucher()
        step = "--unsigned accepts it, where you know who wrote it (those of before backups were signed are such); or name another backup"
        raise UserError(
            "the backup is not signed: it is an old one, or its signature was taken away", where=str(folder), next_step=step
        )
    known = keys.read([trust.key]) if trust.key else _known(home)
    try:
        digest, key = _opened(folder, known or _beside(folder))
    except Untrusted as error:
        step = f"name another backup; or --key {folder / PUBLIC}, where you know that key; nothing was changed"
        raise UserError(f"nobody vouches for the backup: {error.what}", where=str(folder), next_step=step) from error
    return Voucher(manifest=digest, key=key.id, known=bool(known))


def _known(home: Path) -> tuple[PublicKey, ...]:
    """The keys that are known here; a restore that was cut off left its home beside."""
    return keys.known(home) or tuple(key for one in placing.asides(home)[-1:] for key in keys.known(one))


def _beside(folder: Path) -> tuple[PublicKey, ...]:
    try:
        return keys.read([folder / PUBLIC])
    except UserError as error:
        raise Untrusted(
            f"no key is known here, and the one beside the signature cannot be read: {error.where}", where=folder
        ) from error


def _opened(folder: Path, known: Sequence[PublicKey]) -> tuple[str, PublicKey]:
    file = folder / SIGNATURE
    statement, key = envelope.unseal(file, known)
    try:
        (subject,) = statement["subject"]
        if statement["predicateType"] != PREDICATE:
            raise ValueError(statement["predicateType"])
        return str(subject["digest"]["sha256"]), key
    except (LookupError, TypeError, ValueError) as error:
        raise Untrusted("what was signed is no backup", where=file) from error
