"""When a workload runs by itself: a cron line and a time zone, checked here, for a bad one would take Dagster's code location down.

Imports no Dagster. What is accepted is a part of what Dagster accepts; a test compares the two.
"""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import field_validator

from data.section import Section

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NICKNAMES = {"@hourly", "@daily", "@weekly", "@monthly", "@yearly"}
_FIELDS = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_PART = re.compile(r"(?:(\*)|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/([1-9][0-9]*))?")


class ScheduleSection(Section):
    """When to run by itself. Schedules are off until a person turns them on in the Dagster UI."""

    cron: str = "0 6 * * 1"
    timezone: str = "UTC"

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        check_cron(cron)
        return cron

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones
            raise ValueError(f"{timezone!r} is no time zone; write UTC, or a name such as Europe/Berlin") from None
        return timezone


def check_cron(cron: str) -> None:
    """ValueError where `cron` is not five fields of numbers, names, lists, ranges and steps, nor @daily and its like, or never comes."""
    if cron in _NICKNAMES:
        return
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{cron!r} has {len(fields)} fields; cron has five: minute hour day month weekday, as in 0 6 * * 1")
    _, _, days, months, _ = [_values(text.lower(), *field) for text, field in zip(fields, _FIELDS, strict=True)]
    if min(days) > max(_LONGEST[month - 1] for month in months):
        raise ValueError(f"{cron!r} never comes: no such month has a day {min(days)}")


def _values(text: str, field: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    """The numbers that one field means."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        values = range(0)
        if match is not None:
            every, first, last, step = match.groups()
            start = low if every else _number(first, names)
            stop = high if every or (step and not last) else _number(last or first, names)
            values = range(start, stop + 1, int(step or 1))
        if not values or values.start < low or values.stop > high + 1:
            raise ValueError(f"{part!r} is no {field}; write * or numbers {low}-{high}, with , - and /, in rising order")
        found.update(values)
    return found


def _number(text: str, names: dict[str, int]) -> int:
    return names.get(text, int(text) if text.isdecimal() else -1)
