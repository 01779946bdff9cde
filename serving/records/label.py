"""A label: what turned out to be true, about a row of a prediction or about a time. Its form is checked here; knows no database.

digest = SHA-256(salt || canonical JSON of [workload, about, name, number, actor]).
hash   = SHA-256(hash before || sequence, at, length || workload || digest).
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from data.errors import UserError
from serving.chain import canonical
from serving.inference.times import epoch_seconds
from serving.records.prediction import id_bytes, id_text

_ABOUT_ID = re.compile(r"id:([0-9a-fA-F-]{32,36})(?:/(\d{1,9}))?(?:/h(\d{1,9}))?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LONGEST = 1000  # characters of a class name, of an entity, of an actor
_SEALED = struct.Struct("<qdI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The truth about one predicted quantity. `about` is written by `by_id` or `by_time`."""

    workload: str
    about: str
    value: str | float  # a number, or the name of a class
    actor: str = "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What became of labels: kept as new, known already with this value, kept in the place of another value."""

    new: int = 0
    same: int = 0
    corrected: int = 0

    def __add__(self, other: Labelled) -> Labelled:
        return Labelled(new=self.new + other.new, same=self.same + other.same, corrected=self.corrected + other.corrected)


class About(NamedTuple):
    """`Label.about` taken apart: (id, row, horizon), or (target time, entity)."""

    id: bytes | None
    row: int
    horizon: int  # 0: none is stated
    target_time: int | None  # seconds since 1970
    entity: str  # "": none is stated

    @classmethod
    def read(cls, text: str) -> About:
        """Of `Label.about`; ValueError where it is none."""
        if match := _ABOUT_ID.fullmatch(text):
            return cls(id_bytes(match[1]), int(match[2] or 0), int(match[3] or 0), None, "")
        if text.startswith("at:"):
            time, _, entity = text[3:].partition("|")
            seconds = epoch_seconds(time)
            if seconds is not None and len(entity) <= _LONGEST and "\0" not in entity:
                return cls(None, 0, 0, seconds, entity)
        raise ValueError(f"{text[:100]!r} names neither a prediction nor a time")

    def text(self) -> str:
        """The one way that it is written."""
        if self.id is not None:
            return by_id(id_text(self.id), self.row, self.horizon or None)
        return by_time(self.target_time or 0, self.entity)


class Value(NamedTuple):
    """A label's value, as a name and, where it reads as one, as a number."""

    name: str
    number: float | None


def by_id(prediction_id: str, row: int | None = None, horizon: int | None = None) -> str:
    """About a row of a prediction (ID, or ID/N as responses name rows); forecasts state the horizon too."""
    whole, _, named = prediction_id.partition("/")
    row = int(named or 0) if row is None else row
    return f"id:{whole}/{row}" + (f"/h{horizon}" if horizon is not None else "")


def by_time(time: float | str | datetime, entity: Any = None) -> str:
    """About what was true of an entity (None: of the only one there is) at a time: seconds since 1970, ISO 8601 or a datetime.

    ValueError where the time is none, or outside the years 1 to 9999.
    """
    if isinstance(time, datetime):
        seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    else:
        seconds = epoch_seconds(time) if isinstance(time, str) else time
    if seconds is None or not -62_135_596_800 <= seconds < 253_402_300_800:
        raise ValueError(f"{time!r} is no time; expected ISO 8601, such as 2001-01-06T00:00:00Z")
    text = datetime.fromtimestamp(math.floor(seconds), UTC).isoformat().replace("+00:00", "Z")
    return f"at:{text}|{'' if entity is None else entity}"


def read(label: Label, number: int) -> tuple[About, Value]:
    """A label's parts; UserError names it by its place, from 0."""
    try:
        return About.read(label.about), _value(label.value)
    except ValueError as error:
        raise UserError(
            f"label {number}: {error}",
            where=f"{label.workload}: {str(label.about)[:200]}",
            next_step="name the prediction and row (ID/N), or the target time and the entity, and give a number or a class",
        ) from None


def _value(value: Any) -> Value:
    if isinstance(value, bool):
        return Value("true" if value else "false", float(value))
    if isinstance(value, str):
        if not value or len(value) > _LONGEST or "\0" in value:
            raise ValueError("an empty value, or one of more than 1,000 characters")
        number = float(value) if _NUMBER.fullmatch(value) else math.nan
        return Value(value, number if math.isfinite(number) else None)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"the value is of type {type(value).__name__}") from None
    if not math.isfinite(number):
        raise ValueError(f"the value is {value!r}")
    return Value(str(int(number)) if number == int(number) and abs(number) < 2**53 else repr(number), number)


def content(workload: str, about: str, value: Value, actor: str) -> bytes:
    """What the digest is of."""
    return canonical([workload, about, value.name, value.number, actor]).encode()


def seal(previous: bytes, record: Sequence[Any]) -> bytes:
    """The hash of (sequence, workload, at, digest) after `previous`; struct.error, TypeError or AttributeError for other kinds."""
    sequence, workload, at, content_digest = record
    name = workload.encode()
    return hashlib.sha256(b"".join((previous, _SEALED.pack(sequence, at, len(name)), name, content_digest))).digest()
