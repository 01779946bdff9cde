"""The page of one answer: what was answered, what moved it, and where everything of it came from. For people who built none of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from serving.gateway.pages.markup import clock, esc, figure, frame, model_path, table
from serving.gateway.pages.waterfall import picture, said, waterfall

if TYPE_CHECKING:
    from serving.why import Step, Walk

Facts = Mapping[str, Any]
_LONGEST = 400  # characters of one fact
_MOST_ROWS = 50  # of a batch, linked


def page(walk: Walk, explanation: Facts | None, unexplained: str) -> str:
    """The page; `explanation` where it was asked for and made, `unexplained` why there can be none."""
    row = f", row {walk.row} of {walk.rows}" if walk.rows > 1 else ""
    title = f"Why {walk.workload} answered this"
    head = (
        f'<header><nav><a href="/">AI Prime</a> / <a href="{esc(model_path(walk.workload))}">{esc(walk.workload)}</a> / why</nav>'
        f'<h1>{esc(title)}</h1><span class="soft">prediction <code>{esc(walk.prediction_id)}</code>{esc(row)}</span></header>'
    )
    steps = "".join(_step(number, one) for number, one in enumerate(walk.steps, 1))
    body = (
        f"{head}<main>{_answer(walk)}{_explained(walk, explanation, unexplained)}"
        f'<section><h2>Where it came from</h2><p class="soft small">From the request back to the data, and to what turned out true. Each step names '
        f'the record that says so; what is not there any more is marked as gone.</p><ol class="walk">{steps}</ol></section>{_more(walk)}</main>'
        "<footer>Times are UTC. In a terminal: <code>aiprime why "
        f"{esc(_id(walk))}</code></footer>"
    )
    return frame(f"{title}: AI Prime", body)


def _answer(walk: Walk) -> str:
    cells = [_predicted(one, walk) for one in walk.predicted[:8]]
    if not cells:
        gone = walk.step("request").gone
        what = "gone" if gone else f"no answer: status {walk.status}"
        cells = [("The answer", what, gone or "")]
    role = {"champion": "the champion", "challenger": "a challenger on trial", "shadow": "a shadow: nobody was given this"}[
        walk.role
    ]
    cells += [
        ("Answered by", f"version {walk.version}", role),
        ("Asked", walk.at[:10], f"{walk.at[11:19]} UTC"),
        ("What turned out true", *_truth(walk)),
    ]
    shown = "".join(
        f'<div><dt>{esc(name)}</dt><dd class="big">{esc(big)}</dd><dd class="small soft">{esc(more)}</dd></div>'
        for name, big, more in cells
    )
    return f'<dl class="facts">{shown}</dl>'


def _predicted(one: Facts, walk: Walk) -> tuple[str, str, str]:
    if "label" in one:
        more = f"with a probability of {one['confidence']:.0%}" if "confidence" in one else ""
        return walk.target, str(one["label"]), more
    name = (
        f"{walk.target} for {one['target_time'][:16].replace('T', ' ').removesuffix(' 00:00')}"
        if "target_time" in one
        else walk.target
    )
    between = (
        f"between {figure(one['low'])} and {figure(one['high'])}, it expects, 8 times of 10"
        if "low" in one and "high" in one
        else ""
    )
    return name, f"{one['prediction']:.5g}", between


def _truth(walk: Walk) -> tuple[str, str]:
    labels = walk.step("label").facts.get("labels", ())
    if walk.step("label").gone:
        return "gone", ""
    if not labels:
        return "not known yet", ""
    first = labels[0]["value"]
    return (f"{first:.5g}" if isinstance(first, float) else str(first)), "more below" if len(labels) > 1 else ""


def _explained(walk: Walk, explanation: Facts | None, unexplained: str) -> str:
    if explanation is not None:
        return "".join(_one(walk, one, explanation) for one in explanation["answers"])
    if unexplained:
        return (
            f'<section><h2>What moved this answer</h2><p class="loud">It cannot be explained: {esc(unexplained)}.</p></section>'
        )
    return (
        "<section><h2>What moved this answer</h2><p>The model can be asked again, many times, with some of the inputs as usual: so it shows which "
        f'of them mattered.</p><p><a class="go" href="{esc(_path(walk, explain=True))}">Explain this answer</a> '
        '<span class="soft small">takes some seconds</span></p></section>'
    )


def _one(walk: Walk, one: Facts, explanation: Facts) -> str:
    share = one["label"] is not None
    drawn = waterfall(one) if one["inputs"] else ""
    drawn += "".join(f"{picture(each)}" for each in one["pictures"])
    moved = one["answer"] - one["base"]
    usual = f"Its usual answer is {said(one['base'], share)} (the mean over {explanation['usual_rows']} rows that it was trained on); this one is {said(one['answer'], share)}."
    read = (
        "Each bar is one input: blue, to the right, raises the answer; orange, to the left, lowers it. Under its name stands what it was, and what it "
        "usually is. Diamonds: what a second method makes of it."
        if one["inputs"]
        else "Blue parts of the picture speak for this answer, orange ones against it; the stronger the colour, the more."
    )
    rank = one["agreement"]["rank"]
    agreed = f"rank correlation {rank:.2f}; " if rank is not None else ""
    agreed += f"{one['agreement']['shared']} of the {one['agreement']['top']} weightiest {'inputs' if one['inputs'] else 'parts'} are the same"
    rows = [
        [
            esc(i["label"]),
            f"<code>{esc(i['name'])}</code>",
            esc(i["value"]),
            esc(i["usual"]),
            said(i["shap"], share, signed=True),
            said(i["lime"], share, signed=True),
        ]
        for i in one["inputs"]
    ]
    details = (
        f"<details><summary>All {len(rows)} inputs</summary>{table('All inputs', ['input', 'column', 'it was', 'usually', 'moved the answer by', 'second opinion'], rows)}</details>"
        if rows
        else ""
    )
    return (
        f"<section><h2>What moved the {esc(one['name'])}</h2><p>{usual} Together the inputs moved it by {said(moved, share, signed=True)}.</p>"
        f'<p class="soft small">{read}</p>{drawn}<p><strong>Can this be relied on?</strong> {esc(one["agreement"]["said"])} <span class="soft small">({agreed})</span></p>'
        f'{details}<p class="soft small">It says what the model made of its inputs, not what causes what. {esc(explanation["method"])}; second opinion: {esc(explanation["second"])}; '
        f"{explanation['seconds']:.1f} s.</p></section>"
    )


def _step(number: int, one: Step) -> str:
    gone = f'<p class="loud">Gone: {esc(one.gone)}.</p>' if one.gone else ""
    links = "".join(f' <a href="{esc(url)}">{esc(name)}</a>' for name, url in one.links.items() if _plain_link(url))
    facts = "".join(
        f"<dt>{esc(name.replace('_', ' '))}</dt><dd>{_fact(value)}</dd>"
        for name, value in one.facts.items()
        if value not in (None, "", [], {})
    )
    more = f'<details><summary>All that is recorded</summary><dl class="record">{facts}</dl></details>' if facts else ""
    return (
        f'<li id="{esc(one.name)}"><h3>{number}. {esc(one.title)}</h3><p>{esc(one.said)}{links}</p>{gone}'
        f'<p class="soft small">from {esc(one.source)}</p>{more}</li>'
    )


def _fact(value: Any) -> str:
    if isinstance(value, Mapping) and value and not any(isinstance(each, Mapping | list) for each in value.values()):
        rows = "".join(f"<tr><td>{esc(name)}</td><td>{esc(_text(each))}</td></tr>" for name, each in value.items())
        return f'<div class="wide"><table>{rows}</table></div>'
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return "<br>".join(esc(each) for each in value)
    return f"<code>{esc(_text(value))}</code>"


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _plain_link(url: str) -> bool:
    """Other people's text may stand where a link should: only pages are linked."""
    return url.startswith(("http://", "https://")) or (url.startswith("/") and not url.startswith("//"))


def _more(walk: Walk) -> str:
    others = "".join(
        f'<li><a href="{esc(_path(walk, role=one["role"]))}">as {esc(one["role"])}: version {esc(one["version"])}, status {one["status"]}</a> {clock(one["at"])}</li>'
        for one in walk.others
    )
    others = f'<h3>Other answers to the same request</h3><ul class="links">{others}</ul>' if others else ""
    rows = "".join(
        f'<li><a href="/why/{esc(walk.prediction_id)}/{n}">row {n}</a></li>'
        for n in range(min(walk.rows, _MOST_ROWS))
        if n != walk.row
    )
    rows = f'<h3>Other rows of the same request</h3><ul class="links">{rows}</ul>' if rows else ""
    kinds = {"prov-json": "W3C PROV as JSON", "prov-n": "W3C PROV-N", "openlineage": "OpenLineage events"}
    exports = "".join(f'<li><a href="{esc(_path(walk, as_=kind))}">{name}</a></li>' for kind, name in kinds.items())
    return f'<section><h2>More</h2>{others}{rows}<h3>For machines</h3><ul class="links">{exports}</ul></section>'


def _id(walk: Walk) -> str:
    return f"{walk.prediction_id}/{walk.row}" if walk.rows > 1 else walk.prediction_id


def _path(walk: Walk, *, role: str | None = None, explain: bool = False, as_: str | None = None) -> str:
    role = role or (walk.role if walk.others else None)
    asked = [f"role={quote(role)}"] if role else []
    asked += ["explain=1"] if explain else []
    asked += [f"as={as_}"] if as_ else []
    return f"/why/{_id(walk)}" + (f"?{'&'.join(asked)}" if asked else "")
