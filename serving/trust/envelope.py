"""Sealed statements: an in-toto statement in a DSSE envelope, opened only after its signature was found to hold.

DSSE v1 (github.com/secure-systems-lab/dsse, protocol.md): what is signed is the payload's bytes with their type and length in front, so
nothing of the payload is read before. The envelope around it is JSON of a fixed shape; any other is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from serving.trust.keys import PublicKey, SigningKey, short
from serving.trust.refusal import Untrusted

IN_TOTO = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
_LIMIT = 16 << 20  # bytes; a model of 100,000 files has less


def seal(statement: dict[str, Any], key: SigningKey) -> str:
    """The statement as a signed envelope: JSON."""
    payload = json.dumps(statement, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    signature = {"keyid": key.public.id, "sig": base64.b64encode(key.sign(signed(payload))).decode()}
    document = {"payload": base64.b64encode(payload).decode(), "payloadType": IN_TOTO, "signatures": [signature]}
    return json.dumps(document, indent=1) + "\n"


def signed(payload: bytes) -> bytes:
    """What is signed of a payload: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(IN_TOTO), IN_TOTO.encode(), len(payload), payload)


def unseal(file: Path, keys: Iterable[PublicKey]) -> tuple[dict[str, Any], PublicKey]:
    """The statement that a trusted key sealed in a file, and the key. Untrusted where it is anything else."""
    document = parsed(read(file), file)
    fields(document, {"payload", "payloadType", "signatures"}, file)
    signatures = document["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise Untrusted("it is not signed once", where=file)
    fields(signatures[0], {"keyid", "sig"}, file)
    return opened(document, signatures[0]["keyid"], keys, file)


def opened(envelope: dict[str, Any], key_id: object, keys: Iterable[PublicKey], file: Path) -> tuple[dict[str, Any], PublicKey]:
    """The statement in an envelope, once the signature of the key that is named held. Untrusted where it does not."""
    if envelope["payloadType"] != IN_TOTO:
        raise Untrusted(f"it holds {str(envelope['payloadType'])[:80]!r}, no in-toto statement", where=file)
    key = next((one for one in keys if one.id == key_id), None)
    if key is None:
        step = "trust the key (AIPRIME_TRUSTED_KEYS) where it is yours; else restore what was signed, from a backup"
        raise Untrusted(f"it was signed with the key {short(str(key_id))!r}, which is not trusted", where=file, next_step=step)
    payload = _bytes(envelope["payload"], file)
    if not key.verifies(_bytes(envelope["signatures"][0]["sig"], file), signed(payload)):
        raise Untrusted("its signature does not hold: it was changed, or forged", where=file)
    statement = parsed(payload, file)
    if statement.get("_type") != STATEMENT:
        raise Untrusted("it holds no in-toto statement", where=file)
    return statement, key


def read(file: Path) -> bytes:
    """A companion's bytes; Untrusted where there is none, it is a link, or it is far too long."""
    if file.is_symlink() or not file.is_file():
        what = "is no plain file" if file.is_symlink() or file.exists() else "is missing: what it would sign is not signed"
        raise Untrusted(f"{file.name} {what}", where=file)
    try:
        with file.open("rb") as source:
            content = source.read(_LIMIT + 1)
    except OSError as error:
        raise Untrusted(f"{file.name} cannot be read: {error}", where=file) from error
    if len(content) > _LIMIT:
        raise Untrusted(f"{file.name} is longer than {_LIMIT >> 20} MB", where=file)
    return content


def parsed(content: bytes, file: Path) -> dict[str, Any]:
    """A JSON object; Untrusted where it is none, or names anything twice."""
    try:
        value = json.loads(content.decode(), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Untrusted(f"{file.name} cannot be read: {type(error).__name__}", where=file) from error
    if not isinstance(value, dict):
        raise Untrusted(f"{file.name} is no JSON object", where=file)
    return value


def fields(value: object, names: Collection[str], file: Path, optional: Collection[str] = ()) -> None:
    """Untrusted where `value` is no object of exactly these fields."""
    if not isinstance(value, dict) or not set(names) <= set(value) <= {*names, *optional}:
        raise Untrusted(f"{file.name} is not of the shape that was signed: {', '.join(sorted(names))} are wanted", where=file)


def _bytes(value: object, file: Path) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Untrusted(f"{file.name} is not base64 where it should be", where=file) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name is there twice")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
