"""Monitoring windows: what one is, when the next is due, and its record in the ledger. Knows no statistics and no Dagster.

A window covers a span of event time, or a number of answered rows. What a model read and answered in it is the data part; the
truths that became known since the window before are the labelled part. Windows follow each other without gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, PositiveInt

from assets.trigger import Seen
from data.files import finite
from data.section import DataSection, Duration, FeaturesSection, Section, seconds
from serving.ledger import Decision

State = Literal["ok", "alarm", "unknown", "no data"]
_STEPS = 50  # of a series, where the YAML names no window
_ROWS = 500


class MonitorSection(Section):
    """How closely a deployed model is watched."""

    window: Duration | PositiveInt | None = None  # a span of event time, or rows; auto: 50 steps of a series, else 500 rows
    min_rows: PositiveInt = 20  # fewer rows judge nothing
    false_alarms: float = Field(default=0.01, gt=0, lt=0.5)  # per window and signal, on stable history
    sample: PositiveInt = 2000  # rows of a window that drift is computed on
    kept: float = Field(default=1.0, ge=0, le=1)  # the share of the answered requests that is kept as records
    silence: Duration = "1d"  # wall time without a request after which a window is red


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One judged quantity of a window: its value, its limit, and both in a sentence."""

    state: State
    said: str
    value: float | None = None
    limit: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A closed window, as the ledger keeps it. Times are event times in seconds since 1970 UTC."""

    workload: str
    version: str
    start: float
    end: float
    labels_from: float  # truths of (labels_from, labels_to] were judged
    labels_to: float
    sequence: int  # the last record that was read
    rows: int
    labelled: int
    signals: Mapping[str, Signal]
    seen: int = 0  # the sequence number of the window's own record
    sampled: int = 0  # rows that drift was computed on, drawn with `seed`
    seed: int = 0
    rules: Mapping[str, Any] = field(default_factory=dict)  # of `retrain`, as they were: for who shows it
    told: int | None = None  # the last label that was read: what is told later of (.., labels_to] is judged in a later window

    @property
    def alarms(self) -> tuple[str, ...]:
        """The signals beyond their limits."""
        return tuple(name for name, one in self.signals.items() if one.state == "alarm")

    @property
    def red(self) -> bool:
        """Whether somebody should look: an alarm, or no data where there should be some."""
        return any(one.state in {"alarm", "no data"} for one in self.signals.values())

    def payload(self) -> dict[str, Any]:
        """The record's payload."""
        stored = asdict(self)
        for name in ("workload", "version", "seen"):
            del stored[name]
        return finite(stored) | {"red": self.red, "alarms": list(self.alarms), "span": [iso(self.start), iso(self.end)]}

    def as_seen(self, *, since_last_retrain: bool) -> Seen:
        """What the trigger's rule reads of it."""
        truth = self.signals.get("truth")
        return Seen(
            sequence=self.seen,
            end=self.end,
            version=self.version,
            alarms=self.alarms,
            suspect=truth.said if truth and truth.state == "alarm" else "",
            learnable=since_last_retrain,
        )


def read(decision: Decision) -> Window:
    """The window that a ledger's record holds."""
    stored = {name: value for name, value in decision.payload.items() if name not in {"red", "alarms", "span"}}
    signals = {name: Signal(**one) for name, one in stored.pop("signals").items()}
    return Window(workload=decision.workload, version=decision.version, seen=decision.sequence, signals=signals, **stored)


def length_s(section: MonitorSection, data: DataSection, features: FeaturesSection) -> float | None:
    """The window's span in seconds of event time; None where it counts rows."""
    if isinstance(section.window, str):
        return float(seconds(section.window))
    if section.window is None and features.horizons and data.step:
        return float(_STEPS * seconds(data.step))
    return None


def length_rows(section: MonitorSection) -> int:
    """The window's rows, where it counts rows."""
    return section.window if isinstance(section.window, int) else _ROWS


def due(start: float, length: float, times: Sequence[float]) -> float | None:
    """The end of the span that begins at `start`, once something newer has come: `times` are the event times since, rising."""
    return start + length if len(times) and times[-1] >= start + length else None


def completed(sequences: Sequence[int], rows: int) -> int | None:
    """The record that completes a window of `rows` rows, where they are there: `sequences` are the rows' own, rising.

    A request is in one window, whole: of a batch that two windows share, the second would never end.
    """
    return int(sequences[rows - 1]) if len(sequences) >= rows else None


def iso(moment: float) -> str:
    """Seconds since 1970 as ISO 8601, UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
