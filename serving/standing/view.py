"""The facts of one model as plain frozen values. Knows not where they come from, nor how they are shown.

Times of windows are event times in seconds since 1970 UTC; `at` and `since` are wall times, UTC, ISO 8601.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from serving.freshness import Freshness
from serving.vouching import Vouched

State = Literal["ok", "alarm", "unknown"]  # of a model: green, red, grey
SIGNALS = ("quality", "estimate", "drift", "truth", "volume")
JUDGED = SIGNALS[:3]  # those that can make a model green


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One judged quantity of a window; `state` is ok, alarm, unknown or "no data"."""

    name: str
    state: str
    said: str
    value: float | None = None
    limit: float | None = None

    @property
    def red(self) -> bool:
        """No data is red, never green."""
        return self.state in {"alarm", "no data"}

    @property
    def ratio(self) -> float | None:
        """The value in limits; None where either is missing."""
        return None if self.value is None or not self.limit else self.value / self.limit


@dataclass(frozen=True, kw_only=True)
class Look:
    """One window as a monitor saw it."""

    sequence: int  # of its record
    version: str
    start: float
    end: float
    rows: int
    labelled: int
    labels_to: float | None  # truth was known up to there
    signals: Mapping[str, Signal]

    @property
    def red(self) -> bool:
        """Whether somebody should look."""
        return any(one.red for one in self.signals.values())

    @property
    def state(self) -> State:
        """Red; green where anything of the model was judged; else grey, never green."""
        return "alarm" if self.red else "ok" if any(self.signal(name).state == "ok" for name in JUDGED) else "unknown"

    def signal(self, name: str) -> Signal:
        """The signal; unknown where the window does not have it."""
        return self.signals.get(name) or Signal(name=name, state="unknown", said="not looked at")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """How far a column has moved: `scaled` in units of its limit. A trending one moves by itself and raises no alarm."""

    name: str
    scaled: float | None
    effect: float | None = None
    drifted: bool = False
    trending: bool = False


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What one version answered lately, in one role."""

    version: str
    role: str
    requests: int
    errors: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, kw_only=True)
class Said:
    """A decision in a sentence, and its reason in another."""

    sequence: int
    at: str
    kind: str
    version: str
    actor: str
    what: str
    why: str
    loud: bool = False  # a person was called, or something went back


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A decision on the time line: it fell after window number `after` (from 0; -1: before the first)."""

    kind: Literal["retrain", "promoted", "rolled_back", "called"]
    after: int
    said: str
    version: str = ""
    failed: bool = False  # a retrain whose candidate did not pass


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """A retrain that was asked for, and how it ended (running: it has not yet)."""

    sequence: int
    at: float  # event time of what asked
    state: str
    cpu_s: float
    by_person: bool
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class Retrains:
    """The retrains of the 30 days of event time up to the last window, and what they used of the budget."""

    count: int = 0
    used_cpu_s: float = 0.0
    budget_cpu_s: float | None = None  # None: no window names it


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One model, whole."""

    workload: str
    state: State
    said: str  # why it is in this state
    call: str = ""  # what a person was told, where nobody has acted on it yet
    metric: str = ""
    champion: str | None = None
    since: str = ""
    reason: str = ""  # why it is the champion
    verdict: str = ""  # the gate's
    run_url: str | None = None  # of MLflow, as it was when the champion was registered
    previous: str | None = None
    challenger: str | None = None
    step: int = 0
    share: float = 0.0
    shadow: bool = False
    paused: bool = False
    approved: bool = False
    held: tuple[str, ...] = ()
    windows: tuple[Look, ...] = ()
    marks: tuple[Mark, ...] = ()
    features: tuple[Feature, ...] = ()  # of the newest window that knows them
    drift_page: str | None = None  # Evidently's newest: a file's name
    drift_at: float | None = None  # ... and the end of its window
    replayed: tuple[str, str] | None = None  # the windows are of a replay: from, to
    known_until: float | None = None
    retrains: Retrains = field(default_factory=Retrains)
    rules: Mapping[str, Any] = field(default_factory=dict)  # of `retrain`, as the last window had them
    arms: tuple[Arm, ...] = ()
    told: tuple[Said, ...] = ()  # newest first
    vouched: Vouched | None = None  # who vouches for the champion's files; None: not looked at
    stored: Freshness | None = None  # how old the values are that complete its requests; None: it stores none

    @property
    def last(self) -> Look | None:
        """The newest window."""
        return self.windows[-1] if self.windows else None

    @property
    def requests(self) -> int:
        """How many of the latest requests were answered to somebody: shadows answer nobody."""
        return sum(one.requests for one in self.arms if one.role != "shadow")


def plain(standing: Standing) -> dict[str, Any]:
    """For a script: the same facts, times as ISO 8601."""
    found = asdict(standing)
    for window in found["windows"]:
        window["red"] = any(one["state"] in {"alarm", "no data"} for one in window["signals"].values())
        for name in ("start", "end", "labels_to"):
            window[name] = iso(window[name])
    for name in ("known_until", "drift_at"):
        found[name] = iso(found[name])
    for name, one in (("vouched", standing.vouched), ("stored", standing.stored)):
        if one is not None:
            found[name] |= {"well": one.well, "said": one.said}
    for name in ("oldest", "newest") if found["stored"] else ():
        found["stored"][name] = iso(found["stored"][name])
    return found


def iso(moment: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601, UTC."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
