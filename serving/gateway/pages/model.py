"""The page of one model: everything that `Standing` says, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from serving.cards import card_path
from serving.gateway.pages import bars
from serving.gateway.pages.markup import (
    badge,
    clock,
    esc,
    figure,
    frame,
    loud,
    milliseconds,
    model_path,
    moment,
    table,
    whole,
)
from serving.gateway.pages.overview import answered, judged, named
from serving.gateway.pages.recent import recent
from serving.gateway.pages.timeline import timeline
from serving.standing import Look, Said, Standing

if TYPE_CHECKING:
    from serving.records import Prediction

_ROWS = 40  # windows in the table
_LEGEND = (
    "Dashed: the limit. Diamond: beyond it. Empty ring: nothing known. <strong>R</strong> a retrain was asked for, "
    "<strong>P</strong> promoted, <strong>B</strong> rolled back, <strong>!</strong> a person was called. In the strips below a low cell is "
    "well, a full one an alarm, an empty frame no data, a flat one not known."
)


def page(
    one: Standing, *, curl: str = "", docs: bool = False, answers: Sequence[Prediction] = (), every_s: int | None = None
) -> str:
    """The page; `curl` is a command that asks the model, `docs` whether there are Data Docs, `answers` the latest ones."""
    paused = '<span class="badge unknown">❚❚ paused</span>' if one.paused else ""
    said = "" if one.call else f'<span class="soft">{esc(one.said)}</span>'
    head = (
        f'<header><nav><a href="/">AI Prime</a> / models</nav><h1>{esc(one.workload)}</h1>{badge(one.state)}{paused}'
        f"{said}</header>"
    )
    call = f'<p class="call" role="alert"><strong>▲ A person was called.</strong> {esc(one.call)}</p>' if one.call else ""
    body = (
        f'{head}<main>{call}{_facts(one)}{_windows(one)}<div class="two">{_drift(one)}{_traffic(one)}</div>{_decisions(one)}{recent(answers)}'
        f"{_more(one, curl, docs)}</main>"
        f'<footer>Times are UTC; those of windows are the data\'s own. <a href="{esc(model_path(one.workload))}?every=5">Watch</a> asks again every 5 s.</footer>'
    )
    return frame(f"{one.workload}: AI Prime", body, every_s=every_s)


def _facts(one: Standing) -> str:
    since = f"since {clock(one.since)}" if one.since else ""
    previous = f"; a rollback leads to version {esc(one.previous)}" if one.previous else ""
    cells = [
        ("Champion", _version(one, one.champion) if one.champion else "none", f"{since}{previous}"),
        ("Challenger", *_challenger(one)),
        ("Error", *_error(one)),
        ("Retrains, 30 days of its data", *_retrains(one)),
        ("Truth known up to", moment(one.known_until), _labelled(one)),
        ("Requests", whole(one.requests), _latency(one)),
    ]
    return _listed(cells, "facts") + _listed([*_vouched(one), *_stored(one)], "facts long")


def _listed(cells: Sequence[tuple[str, str, str]], kind: str) -> str:
    shown = "".join(
        f'<div><dt>{name}</dt><dd class="big">{big}</dd><dd class="small soft">{more}</dd></div>' for name, big, more in cells
    )
    return f'<dl class="{kind}">{shown}</dl>' if cells else ""


def _vouched(one: Standing) -> list[tuple[str, str, str]]:
    """Whether what serves is signed and cleared, by which key, when and by whom."""
    if (found := one.vouched) is None:
        return []
    return [("Signed and cleared", "yes" if found.well else loud("no"), esc(found.said))]


def _stored(one: Standing) -> list[tuple[str, str, str]]:
    """How old the values are that complete its requests."""
    if (found := one.stored) is None:
        return []
    word = "of any age" if found.ttl_s is None else "fresh"
    big = word if found.well else loud("stale" if found.stale else "not there")
    return [("Stored feature values", big, esc(found.said))]


def _version(one: Standing, version: str) -> str:
    """The version's name, leading to its card."""
    return f'<a href="{esc(card_path(one.workload, version))}">version {esc(version)}</a>'


def _challenger(one: Standing) -> tuple[str, str]:
    held = f"held: {esc(', '.join(one.held))}" if one.held else ""
    if one.challenger is None:
        return "none", held or "no rollout is under way"
    given = "shadow: a copy of each request" if one.shadow else f"{one.share:.0%} of the requests"
    line = bars.filled(1.0 if one.shadow else one.share, f"the challenger's share: {given}", other=True)
    return _version(one, one.challenger), f"step {one.step}, {given}{', approved' if one.approved else ''}{line}{held}"


def _error(one: Standing) -> tuple[str, str]:
    found = judged(one)
    if found is None:
        return "–", f"version {esc(one.champion)} was not judged yet" if one.champion else ""
    look, signal = found
    ratio = signal.ratio or 0.0
    line = bars.filled(ratio, f"{ratio:.0%} of the limit", full=ratio > 1)
    return figure(signal.value), f"{named(one, signal)} of at most {figure(signal.limit)}, window to {moment(look.end)}{line}"


def _retrains(one: Standing) -> tuple[str, str]:
    used, budget = one.retrains.used_cpu_s, one.retrains.budget_cpu_s
    said = f"{whole(used)} CPU s used" + (f" of {whole(budget)}" if budget is not None else "")
    return whole(one.retrains.count), said + (bars.filled(used / budget, said, full=used >= budget) if budget else "")


def _labelled(one: Standing) -> str:
    return f"{whole(one.last.labelled)} labels came in the last window" if one.last else "no window has closed yet"


def _latency(one: Standing) -> str:
    arms = answered(one)
    if not arms:
        return "none was kept yet"
    errors = sum(arm.errors for arm in arms)
    return (
        f"the latest kept; {whole(errors)} errors; p50 {milliseconds(arms[0].p50_ms)} ms, p99 {milliseconds(arms[0].p99_ms)} ms"
    )


def _windows(one: Standing) -> str:
    if not one.windows:
        return '<section><h2>Windows</h2><p class="soft">None has closed yet. A window closes when its span of time, or its number of rows, is full.</p></section>'
    rules, rule = one.rules, ""
    if rules.get("k"):
        named = " or ".join(map(str, rules.get("on") or ["nothing"]))
        rule = f" A retrain is asked for where {esc(rules['k'])} of the last {esc(rules.get('n'))} windows are beyond a limit ({esc(named)}), the newest among them."
    played = f" These are of a replay of {esc(one.replayed[0])} to {esc(one.replayed[1])}." if one.replayed else ""
    newest = list(reversed(one.windows))[:_ROWS]
    shown = table(
        "Windows, newest first", ["window", "version", "rows", "state", "what was seen"], [_row(look) for look in newest]
    )
    return (
        f'<section><h2>{len(one.windows)} window{"s" if len(one.windows) > 1 else ""}</h2><p class="soft small">{_LEGEND}{rule}{played}</p><div class="chart">{timeline(one)}</div>'
        f"<details><summary>As a table: the last {len(newest)}</summary>{shown}</details></section>"
    )


def _row(look: Look) -> list[str]:
    said = "<br>".join(
        f"<strong>{esc(name)}</strong> {_state(signal.state)}: {esc(signal.said)}" for name, signal in look.signals.items()
    )
    state = badge(look.state, {"ok": "well", "alarm": "red"}.get(look.state))
    return [f"{moment(look.start)}<br>to {moment(look.end)}", esc(look.version), whole(look.rows), state, said]


def _state(state: str) -> str:
    return f'<span class="loud">{esc(state)}</span>' if state in {"alarm", "no data"} else esc(state)


def _drift(one: Standing) -> str:
    if not one.features:
        said = one.last.signal("drift").said if one.last else "no window has closed yet"
        return f'<section><h2>Drift by column</h2><p class="soft">{esc(said)}</p></section>'
    shown = min(len(one.features), bars.MOST_FEATURES)
    more = (
        f'<p class="soft small">{shown} of {len(one.features)} columns, those that moved most.</p>'
        if shown < len(one.features)
        else ""
    )
    columns = ["column", "of its limit", "effect", ""]
    cells = [
        [esc(f.name), figure(f.scaled), figure(f.effect), "trending" if f.trending else "drifted" if f.drifted else ""]
        for f in one.features
    ]
    said = one.last.signal("drift").said if one.last else ""
    return (
        f'<section><h2>Drift by column</h2><p class="soft small">{esc(said)}. A trending column moves by itself and raises no alarm.</p>'
        f"{bars.drift(one.features)}{more}{_evidently(one)}<details><summary>As a table</summary>{table('Drift by column', columns, cells)}</details></section>"
    )


def _evidently(one: Standing) -> str:
    if not one.drift_page:
        return '<p class="small soft">Evidently draws its report where a window drifts; none did here.</p>'
    return f'<p><a href="{_drift_path(one)}">Evidently\'s report</a> of the window to {moment(one.drift_at)}</p>'


def _drift_path(one: Standing) -> str:
    return esc(f"/drift/{quote(one.workload, safe='')}/{quote(one.drift_page or '', safe='')}")


def _traffic(one: Standing) -> str:
    if not one.arms:
        return '<section><h2>Traffic</h2><p class="soft">No request was kept yet.</p></section>'
    total = one.requests
    rows = []
    for arm in one.arms:
        share = arm.requests / total if total and arm.role != "shadow" else 0.0
        part = (
            f"{share:.0%}" + bars.filled(share, f"{share:.0%} of the requests", other=arm.role != "champion")
            if arm.role != "shadow"
            else "copies"
        )
        errors = f'<span class="loud">{whole(arm.errors)}</span>' if arm.errors else "0"
        rows.append(
            [
                esc(arm.version),
                esc(arm.role),
                part,
                whole(arm.requests),
                errors,
                milliseconds(arm.p50_ms),
                milliseconds(arm.p99_ms),
            ]
        )
    columns = ["version", "role", "share", "requests", "errors", "p50 ms", "p99 ms"]
    return (
        f'<section><h2>Traffic</h2><p class="soft small">Of the latest {whole(total)} kept requests, and the copies sent to shadows meanwhile.</p>'
        f"{table('Traffic by version and role', columns, rows)}</section>"
    )


def _decisions(one: Standing) -> str:
    rows = [[clock(said.at), _said(said), f'<div class="said">{esc(said.why)}</div>', esc(said.actor)] for said in one.told]
    shown = table("Decisions, newest first", ["when", "what", "why", "by"], rows)
    return f"<section><h2>Last decisions</h2>{shown if rows else '<p>none yet</p>'}</section>"


def _said(said: Said) -> str:
    return f'<span class="loud">▲ {esc(said.what)}</span>' if said.loud else f"<strong>{esc(said.what)}</strong>"


def _more(one: Standing, curl: str, docs: bool) -> str:
    links = []
    if one.run_url and one.run_url.startswith(("http://", "https://")):
        links.append((one.run_url, f"version {one.champion} in MLflow"))
    if one.drift_page:
        links.append((f"/drift/{quote(one.workload, safe='')}/{quote(one.drift_page, safe='')}", "Evidently's drift report"))
    if docs:
        links.append((f"/docs/{quote(one.workload, safe='')}/", "Data Docs: the checks of the data"))
    links.append((f"/v1/models/{quote(one.workload, safe='')}/watermark", "the watermark"))
    listed = "".join(f'<li><a href="{esc(url)}">{esc(name)}</a></li>' for url, name in links)
    gate = (
        f'<p class="small"><strong>The gate said</strong> of version {esc(one.champion)}: {esc(one.verdict)}</p>'
        if one.verdict
        else ""
    )
    why = f'<p class="small"><strong>Champion because</strong> {esc(one.reason)}</p>' if one.reason else ""
    ask = f"<h3>Ask it</h3><pre>{esc(curl)}</pre>" if curl else ""
    return f'<section><h2>More</h2>{why}{gate}<ul class="links">{listed}</ul>{ask}</section>'
