"""Small shapes of CycloneDX: properties, licences, numbers as text; and a document without what is not known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Plain = dict[str, Any]


def licenses(text: str | None, known: frozenset[str]) -> list[Plain] | None:
    """One licence: by its SPDX identifier where it is one, as an expression where it joins some, else by name."""
    if not text:
        return None
    if text in known:
        return [{"license": {"id": text}}]
    words = text.replace("(", " ").replace(")", " ").split()
    if {"AND", "OR", "WITH"} & set(words):
        return [{"expression": text}]
    return [{"license": {"name": text}}]


def properties(named: Mapping[str, Any]) -> list[Plain]:
    """Our own names for what CycloneDX has no field for; what is None is left out."""
    return [{"name": f"aiprime:{name}", "value": _text(value)} for name, value in named.items() if value is not None]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def number(value: float | None) -> str:
    """A figure as CycloneDX wants it: text, six digits."""
    return f"{value:.6g}" if value is not None and math.isfinite(value) else "not a number"


def clean(value: Any) -> Any:
    """Without what is not known: None, and what is left empty by it."""
    if isinstance(value, dict):
        kept = {name: clean(one) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one is not None and one not in ({}, [])}
    if isinstance(value, list):
        return [one for one in map(clean, value) if one is not None and one != {}]
    return value
