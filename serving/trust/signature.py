"""V.sig: which files a model's folder was signed with. A sigstore bundle (v0.3) as OpenSSF's model-signing 1.1 writes it with a key.

Its predicate: github.com/sigstore/model-transparency, `https://model_signing/signature/v1.0`, files hashed whole with SHA-256, no file
left out. The library reads older and other forms too; we sign in none of them, so they are refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from serving.trust import envelope
from serving.trust.keys import PublicKey
from serving.trust.refusal import Untrusted

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE = "https://model_signing/signature/v1.0"
SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
_SHA256 = re.compile(r"[0-9a-f]{64}")


def beside(folder: Path) -> Path:
    """Where a folder's signature lies: FOLDER.sig."""
    return folder.with_name(f"{folder.name}.sig")


def read(file: Path, keys: Iterable[PublicKey]) -> tuple[dict[str, str], PublicKey]:
    """SHA-256 (hex) of each file by its path in the folder, and the trusted key that signed them. Untrusted where anything is amiss."""
    bundle = _bundle(file)
    statement, key = envelope.opened(bundle["dsseEnvelope"], _hint(bundle), keys, file)
    if statement.get("predicateType") != PREDICATE:
        raise Untrusted("it signs something else than a model's files", where=file)
    return _files(statement, file), key


def signer(file: Path) -> str:
    """The id of the key that a signature claims to be of; nothing is checked. Untrusted where there is no signature."""
    return str(_hint(_bundle(file)))


def _bundle(file: Path) -> dict[str, Any]:
    """The bundle, of exactly the shape that we write."""
    bundle = envelope.parsed(envelope.read(file), file)
    envelope.fields(bundle, {"mediaType", "verificationMaterial", "dsseEnvelope"}, file)
    envelope.fields(bundle["verificationMaterial"], {"publicKey"}, file, optional={"tlogEntries"})
    envelope.fields(bundle["verificationMaterial"]["publicKey"], {"hint"}, file)
    envelope.fields(bundle["dsseEnvelope"], {"payload", "payloadType", "signatures"}, file)
    signatures = bundle["dsseEnvelope"]["signatures"]
    if bundle["mediaType"] != BUNDLE or bundle["verificationMaterial"].get("tlogEntries", []) != []:
        raise Untrusted(f"{file.name} is no bundle that a key signed", where=file)
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise Untrusted(f"{file.name} is not signed once", where=file)
    envelope.fields(signatures[0], {"sig"}, file, optional={"keyid"})
    return bundle


def _hint(bundle: dict[str, Any]) -> object:
    return bundle["verificationMaterial"]["publicKey"]["hint"]


def _files(statement: dict[str, Any], file: Path) -> dict[str, str]:
    """What the statement says of the files, once it agrees with itself."""
    try:
        (subject,) = statement["subject"]
        predicate = statement["predicate"]
        if predicate["serialization"] != SERIALIZATION:
            raise Untrusted("its files were hashed in another way, or some were left out", where=file)
        found = {one["name"]: one["digest"] for one in predicate["resources"]}
        whole = all(
            isinstance(one["name"], str) and one["algorithm"] == "sha256" and _SHA256.fullmatch(one["digest"])
            for one in predicate["resources"]
        )
        together = hashlib.sha256(b"".join(map(bytes.fromhex, found.values()))).hexdigest()
        agrees = whole and len(found) == len(predicate["resources"]) and subject["digest"] == {"sha256": together}
    except (KeyError, TypeError, ValueError) as error:
        raise Untrusted("it does not list a model's files", where=file) from error
    if not agrees:
        raise Untrusted("its list of files does not agree with itself", where=file)
    return found
