"""What a workload expects of its data: the `quality:` section, and the list of expectations that it and the columns make.

It names expectations in the vendor's vocabulary but imports nothing of it: `data/quality.py` is the door.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, model_validator

from data.errors import UserError
from data.planted import LeaksExpected, PoisonExpected
from data.schema import Column
from data.section import DataSection, Section

Severity = Literal["critical", "warning"]
Bound = float | date | str  # dates and ISO 8601 text bound a time column


class RowsExpected(Section):
    """How many rows there must be."""

    min: NonNegativeInt = 2
    max: NonNegativeInt | None = None
    severity: Severity = "critical"


class ColumnExpected(Section):
    """What is expected of one column's values. `severity: warning` reports without stopping anything."""

    min: Bound | None = None
    max: Bound | None = None
    missing: float | None = Field(default=None, ge=0, le=1)  # the largest share without a value; only where the kind has a ?
    values: tuple[str | int | float | bool, ...] = ()  # no others
    unique: bool = False
    mean: tuple[float, float] | None = None
    regex: str | None = None
    severity: Severity = "critical"

    @model_validator(mode="after")
    def _ordered(self) -> ColumnExpected:
        if self.mean is not None and self.mean[0] > self.mean[1]:
            raise ValueError(f"mean: {self.mean[0]} is above {self.mean[1]}")
        if isinstance(self.min, float) and isinstance(self.max, float) and self.min > self.max:
            raise ValueError(f"min: {self.min} is above max: {self.max}")
        return self


class QualitySection(Section):
    """The expectations that a workload's data must meet before anything is trained on it.

    Beside these the schema always holds: the declared columns in order, their types, and no missing value without a `?`.
    """

    rows: RowsExpected = Field(default_factory=RowsExpected)
    columns: dict[str, ColumnExpected] = Field(default_factory=dict)
    leaks: LeaksExpected = Field(default_factory=LeaksExpected)
    poison: PoisonExpected = Field(default_factory=PoisonExpected)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """One expectation: the vendor's class and arguments, and what it says to a person."""

    check: Literal["schema", "expectations"]
    type: str  # a class of great_expectations.expectations
    text: str
    column: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "critical"


def expected(data: DataSection, quality: QualitySection) -> list[Expected]:
    """All expectations of a workload. UserError where the section names an unknown column or a bound that cannot be one."""
    columns = data.schema_columns
    if unknown := sorted(set(quality.columns) - {c.name for c in columns}):
        step = f"known: {', '.join(c.name for c in columns)}"
        raise UserError(f"quality.columns names columns that are not in data.columns: {', '.join(unknown)}", next_step=step)
    rows = quality.rows
    between = {"min_value": rows.min, "max_value": rows.max}
    names = [c.name for c in columns]
    found = [
        Expected(
            check="schema",
            type="ExpectTableColumnsToMatchOrderedList",
            text=f"columns {', '.join(names)}",
            arguments={"column_list": names},
        ),
        Expected(
            check="expectations",
            type="ExpectTableRowCountToBeBetween",
            text=f"rows {_range(rows.min, rows.max)}",
            arguments=between,
            severity=rows.severity,
        ),
    ]
    for column in columns:
        found += _of_schema(column)
        if (wanted := quality.columns.get(column.name)) is not None:
            found += _of_values(column, wanted)
    return found


# What pandas calls the values of each kind; a nullable integer or boolean is held as float64 (data/kinds.py). Times are
# compared without their zone, which always is UTC: the vendor does not know pandas' types with one.
_TYPES = {"number": ["float64"], "integer": ["int64"], "boolean": ["bool"], "category": ["str"], "time": ["datetime64[us]"]}


def _of_schema(column: Column) -> Iterator[Expected]:
    if column.kind != "image":
        types = _TYPES[column.kind] + (["float64"] if column.kind in ("integer", "boolean") and column.nullable else [])
        arguments = {"type_list": types}
        yield Expected(
            check="schema",
            type="ExpectColumnValuesToBeInTypeList",
            text=f"is {column.kind}",
            column=column.name,
            arguments=arguments,
        )
    if not column.nullable:
        yield Expected(check="schema", type="ExpectColumnValuesToNotBeNull", text="is never missing", column=column.name)


def _of_values(column: Column, wanted: ColumnExpected) -> Iterator[Expected]:
    def one(type_: str, text: str, **arguments: Any) -> Expected:
        return Expected(
            check="expectations", type=type_, text=text, column=column.name, arguments=arguments, severity=wanted.severity
        )

    if wanted.min is not None or wanted.max is not None:
        low, high = _bound(column, "min", wanted.min), _bound(column, "max", wanted.max)
        yield one("ExpectColumnValuesToBeBetween", f"is {_range(wanted.min, wanted.max)}", min_value=low, max_value=high)
    if wanted.missing is not None and column.nullable:
        yield one(
            "ExpectColumnValuesToNotBeNull",
            f"is missing in at most {wanted.missing:.4g} of the rows",
            mostly=round(1 - wanted.missing, 9),
        )
    if wanted.values:
        shown = ", ".join(map(str, wanted.values[:12])) + (", ..." if len(wanted.values) > 12 else "")
        yield one("ExpectColumnValuesToBeInSet", f"is one of {shown}", value_set=list(wanted.values))
    if wanted.unique:
        yield one("ExpectColumnValuesToBeUnique", "is never the same twice")
    if wanted.mean is not None:
        yield one(
            "ExpectColumnMeanToBeBetween",
            f"is {_range(*wanted.mean)} in the mean",
            min_value=wanted.mean[0],
            max_value=wanted.mean[1],
        )
    if wanted.regex is not None:
        yield one("ExpectColumnValuesToMatchRegex", f"matches {wanted.regex}", regex=wanted.regex)


def _bound(column: Column, key: str, value: Bound | None) -> float | datetime | None:
    """The bound in the column's own type. (A text bound on a time column would fail inside the vendor, as bad data.)"""
    if value is None:
        return None
    where = f"quality.columns.{column.name}.{key}"
    if column.kind == "time":
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError as error:
            raise UserError(f"{value!r} is no date", where=where, next_step="write ISO 8601: '2024-01-31'") from error
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    if column.kind not in ("number", "integer") or not isinstance(value, int | float):
        raise UserError(
            f"{value!r} cannot bound a {column.kind} column", where=where, next_step="min and max are for numbers and times"
        )
    return float(value)


def _range(low: Any, high: Any) -> str:
    if low is None or high is None:
        return f"at most {_said(high)}" if low is None else f"at least {_said(low)}"
    return f"between {_said(low)} and {_said(high)}"


def _said(bound: Any) -> str:
    return f"{bound:.10g}" if isinstance(bound, float) else str(bound)
