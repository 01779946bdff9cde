"""One panel of a time line: a signal's values, window by window, with their limit; and where a window's column lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from serving.gateway.pages.markup import esc, figure
from serving.gateway.pages.ticks import ticks
from serving.standing import Signal

WIDTH, LEFT, RIGHT = 1000, 76, 914


@dataclass(frozen=True)
class Panel:
    """A signal of every window, and where it is drawn. The axis begins at 0: losses and drift are never less."""

    title: str
    signals: Sequence[Signal]
    top: float
    height: float
    second: bool = False

    @property
    def known(self) -> bool:
        """Whether any window has a value."""
        return any(one.value is not None for one in self.signals)

    @cached_property
    def most(self) -> float:
        """The axis' end."""
        found = [number for one in self.signals for number in (one.value, one.limit) if number is not None]
        return max(found, default=1.0) * 1.08 or 1.0

    def y(self, value: float) -> float:
        """Where a value lies."""
        return self.top + self.height * (1 - max(0.0, value) / self.most)


class Columns:
    """Where window number n lies."""

    def __init__(self, count: int) -> None:
        self.step = (RIGHT - LEFT) / count

    def start(self, number: float) -> float:
        """Its left edge."""
        return LEFT + number * self.step

    def middle(self, number: int) -> float:
        """Where its point is."""
        return self.start(number + 0.5)


def drawn(panel: Panel, x: Columns) -> str:
    """The panel: axis, limit, line, a point per window, and the newest value in figures."""
    limits = [one.limit for one in panel.signals]
    floor = panel.top + panel.height
    grid = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{panel.y(tick):.1f}" y2="{panel.y(tick):.1f}"/>'
        f'<text class="end" x="{LEFT - 8}" y="{panel.y(tick) + 4:.1f}">{figure(tick)}</text>'
        for tick in (ticks(panel.most, 4 if panel.height > 90 else 2) if panel.known else ())
    )
    size = max(1.5, min(3.4, x.step * 0.3))
    points = "".join(_point(panel, number, one, x, floor, size) for number, one in enumerate(panel.signals))
    return (
        f'<g class="{"second" if panel.second else "first"}"><text class="name" x="{LEFT}" y="{panel.top - 10:.0f}">{esc(panel.title)}</text>'
        f'{grid}<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{floor:.1f}" y2="{floor:.1f}"/>{_steps(panel, limits, x)}'
        f"{_line(panel, x)}{points}{_last(panel)}</g>"
    )


def _point(panel: Panel, number: int, one: Signal, x: Columns, floor: float, size: float) -> str:
    """A disc; a diamond where it is beyond the limit; an empty ring on the floor where nothing is known."""
    at = x.middle(number)
    if one.value is None:
        return f'<circle class="point unknown" cx="{at:.1f}" cy="{floor:.1f}" r="{size * 0.8:.1f}"/>'
    y = panel.y(one.value)
    if one.red:
        r = size * 1.7
        return f'<path class="point alarm" d="M{at:.1f} {y - r:.1f}l{r:.1f} {r:.1f} {-r:.1f} {r:.1f} {-r:.1f} {-r:.1f}z"/>'
    state = "unknown" if one.state == "unknown" else "ok"
    return f'<circle class="point {state}" cx="{at:.1f}" cy="{y:.1f}" r="{size:.1f}"/>'


def _line(panel: Panel, x: Columns) -> str:
    """The values, joined where both neighbours are known."""
    found, joined = [], False
    for number, one in enumerate(panel.signals):
        if one.value is not None:
            found.append(f"{'L' if joined else 'M'}{x.middle(number):.1f} {panel.y(one.value):.1f}")
        joined = one.value is not None
    return f'<path class="line{" second" if panel.second else ""}" d="{"".join(found)}"/>' if found else ""


def _steps(panel: Panel, limits: Sequence[float | None], x: Columns) -> str:
    """The limit of each window: it moves with the version and with how many rows were judged."""
    found, before = [], None
    for number, limit in enumerate(limits):
        if limit is not None:
            y = panel.y(limit)
            joined = "M" if before is None else "L"
            found.append(f"{joined}{x.start(number):.1f} {y:.1f}H{x.start(number + 1):.1f}")
        before = limit
    return f'<path class="limit" d="{"".join(found)}"/>' if found else ""


def _last(panel: Panel) -> str:
    known = [one for one in panel.signals if one.value is not None]
    if not known or known[-1].value is None:
        return ""
    value, limit = known[-1].value, known[-1].limit
    at = panel.y(value) + 4
    said = f'<text class="now" x="{RIGHT + 8}" y="{at:.1f}">{figure(value)}</text>'
    if limit is not None and abs(panel.y(limit) + 4 - at) > 13:
        said += f'<text x="{RIGHT + 8}" y="{panel.y(limit) + 4:.1f}">limit {figure(limit)}</text>'
    return said
