"""A prediction as it is kept: its content, the salted digest of that, and the seal over the record and the one before.

content = four little-endian uint32 lengths, then form, entities (a JSON list), request, answer.
digest  = SHA-256(salt || content); the salt goes when the content is erased, so a digest tells nothing of what it was of.
hash    = SHA-256(hash before || sequence, id, role, at, rows, status, latency, lengths || workload || version || digest).

Knows no database.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import orjson

Role = Literal["champion", "challenger", "shadow"]
ROLES: tuple[Role, ...] = get_args(Role)  # kept as their place here
SALT = 16  # bytes
GENESIS = bytes(32)  # what the first record has as the hash before
_LENGTHS = struct.Struct("<4I")
_SEALED = struct.Struct("<q16sBdqqdII")


class Prediction(NamedTuple):
    """One request, answered by one version (or not: `status` 0 where no answer came). (id, role) is unique.

    Stated by keyword; a tuple, which is made twice as fast as a frozen dataclass and crosses to another process as it is.
    """

    id: str  # UUIDv7 text (RFC 9562); the rows of a batch are ID/0, ID/1, ...
    workload: str
    version: str
    role: Role
    at: float  # of the answer, seconds since 1970
    rows: int
    form: str  # "v1" | "v2" | "v2/N": the first N bytes of the request are its JSON
    request: bytes  # what the model server was sent
    answer: bytes
    entities: tuple[Any, ...]  # per row where they are known, else empty
    status: int
    latency_ms: float
    sequence: int = 0  # set when kept; counts the predictions of all workloads from 1 without gaps

    def content(self) -> bytes:
        """What the digest is of. TypeError where an entity is not JSON."""
        form, entities = self.form.encode(), orjson.dumps(self.entities)
        lengths = _LENGTHS.pack(len(form), len(entities), len(self.request), len(self.answer))
        return b"".join((lengths, form, entities, self.request, self.answer))


@dataclass(frozen=True, slots=True)
class Content:
    """The part of a prediction that can be erased."""

    form: str = ""
    entities: tuple[Any, ...] = ()
    request: bytes = b""
    answer: bytes = b""

    @classmethod
    def read(cls, content: bytes) -> Content:
        """Of `Prediction.content`; ValueError where it is none."""
        if len(content) < _LENGTHS.size:
            raise ValueError("the content is too short")
        form, entities, request, answer = _LENGTHS.unpack_from(content)
        a = _LENGTHS.size + form
        b = a + entities
        c = b + request
        if len(content) != c + answer:
            raise ValueError("the content's lengths do not fit it")
        return cls(content[_LENGTHS.size : a].decode(), tuple(orjson.loads(content[a:b])), content[b:c], content[c:])


def digest(salt: bytes, content: bytes) -> bytes:
    """What a chain keeps of a content."""
    return hashlib.sha256(salt + content).digest()


def seal(previous: bytes, record: Sequence[Any]) -> bytes:
    """The hash of (sequence, id, workload, version, role's number, at, rows, status, latency_ms, digest) after `previous`.

    struct.error, TypeError or AttributeError where a value is of no such kind.
    """
    sequence, key, workload, version, role, at, rows, status, latency_ms, content = record
    if len(key) != 16:
        raise TypeError("an id has 16 bytes")
    names = workload.encode(), version.encode()
    fixed = _SEALED.pack(sequence, key, role, at, rows, status, latency_ms, len(names[0]), len(names[1]))
    return hashlib.sha256(b"".join((previous, fixed, *names, content))).digest()


def id_bytes(prediction_id: str) -> bytes:
    """The 16 bytes of an id, with or without a row behind it; ValueError where it is none."""
    raw = bytes.fromhex(prediction_id.partition("/")[0].replace("-", ""))
    if len(raw) != 16:
        raise ValueError(f"{prediction_id!r} is no prediction id")
    return raw


def id_text(raw: bytes) -> str:
    """The id of 16 bytes."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
