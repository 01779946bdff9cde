"""One thing that was looked at, and how it was found: what `aiprime doctor` and `aiprime verify` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: Literal["good", "note", "bad"]
    said: str


def text(findings: Sequence[Mapping[str, Any]]) -> str:
    """The findings as lines, the bad ones marked."""
    return "\n".join(f"  {_MARKS[one['state']]}  {one['what']:<12} {one['said']}" for one in findings)
