"""Plain rows become labels, or problems that name the row: what it says, what is wrong, what to do. Pure; knows no database.

A row names a prediction (`prediction_id`: ID or ID/N, for a forecast `horizon` too) or a moment (`time`, `entity`), and a `value`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from serving.records.label import Label, by_id, by_time
from training.signature import Signature

_KEYS = {"workload", "prediction_id", "horizon", "entity", "time", "value"}
_ID_LENGTH = 36
_LONGEST_ROW = 10  # digits


class Wrong(Exception):
    """What is wrong with a row, and the next step; `unknown` where it names a prediction that is not there."""

    def __init__(self, what: str, next_step: str, *, unknown: bool = False) -> None:
        super().__init__(what)
        self.what, self.next_step, self.unknown = what, next_step, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """A row that is well formed. `prediction_id` and `row` are None where it names a moment."""

    value: str | float
    prediction_id: str | None = None
    row: int | None = None  # None: the id alone
    horizon: int | None = None
    moment: str = ""  # Label.about


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the records have of a prediction."""

    workload: str
    rows: int


class Checks:
    """The rules of one workload; without a signature (its folder cannot be read) any number or text is a value."""

    def __init__(self, workload: str, signature: Signature | None) -> None:
        self._workload = workload
        self._classes = None if signature is None or signature.task != "classification" else signature.classes
        self._horizons = None if signature is None else signature.horizons
        several = signature is not None and signature.entity in {one.name for one in signature.inputs}
        self._entity = signature.entity if signature is not None and several else None  # that a moment must name

    def stated(self, row: Any) -> Stated:
        """The row, read; Wrong where it is not well formed."""
        if not isinstance(row, Mapping):
            raise Wrong(f"it is {_shown(row)}, not an object", "send prediction_id, or time and entity, with value")
        if unknown := sorted(map(str, row.keys() - _KEYS)):
            raise Wrong(f"unknown field {unknown[0][:100]!r}", f"use only {', '.join(sorted(_KEYS))}")
        if row.get("workload", self._workload) != self._workload:
            raise Wrong(f"it is about {_shown(row['workload'])}", f"send the labels of {self._workload} by themselves")
        value = self._value(row.get("value"))
        named, timed = row.get("prediction_id") is not None, row.get("time") is not None
        if named == timed:
            raise Wrong("it names " + ("two things" if named else "nothing"), "name a prediction_id, or a time and its entity")
        if timed:
            if row.get("horizon") is not None:
                raise Wrong("horizon without prediction_id", "leave it out: a time is the target's time")
            if self._entity is not None and row.get("entity") is None:
                raise Wrong(f"it names no {self._entity}", f"send its {self._entity} as `entity`: the workload has several")
            return Stated(value=value, moment=_moment(row["time"], row.get("entity")))
        if row.get("entity") is not None:
            raise Wrong("it names two things", "name a prediction_id, or a time and its entity")
        whole, number = _id(row["prediction_id"])
        return Stated(value=value, prediction_id=whole, row=number, horizon=self._horizon(row.get("horizon")))

    def label(self, stated: Stated, known: Mapping[str, Known]) -> Label:
        """The label; Wrong where the prediction is not `known`, is another workload's, or has no such row."""
        if stated.prediction_id is None:
            return Label(workload=self._workload, about=stated.moment, value=stated.value)
        prediction = known.get(stated.prediction_id)
        if prediction is None:
            raise Wrong(
                f"no prediction {stated.prediction_id} is known",
                "send the id that the answer carried, letter by letter",
                unknown=True,
            )
        if prediction.workload != self._workload:
            raise Wrong(f"{stated.prediction_id} is a prediction of {prediction.workload}", "name that workload")
        if stated.row is None and prediction.rows > 1:
            raise Wrong(
                f"{stated.prediction_id} has {prediction.rows} rows",
                f"name the row: {stated.prediction_id}/0 to {stated.prediction_id}/{prediction.rows - 1}",
            )
        if stated.row and stated.row >= prediction.rows > 0:
            raise Wrong(f"{stated.prediction_id} has no row {stated.row}", f"its rows are 0 to {prediction.rows - 1}")
        about = by_id(stated.prediction_id, stated.row or 0, stated.horizon)
        return Label(workload=self._workload, about=about, value=stated.value)

    def _value(self, value: Any) -> str | float:
        if value is None or value == "":
            raise Wrong("it has no value", "send value: what turned out to be true")
        if self._classes is not None:
            name = str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else _number_text(value)
            if name not in self._classes:
                known = ", ".join(self._classes[:20]) + (", ..." if len(self._classes) > 20 else "")
                raise Wrong(f"value {_shown(value)} is none of the classes", f"send one of {known}")
            return name
        if self._horizons is None and isinstance(value, str):
            return value
        number = math.nan
        if not isinstance(value, bool):
            with suppress(TypeError, ValueError, OverflowError):
                number = float(value)
        if not math.isfinite(number):
            raise Wrong(f"value {_shown(value)} is not a number", "send a finite number")
        return number

    def _horizon(self, given: Any) -> int | None:
        if given is None:
            if self._horizons and len(self._horizons) > 1:
                raise Wrong("it names no horizon", f"name one of the horizons {_listed(self._horizons)}")
            return self._horizons[0] if self._horizons else None
        try:
            number = float(given)
        except (TypeError, ValueError):
            number = math.nan
        if self._horizons is not None and number not in self._horizons:
            step = f"name one of {_listed(self._horizons)}" if self._horizons else "leave it out"
            raise Wrong(f"horizon {_shown(given)} is none of the model's", step)
        if not number.is_integer():
            raise Wrong(f"horizon {_shown(given)} is no whole number", "send one")
        return int(number)


def _id(given: Any) -> tuple[str, int | None]:
    whole, slash, row = given.partition("/") if isinstance(given, str) else ("", "", "")
    try:
        whole = str(UUID(whole)) if len(whole) == _ID_LENGTH else ""
    except ValueError:
        whole = ""
    if not whole or (slash and not (row.isascii() and row.isdigit() and len(row) < _LONGEST_ROW)):
        raise Wrong(f"{_shown(given)} is no prediction id", "send the id that the answer carried, and /N for row N of a batch")
    return whole, int(row) if slash else None


def _moment(time: Any, entity: Any) -> str:
    """Label.about. Numbers in text are an upload's: seconds since 1970."""
    if isinstance(time, str) and time.isascii() and time.replace(".", "", 1).isdigit():
        time = float(time)
    if isinstance(time, date) and not isinstance(time, datetime):
        time = time.isoformat()
    if isinstance(entity, bool | list | dict | float):
        raise Wrong(f"entity {_shown(entity)} is no name", "send text or a whole number")
    try:
        if isinstance(time, bool) or not isinstance(time, str | int | float | datetime):
            raise ValueError(time)
        return by_time(time, entity)
    except (ValueError, OverflowError):
        raise Wrong(f"{_shown(time)} is no time", "send ISO 8601 such as 2001-01-06T00:00:00Z, or seconds since 1970") from None


def _number_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
