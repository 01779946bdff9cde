"""Small charts: drift by column as bars, a sparkline of error in limits, shares and budgets as filled lines."""

from __future__ import annotations

from collections.abc import Sequence

from serving.gateway.pages.markup import esc, figure
from serving.standing import Feature, Look

MOST_FEATURES = 24
_NAME, _TRACK, _WIDTH, _ROW = 190, 300, 600, 22
_LONGEST = 23  # letters of a name that fit, wide ones too


def drift(features: Sequence[Feature]) -> str:
    """A bar per column, in limits; the limit is a line at 1. What lies beyond 2 is drawn at the end and said in figures."""
    shown = features[:MOST_FEATURES]
    height = _ROW * len(shown) + 26
    unit = _TRACK / 2
    at_limit = _NAME + unit
    rows = "".join(_row(one, number * _ROW + 20, unit) for number, one in enumerate(shown))
    drifted = ", ".join(one.name for one in features if one.drifted and not one.trending) or "none"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Drift by column">'
        f"<title>Drift by column, in units of each column's limit</title><desc>Beyond the limit: {esc(drifted)}</desc>"
        f'<text x="{at_limit:.0f}" y="11" class="mid">limit</text>{rows}'
        f'<line class="limit" x1="{at_limit:.0f}" x2="{at_limit:.0f}" y1="16" y2="{height}"/></svg>'
    )


def _row(one: Feature, top: float, unit: float) -> str:
    length = min(2.0, max(0.0, one.scaled or 0.0)) * unit
    kind, word = ("trending", "trending") if one.trending else ("alarm", "▲ drifted") if one.drifted else ("", "")
    name = one.name if len(one.name) <= _LONGEST else one.name[: _LONGEST - 1] + "…"
    effect = "" if one.effect is None else f", effect {figure(one.effect)}"
    said = f"{one.name}: {figure(one.scaled)} of its limit{effect}" + (f" ({word})" if word else "")
    value = f"{figure(one.scaled)} {word}".strip()
    return (
        f'<g><title>{esc(said)}</title><text class="name end" x="{_NAME - 8}" y="{top + 12:.0f}">{esc(name)}</text>'
        f'<rect class="room" x="{_NAME}" y="{top + 2:.0f}" width="{_TRACK}" height="12" rx="2"/>'
        f'<rect class="bar {kind}" x="{_NAME}" y="{top + 2:.0f}" width="{length:.1f}" height="12" rx="2"/>'
        f'<text x="{_NAME + _TRACK + 8}" y="{top + 12:.0f}">{esc(value)}</text></g>'
    )


def spark(windows: Sequence[Look], signal: str) -> str:
    """The newest windows' signal in limits, with the limit as a line, and another where the version changed; a dot per
    judged window, bigger where it is beyond."""
    recent = windows[-40:]
    ratios = [one.signal(signal).ratio for one in recent]
    top = max([1.25, *(one for one in ratios if one is not None)]) * 1.08
    step = 292 / max(len(recent), 1)
    points = [(4 + (n + 0.5) * step, 54 - 50 * one / top, one) for n, one in enumerate(ratios) if one is not None]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    dots = "".join(
        f'<circle class="point{" alarm" if one > 1 else ""}" cx="{x:.1f}" cy="{y:.1f}" r="{3.2 if one > 1 else 1.6}"/>'
        for x, y, one in points
    )
    limit = 54 - 50 / top
    changes = "".join(
        f'<line class="axis" x1="{4 + n * step:.1f}" x2="{4 + n * step:.1f}" y1="2" y2="54"/>'
        for n in range(1, len(recent))
        if recent[n].version != recent[n - 1].version
    )
    beyond = sum(one > 1 for *_, one in points)
    return (
        f'<svg viewBox="0 0 300 58" role="img" aria-label="{esc(signal)} of the last windows"><title>{esc(signal)} in units of its limit: '
        f"{beyond} of {len(points)} judged windows beyond it</title>"
        f'<line class="axis" x1="4" x2="296" y1="54" y2="54"/>{changes}<line class="limit" x1="4" x2="296" y1="{limit:.1f}" y2="{limit:.1f}"/>'
        f'<polyline class="line" points="{line}"/>{dots}</svg>'
    )


def filled(share: float, said: str, *, other: bool = False, full: bool = False) -> str:
    """A line that is filled by `share` (0..1); `full`: what fills it up is too much."""
    width = 200 * min(1.0, max(0.0, share))
    kind = "bar alarm" if full else "share other" if other else "share"
    return (
        f'<svg viewBox="0 0 200 8" role="img" aria-label="{esc(said)}"><title>{esc(said)}</title><rect class="room" width="200" height="8" rx="4"/>'
        f'<rect class="{kind}" width="{width:.1f}" height="8" rx="4"/></svg>'
    )
