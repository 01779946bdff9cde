"""The first page: a card per workload."""

from __future__ import annotations

from collections.abc import Sequence

from serving.gateway.pages import bars
from serving.gateway.pages.markup import badge, esc, figure, frame, loud, milliseconds, model_path, moment, whole
from serving.standing import Arm, Look, Signal, Standing
from serving.trust.keys import short

_SHOWN = ("quality", "estimate", "drift")  # the first of them that is known is what a card shows
_NAMES = {"quality": "measured error", "estimate": "expected error", "drift": "drift"}


def page(standings: Sequence[Standing], *, every_s: int | None = None) -> str:
    """The overview as HTML."""
    cards = "".join(map(_card, standings)) or "<p>No workload serves yet: <code>aiprime run NAME</code></p>"
    red = sum(one.state == "alarm" or not _well(one) for one in standings)
    said = f"{len(standings)} models, {red or 'none'} to look at" if standings else ""
    body = (
        f'<header><h1>AI Prime</h1><span class="soft">{said}</span></header><main><div class="cards">{cards}</div></main>'
        "<footer>Times are UTC; those of windows are the data's own. In a terminal: <code>aiprime status</code>. "
        '<a href="/?every=5">Watch</a> asks again every 5 s.</footer>'
    )
    return frame("AI Prime: models", body, every_s=every_s)


def _card(one: Standing) -> str:
    signal = telling(one.windows)
    chart = bars.spark(one.windows, signal) if signal else '<p class="soft small">no window has closed yet</p>'
    href = esc(model_path(one.workload))
    return (
        f'<article class="card {one.state}"><div class="top"><h2><a href="{href}">{esc(one.workload)}</a></h2>{badge(one.state)}</div>'
        f'<div class="small">{release(one)}</div>{chart}<div class="small">{error(one)}</div><div class="small soft">{traffic(one)}</div>{_trust(one)}</article>'
    )


def _well(one: Standing) -> bool:
    """Whether its champion is signed and cleared, and its stored feature values are as fresh as they should be."""
    return all(found is None or found.well for found in (one.vouched, one.stored))


def _trust(one: Standing) -> str:
    """The same in words."""
    found, stored, lines = one.vouched, one.stored, []
    if found is not None:
        well = f"signed by key {esc(short(found.key or ''))}, cleared <time>{esc(found.at[:10])}</time>"
        lines.append(well if found.well else f"{loud('not signed and cleared')}: {esc('; '.join(found.amiss))}")
    if stored is not None:
        well = "stored feature values " + ("of any age" if stored.ttl_s is None else "fresh")
        lines.append(
            well
            if stored.well
            else f"{loud('stored feature values' + (' stale' if stored.stale else ''))}: {esc(stored.briefly)}"
        )
    return "".join(f'<div class="small soft">{line}</div>' for line in lines)


def telling(windows: Sequence[Look]) -> str:
    """The signal that says most of the windows: measured before expected before drift; empty where none has a value."""
    return next((name for name in _SHOWN if any(one.signal(name).ratio is not None for one in windows)), "")


def release(one: Standing) -> str:
    """Who serves, in a line."""
    if one.champion is None:
        return "nothing serves"
    said = f"champion <strong>version {esc(one.champion)}</strong>"
    if one.challenger is not None:
        given = "a copy of each request" if one.shadow else f"{one.share:.0%} of the requests"
        said += f", challenger <strong>version {esc(one.challenger)}</strong> with {given}"
    return said + (", <strong>paused</strong>" if one.paused else "")


def judged(one: Standing) -> tuple[Look, Signal] | None:
    """The newest window of the champion with a judged error, measured or else expected; what was seen of another version is not its."""
    own = [look for look in reversed(one.windows) if look.version == one.champion]
    for name in _SHOWN:
        for look in own:
            if (found := look.signal(name)).ratio is not None:
                return look, found
    return None


def named(one: Standing, signal: Signal) -> str:
    """What a signal's value is."""
    return _NAMES[signal.name] + (f" ({esc(one.metric)})" if one.metric and signal.name != "drift" else "")


def error(one: Standing) -> str:
    """The newest judged error against its limit."""
    found = judged(one)
    if found is None:
        return ""
    look, signal = found
    return f"{named(one, signal)} <strong>{figure(signal.value)}</strong> of at most {figure(signal.limit)}, window to {moment(look.end)}"


def answered(one: Standing) -> list[Arm]:
    """The arms that answered somebody, the champion's own version first."""
    return sorted((arm for arm in one.arms if arm.role != "shadow"), key=lambda arm: arm.version != one.champion)


def traffic(one: Standing) -> str:
    """Volume, latency and errors of the latest requests."""
    arms = answered(one)
    if not arms:
        return "no request yet"
    errors = sum(arm.errors for arm in arms)
    first = arms[0]
    return (
        f"last {whole(one.requests)} requests: {whole(errors)} errors; version {esc(first.version)} "
        f"p50 {milliseconds(first.p50_ms)} ms, p99 {milliseconds(first.p99_ms)} ms"
    )
