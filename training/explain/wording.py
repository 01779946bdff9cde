"""The names of inputs, their values and answers as a person reads them: `co2_lag1` of a weekly series is "co2 1 week earlier". Pure."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from training.signature import MISSING_TIME, Input, Signature

_OF_THE_PAST = re.compile(r"(.+?)_(lag|mean|median)(\d+)(?:_lag(\d+))?")
_AHEAD = re.compile(r"(.+)_h(\d+)")
_UNITS = (("week", 604_800), ("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def span(seconds: int) -> str:
    """A length of time in the largest unit that it is whole of: "2 weeks", "90 minutes", "23.5 hours"."""
    name, size = next((name, size) for name, size in _UNITS if seconds % size == 0)
    if name in {"minute", "second"} and seconds > 2 * 3600:
        return f"{seconds / 3600:.4g} hours"
    count = seconds // size
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def readable(name: str, signature: Signature) -> str:
    """An input's name; a column that is no feature of a series keeps its own."""
    step = signature.step_seconds
    if step is None:
        return name
    if name == signature.time:
        return f"the date ({name})"
    if name in signature.known:
        ahead = _AHEAD.fullmatch(name)
        if ahead and int(ahead[2]) in signature.horizons:
            return f"{ahead[1]} {span(int(ahead[2]) * step)} ahead"
        return f"{name} {span(signature.horizons[0] * step)} ahead" if len(signature.horizons) == 1 else name
    past = _OF_THE_PAST.fullmatch(name) if name in signature.stored else None
    return _of_the_past(past, step) if past else name


def _of_the_past(found: re.Match[str], step: int) -> str:
    column, how, steps, back = found[1], found[2], int(found[3]), int(found[4] or 0)
    if how == "lag":
        return f"{column} {span(steps * step)} earlier" if steps else f"{column} now"
    if how == "median":
        newest = f"{span(steps * step)} earlier" if steps else "now"
        return f"seasonal {column} (median, newest {newest})"
    until = f", up to {span(back * step)} earlier" if back else ""
    return f"mean {column} of {span(steps * step)}{until}"


def answer_name(signature: Signature, horizon: int | None = None, label: str | None = None) -> str:
    """What is answered: "co2 4 weeks ahead", "probability that digit is 7"."""
    if label is not None:
        return f"probability that {signature.target} is {label}"
    if horizon is None or signature.step_seconds is None:
        return signature.target
    return f"{signature.target} {span(horizon * signature.step_seconds)} ahead"


def said(value: Any, column: Input) -> str:
    """A value of an input as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or value in ("", MISSING_TIME):
        return "missing"
    if column.kind == "time":
        at = datetime.fromtimestamp(int(value), UTC)
        return f"{at:%Y-%m-%d}" if (at.hour, at.minute, at.second) == (0, 0, 0) else f"{at:%Y-%m-%d %H:%M}"
    if column.kind == "boolean":
        return "yes" if value else "no"
    if column.kind == "category":
        text = str(value)
        return text if len(text) <= 60 else f"{text[:59]}…"
    return figure(float(value))


def figure(value: float) -> str:
    """A number with five figures that mean something."""
    if not math.isfinite(value):
        return "–"
    if value and (abs(value) >= 1e9 or abs(value) < 1e-4):
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 100_000 else f"{value:.5g}"
