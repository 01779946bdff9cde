"""An explanation as a picture: from the usual answer, input by input, to this one; and a picture's own parts, where a picture was asked.

Pure. Signs and words say what colours say. Figures of probabilities are in percent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serving.gateway.pages.markup import esc

MOST = 10  # inputs with a bar of their own; the others share one
_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 900, 34, 340, 800, 44
_LONGEST = 44
_MOST_CELLS = 32  # along one side of a picture
Facts = Mapping[str, Any]


def waterfall(answer: Facts) -> str:
    """Bars in order of weight; the second opinion is a diamond where the bar would end by it."""
    shown, others = answer["inputs"][:MOST], answer["inputs"][MOST:]
    bars: list[Facts] = list(shown)
    if others:
        rest = {"label": f"the other {len(others)} inputs together", "value": "", "usual": ""}
        bars.append(rest | {name: sum(one[name] for one in others) for name in ("shap", "lime")})
    ends, at = [], answer["base"]
    for one in bars:
        ends.append((at, at + one["shap"]))
        at += one["shap"]
    marks = [
        answer["base"],
        answer["answer"],
        *(end for _, end in ends),
        *(s + b["lime"] for b, (s, _) in zip(bars, ends, strict=True)),
    ]
    low, high = min(marks), max(marks)
    scale = (_RIGHT - _LEFT) / ((high - low) or 1.0)

    def x(value: float) -> float:
        return _LEFT + (value - low) * scale

    share = answer["label"] is not None
    height = _TOP + _ROW * (len(bars) + 1) + 14
    rows = "".join(_row(one, end, _TOP + _ROW * n, x, share) for n, (one, end) in enumerate(zip(bars, ends, strict=True)))
    foot = _TOP + _ROW * len(bars)
    base, final = x(answer["base"]), x(answer["answer"])
    told = "; ".join(f"{one['label']} {said(one['shap'], share, signed=True)}" for one in bars)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="What moved the answer"><title>From the usual answer to this one</title>'
        f"<desc>{esc(told)}</desc>"
        f'<text class="name end" x="{_LEFT - 12}" y="22">the usual answer</text>'
        f'<text class="now" x="{_near(base)}" y="22">{said(answer["base"], share)}</text>'
        f'<line class="axis" x1="{base:.1f}" x2="{base:.1f}" y1="28" y2="{foot}"/>{rows}'
        f'<line class="axis" x1="{final:.1f}" x2="{final:.1f}" y1="{_TOP}" y2="{foot + 6}"/>'
        f'<text class="name end" x="{_LEFT - 12}" y="{foot + 22}">this answer</text>'
        f'<text class="name" x="{_near(final)}" y="{foot + 22}">{said(answer["answer"], share)}</text></svg>'
    )


def _row(one: Facts, ends: tuple[float, float], top: float, x: Callable[[float], float], share: bool) -> str:
    start, end = ends
    left, right = sorted((x(start), x(end)))
    kind, word = ("up", "raises it by") if end >= start else ("down", "lowers it by")
    moved = said(one["shap"], share, signed=True)
    name = one["label"] if len(one["label"]) <= _LONGEST else one["label"][: _LONGEST - 1] + "…"
    was = f"{one['value']} (usually {one['usual']})" if one["value"] and one["usual"] else one["value"]
    lime = x(start + one["lime"])
    hint = f"{one['label']}{f' = {was}' if was else ''}: {word} {said(abs(one['shap']), share)}; the second opinion: {said(one['lime'], share, signed=True)}"
    return (
        f'<g><title>{esc(hint)}</title><text class="name end" x="{_LEFT - 12}" y="{top + 13:.0f}">{esc(name)}</text>'
        f'<text class="end" x="{_LEFT - 12}" y="{top + 27:.0f}">{esc(was)}</text>'
        f'<rect class="{kind}" x="{left:.1f}" y="{top + 6:.0f}" width="{max(1.0, right - left):.1f}" height="16" rx="2"/>'
        f'<path class="second" d="M{lime:.1f} {top + 8:.0f}l6 6l-6 6l-6-6z"/>'
        f'<line class="axis" x1="{x(end):.1f}" x2="{x(end):.1f}" y1="{top + 6:.0f}" y2="{top + _ROW + 6:.0f}"/>'
        f'<text class="now end" x="{_WIDTH - 4}" y="{top + 19:.0f}">{esc(moved)}</text></g>'
    )


def said(value: float, share: bool, *, signed: bool = False) -> str:
    """A figure of an answer; probabilities in percent. `signed`: a difference, with its sign (of probabilities in percentage points)."""
    sign = ("+" if value >= 0 else "−") if signed else ("" if value >= 0 else "−")
    size = abs(value) * (100 if share else 1)
    if share:
        return f"{sign}{size:.1f} points" if signed else f"{size:.4g} %"
    if size and (size >= 1e7 or size < 1e-4):
        return f"{sign}{size:.2e}"
    return f"{sign}{size:,.0f}" if size >= 10_000 else f"{sign}{size:.{4 if signed else 5}g}"


def _near(x: float) -> float:
    """Where a text that names a line begins, so that it stays inside."""
    return round(min(x + 4, _WIDTH - 90), 1)


def picture(one: Facts, shap: bool = True) -> str:
    """A picture's pixels in grey, and above them how much each raised or lowered the answer."""
    pixels, weights = _smaller(one["pixels"]), _smaller(one["shap" if shap else "lime"])
    rows, columns = len(pixels), len(pixels[0])
    cell = 288 // max(rows, columns)
    low, high = min(map(min, pixels)), max(map(max, pixels))
    most = max((abs(weight) for row in weights for weight in row), default=0.0) or 1.0
    plain, moved = [], []
    for y, (row, weighed) in enumerate(zip(pixels, weights, strict=True)):
        for x, (value, weight) in enumerate(zip(row, weighed, strict=True)):
            at = f'x="{x * cell}" y="{y * cell}" width="{cell}" height="{cell}"'
            ink = (value - low) / ((high - low) or 1.0)
            plain.append(f'<rect class="ink" {at} fill-opacity="{ink:.3f}"/>')
            moved.append(f'<rect class="ink" {at} fill-opacity="{ink * 0.25:.3f}"/>')
            if abs(weight) > 0.01 * most:
                kind = "up" if weight > 0 else "down"
                moved.append(
                    f'<rect class="{kind}" {at} fill-opacity="{min(1.0, abs(weight) / most):.3f}"><title>{said(weight, True, signed=True)}</title></rect>'
                )
    wide, high_ = columns * cell, rows * cell
    return (
        f'<svg viewBox="0 0 {_WIDTH} {high_ + 24}" role="img" aria-label="The picture, and what of it mattered">'
        f'<text x="0" y="14">what was asked</text><text x="{wide + 40}" y="14">what of it mattered</text>'
        f'<g transform="translate(0 22)"><rect class="frame" width="{wide}" height="{high_}"/>{"".join(plain)}</g>'
        f'<g transform="translate({wide + 40} 22)"><rect class="frame" width="{wide}" height="{high_}"/>{"".join(moved)}</g></svg>'
    )


def _smaller(grid: Sequence[Sequence[float]]) -> list[list[float]]:
    """The grid, thinned out where it has more cells than can be told apart."""
    step = max(1, -(-max(len(grid), len(grid[0])) // _MOST_CELLS))
    return [[float(value) for value in row[::step]] for row in grid[::step]]
