"""The windows of one model as one SVG: measured and expected error with their limits, drift, rows, and the state of every signal.

All panels share one column per window, so that a promotion or a retrain is one line through all of them. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

from serving.gateway.pages.markup import esc, moment
from serving.gateway.pages.panels import LEFT, RIGHT, WIDTH, Columns, Panel, drawn
from serving.standing import Look, Mark, Standing
from serving.standing.view import SIGNALS

_LETTERS = {"retrain": "R", "promoted": "P", "rolled_back": "B", "called": "!"}
_GAP, _LANE, _CELL, _LETTER = 34, 46, 17, 15


def timeline(standing: Standing) -> str:
    """The chart; empty text where no window has closed yet."""
    windows = standing.windows
    if not windows:
        return ""
    panels = _panels(standing)
    foot = panels[-1].top + panels[-1].height
    rows_top = foot + _GAP
    ribbon_top = rows_top + 46 + 22
    bottom = ribbon_top + _CELL * len(SIGNALS)
    x = Columns(len(windows))
    red = "".join(
        f'<rect class="redcol" x="{x.start(n):.1f}" y="{_LANE}" width="{x.step:.2f}" height="{bottom - _LANE:.0f}"/>'
        for n, one in enumerate(windows)
        if one.red
    )
    parts = [
        _versions(windows, x),
        red,
        *(drawn(panel, x) for panel in panels),
        _rows(windows, x, rows_top),
        _ribbon(windows, x, ribbon_top),
        _marks(standing.marks, x, bottom),
        _hover(windows, x, bottom),
        _dates(windows, x, bottom + 16),
    ]
    return (
        f'<svg viewBox="0 0 {WIDTH} {bottom + 24:.0f}" role="img" aria-label="Windows of {esc(standing.workload)}">'
        f"<title>What the monitors saw of {esc(standing.workload)}, window by window</title><desc>{esc(_told(windows))}</desc>"
        f"{''.join(parts)}</svg>"
    )


def _panels(standing: Standing) -> list[Panel]:
    named = f" ({standing.metric})" if standing.metric else ""
    titles = {
        "quality": (f"Measured error{named}, once truth is known", 150.0, False),
        "estimate": (f"Error that the model expects of itself{named}", 100.0, True),
        "drift": ("Drift of the column that moved most, in limits", 70.0, False),
    }
    panels, top = [], float(_LANE + _GAP)
    for name, (title, height, second) in titles.items():
        panel = Panel(title, [one.signal(name) for one in standing.windows], top, height, second)
        if not panel.known:
            panel = Panel(f"{title}: none yet", panel.signals, top, 22.0, second)
        panels.append(panel)
        top += panel.height + _GAP
    return panels


def _versions(windows: Sequence[Look], x: Columns) -> str:
    found, number = [f'<text class="name end" x="{LEFT - 8}" y="18">version</text>'], 0
    for odd, (version, group) in enumerate(groupby(windows, key=lambda one: one.version)):
        count = len(list(group))
        start, width = x.start(number), count * x.step
        said = f"version {version}" if width > 70 else version if width > 9 * len(version) else ""
        found.append(
            f'<g><title>{esc(f"version {version}: {count} windows")}</title><rect class="band{" odd" if odd % 2 else ""}" x="{start:.1f}" y="4" '
            f'width="{width:.1f}" height="20" rx="3"/><text class="mid name" x="{start + width / 2:.1f}" y="18">{esc(said)}</text></g>'
        )
        number += count
    return "".join(found)


def _rows(windows: Sequence[Look], x: Columns, top: float) -> str:
    most = max([1, *(one.rows for one in windows)])
    width = max(1.0, x.step * 0.7)
    bars = "".join(
        f'<rect class="rows" x="{x.middle(n) - width / 2:.1f}" y="{top + 46 * (1 - one.rows / most):.1f}" width="{width:.1f}" height="{46 * one.rows / most:.1f}"/>'
        for n, one in enumerate(windows)
    )
    return (
        f'<g><text class="name" x="{LEFT}" y="{top - 8:.0f}">Rows answered</text><text class="end" x="{LEFT - 8}" y="{top + 8:.0f}">{most:,}</text>'
        f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{top + 46:.0f}" y2="{top + 46:.0f}"/>{bars}</g>'
    )


def _ribbon(windows: Sequence[Look], x: Columns, top: float) -> str:
    """A row of cells per signal: low is well, full is an alarm, an empty frame is no data, a dot is unknown."""
    width = max(1.2, x.step - max(0.5, min(2.0, x.step * 0.2)))
    found = []
    for row, name in enumerate(SIGNALS):
        y = top + row * _CELL
        cells = "".join(_cell(one.signal(name).state, x.middle(n) - width / 2, y, width) for n, one in enumerate(windows))
        found.append(f'<text class="end" x="{LEFT - 8}" y="{y + 11:.0f}">{name}</text>{cells}')
    return "".join(found)


def _cell(state: str, left: float, top: float, width: float) -> str:
    kind, height = {"ok": ("ok", 4.0), "alarm": ("alarm", 13.0), "no data": ("nodata", 12.0)}.get(state, ("unknown", 1.5))
    return f'<rect class="cell {kind}" x="{left:.1f}" y="{top + 13 - height:.1f}" width="{width:.1f}" height="{height:.1f}" rx="1"/>'


def _marks(marks: Sequence[Mark], x: Columns, bottom: float) -> str:
    """A line where a decision fell, and its letter above it, beside the ones before where these are too near."""
    shown = [one for one in marks if one.after >= 0]
    found, free = [], float(LEFT)
    for nth, one in enumerate(shown):
        at = x.start(one.after + 1)
        letter = free = min(max(at, free), RIGHT - _LETTER * (len(shown) - 1 - nth))
        free += _LETTER
        kind = f"{one.kind} failed" if one.failed else one.kind
        found.append(
            f'<g class="mark {kind}"><title>{esc(one.said)}</title><line x1="{at:.1f}" x2="{at:.1f}" y1="{_LANE - 4}" y2="{bottom:.0f}"/>'
            f'<circle cx="{letter:.1f}" cy="36" r="7"/><text x="{letter:.1f}" y="39.5">{_LETTERS[one.kind]}</text></g>'
        )
    return "".join(found)


def _hover(windows: Sequence[Look], x: Columns, bottom: float) -> str:
    """What a window said, for who points at it."""
    return "".join(
        f'<rect class="hover" x="{x.start(n):.1f}" y="{_LANE}" width="{x.step:.2f}" height="{bottom - _LANE:.0f}"><title>{esc(_summary(one))}</title></rect>'
        for n, one in enumerate(windows)
    )


def _summary(one: Look) -> str:
    lines = [f"{moment(one.start)} to {moment(one.end)}, version {one.version}"]
    return "\n".join([*lines, *(f"{name}: {one.signals[name].said}" for name in SIGNALS if name in one.signals)])


def _dates(windows: Sequence[Look], x: Columns, y: float) -> str:
    every = max(1, -(-len(windows) // 7))
    return "".join(
        f'<text class="mid" x="{x.middle(n):.1f}" y="{y:.0f}">{moment(windows[n].end)}</text>'
        for n in range(every // 2, len(windows), every)
    )


def _told(windows: Sequence[Look]) -> str:
    changed = [f"version {b.version} from {moment(b.start)}" for a, b in pairwise(windows) if a.version != b.version]
    said = f"{len(windows)} windows from {moment(windows[0].start)} to {moment(windows[-1].end)}; {sum(one.red for one in windows)} of them red"
    return "; ".join([said, *changed])
