"""The sections of a workload's YAML that describe its data. Frozen, keyword-only, unknown keys refused."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, model_validator

from data.schema import Column, OnStale, Task


class Section(BaseModel):
    """The base of every section of a `defs.yaml`: strict, immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


_DURATION = re.compile(r"(\d+)(min|[smhdw])")
_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds(duration: str) -> int:
    """`30min`, `1h`, `7d`, `2w` in seconds; ValueError for anything else."""
    match = _DURATION.fullmatch(duration.strip())
    if match is None:
        raise ValueError(f"{duration!r} is not a duration: write a whole number and s, min, h, d or w, such as 30min or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def _checked(duration: str) -> str:
    seconds(duration)
    return duration


Duration = Annotated[str, AfterValidator(_checked)]


class DataSection(Section):
    """Where the rows come from and what the columns are.

    `source` is a path or glob below the project (CSV, CSV.gz, Parquet), re-read at each run; `bundled:NAME` for a table that a
    dependency ships; or `fetch:NAME` for a public file, looked for in AIPRIME_DATA first. `columns` maps each column to its
    kind: number, integer, boolean, category, time or image[H,W]; a `?` after it allows missing values.
    """

    source: str
    target: str
    columns: dict[str, str]
    time: str | None = None
    entity: str | None = None
    constants: dict[str, str] = {}  # columns that the source lacks, such as the station's name
    ignore: tuple[str, ...] = ()  # read and checked, never shown to the model: ids, leaks
    since: date | None = None  # rows before are left out
    until: date | None = None  # rows at or after are left out
    step: Duration | None = None  # the distance of two rows of one series
    start: date | None = None  # for a source without a time column: `time` becomes start + row * step
    holdout: float = Field(default=0.15, gt=0, lt=0.9)  # the share of rows kept for evaluation
    label_delay: Duration = "0s"
    sha256: str | None = None  # of the canonical table; checked where given

    @model_validator(mode="after")
    def _roles_are_columns(self) -> DataSection:
        named = {"target": self.target, "time": self.time, "entity": self.entity} | {
            f"ignore[{i}]": c for i, c in enumerate(self.ignore)
        }
        for role, column in named.items():
            if column is not None and column not in self.columns:
                raise ValueError(f"{role}: {column!r} is not among columns ({', '.join(self.columns)})")
        for name in self.columns:
            if name.startswith("__"):
                raise ValueError(f"columns: {name!r}: names that begin with two underscores are kept for AI Prime")
        _ = self.schema_columns
        if self.start is not None and (self.step is None or self.time is None):
            raise ValueError("start: needs `time` (the new column's name) and `step` beside it")
        return self

    @property
    def schema_columns(self) -> tuple[Column, ...]:
        """The columns, parsed."""
        return tuple(Column.parse(name, text) for name, text in self.columns.items())


class FeaturesSection(Section):
    """What the model is shown. `horizons` (in steps) make it a forecast; `known` columns are known ahead, for the target's own time."""

    horizons: tuple[PositiveInt, ...] = ()
    season: PositiveInt | None = None  # in steps; 168 for the week of an hourly series
    known: tuple[str, ...] = ()
    history: tuple[str, ...] = ()  # columns beside the target whose past values are features
    ttl: Duration | None = None  # an online value older than this, by the request's own time where it states one, is stale
    on_stale: OnStale = "refuse"  # or "flag": it is answered, and the answer says so
    level_free: bool = True  # express level features relative to the recent mean


def check_task(task: Task, data: DataSection, features: FeaturesSection) -> None:
    """Refuse combinations that cannot be meant (ValueError that names the keys)."""
    if task == "forecasting" and not (data.time and features.horizons):
        raise ValueError("task forecasting needs data.time and features.horizons")
    if features.horizons and not (data.time and data.step):
        raise ValueError("features.horizons needs data.time and data.step")
    if task != "forecasting" and len(features.horizons) > 1:
        raise ValueError(f"features.horizons: {task} answers one horizon; name one, or make it a forecast")
    unknown = [c for c in (*features.known, *features.history) if c not in data.columns]
    if unknown:
        raise ValueError(f"features.known / features.history name columns that are not in data.columns: {', '.join(unknown)}")
