"""Text as markup: what a page may say of what others wrote, figures and times as a person reads them, and the frame of every page."""

from __future__ import annotations

import base64
import hashlib
import html
import math
from datetime import UTC, datetime
from urllib.parse import quote

from serving.gateway.pages.style import SHEET

_SHEET_SUM = base64.b64encode(hashlib.sha256(SHEET.encode()).digest()).decode()
# The pages hold what anybody may have sent: nothing of it may run, load, be framed, or be sent on.
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_SHEET_SUM}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
STATES = {"ok": ("●", "healthy"), "alarm": ("▲", "look at it"), "unknown": ("○", "not judged yet")}  # a sign, a word


def esc(text: object) -> str:
    """Text for an element or a quoted attribute."""
    return html.escape(str(text), quote=True)


def frame(title: str, body: str, *, every_s: int | None = None) -> str:
    """A whole page; `every_s` makes the browser ask for it again."""
    again = f'<meta http-equiv="refresh" content="{every_s}">' if every_s else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{esc(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">{again}'
        f'<link rel="icon" href="data:,"><style>{SHEET}</style></head><body>{body}</body></html>'
    )


def badge(state: str, word: str | None = None) -> str:
    """A state as a sign, a word and a colour."""
    sign, usual = STATES[state]
    return f'<span class="badge {state}"><span aria-hidden="true">{sign}</span> {esc(word or usual)}</span>'


def loud(word: str) -> str:
    """What somebody should look at: a sign, a word and a colour."""
    return f'<span class="loud"><span aria-hidden="true">▲</span> {esc(word)}</span>'


def figure(value: float | None) -> str:
    """A number with four figures that mean something."""
    if value is None or not math.isfinite(value):
        return "–"
    if value and (abs(value) >= 1e7 or abs(value) < 1e-4):
        return f"{value:.2e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def whole(value: float) -> str:
    """A count, or a duration in whole units."""
    return f"{value:,.0f}"


def milliseconds(value: float) -> str:
    """A latency."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def moment(seconds: float | None) -> str:
    """A time; without the hour where it is midnight."""
    if seconds is None:
        return "not known yet"
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%d %H:%M}"


def clock(iso: str) -> str:
    """A record's time, to the second, marked up for machines."""
    return f'<time datetime="{esc(iso)}">{esc(iso[:19].replace("T", " "))}</time>'


def model_path(workload: str) -> str:
    """The page of a workload."""
    return f"/models/{quote(workload, safe='')}"


def table(title: str, columns: list[str], rows: list[list[str]]) -> str:
    """A table with a caption for those who hear it; cells are markup already."""
    head = "".join(f'<th scope="col">{esc(one)}</th>' for one in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><caption>{esc(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
