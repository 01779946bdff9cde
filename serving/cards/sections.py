"""A card in the order that a person reads it: sections of lines and tables. The page and the Markdown are drawn from the same."""

from __future__ import annotations

from dataclasses import dataclass

from serving.cards.reading import Card, beginning, contents, licence, ours
from serving.cards.wanted import completeness

_SHORT = 12  # of a digest, where the whole is in the document
_COST = {"fit-seconds": "seconds of the fit", "cpu-seconds": "CPU seconds of the whole run", "energy": "energy"}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, what is said under it, and a table with its head."""

    title: str
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    folded: bool = False  # long, and for few readers


def sections(card: Card) -> list[Section]:
    """The whole card."""
    return [
        _uses(card),
        _limits(card),
        *_scores(card),
        _gate(card),
        _data(card),
        _columns(card),
        _checks(card),
        _training(card),
        _shape(card),
        _origin(card),
        _libraries(card),
        _whole(card),
    ]


def _uses(card: Card) -> Section:
    found = card.considerations
    lines = (*found.get("useCases", ()), *(f"Asked by {one}." for one in found.get("users", ())))
    return Section(title="What it is for", lines=(*lines, *found.get("performanceTradeoffs", ())))


def _limits(card: Card) -> Section:
    people = [one["name"] for one in card.considerations.get("ethicalConsiderations", ())]
    said = people or ["Whether persons are in the data, and what an error does to them, is not stated (`card.people`)."]
    return Section(title="Where it ends", lines=(*card.considerations.get("technicalLimitations", ()), *said))


def _scores(card: Card) -> list[Section]:
    """The gate's metric, slice by slice, against the baseline; then all other metrics."""
    metric, baseline = card.facts.get("metric", ""), card.facts.get("baseline", "")
    theirs = {(one["type"], one["slice"]): one["value"] for one in card.metrics if one["slice"].endswith(f", {baseline}")}
    first, rest = [], []
    for one in card.metrics:
        if " minus that of " in one["type"] or (one["type"], one["slice"]) in theirs:
            continue
        held = theirs.get((one["type"], f"{one['slice']}, {baseline}"), "–")
        row = (one["type"], one["slice"], one["value"], _interval(one), held)
        (first if one["type"] == metric else rest).append(row)
    columns = ("metric", "slice", "model", f"{_confidence(card)} interval", baseline)
    return [
        Section(title="Scores", columns=columns, rows=tuple(first)),
        Section(title="All other scores", columns=columns, rows=tuple(rest), folded=True),
    ]


def _gate(card: Card) -> Section:
    rows = tuple(
        (one["type"], one["slice"], one["value"], _interval(one)) for one in card.metrics if " minus that of " in one["type"]
    )
    champion = card.facts.get("champion", "")
    lines = [f"At its registration: {card.facts.get('verdict', 'no verdict is known')}."]
    lines.append(f"Compared with champion version {champion}." if champion.isalnum() else f"Champion: {champion}.")
    if window := card.facts.get("gate-window"):
        lines.append(f"Judged on truths from {window}.")
    if reason := card.facts.get("retrain-reason"):
        lines.append(f"It was trained because: {reason}.")
    return Section(
        title="The gate",
        lines=tuple(lines),
        columns=("difference (below zero is better)", "on", "value", f"{_confidence(card)} interval"),
        rows=rows,
    )


def _data(card: Card) -> Section:
    dataset, examples = card.component("data:dataset"), contents(card.component("data:features"))
    files = ", ".join(f"{one['name']} (sha256 {_first(one)})" for one in card.components("source:"))
    lines = [
        f"{card.data.get('rows', '?')} rows; period: {card.data.get('period', 'unknown')}.",
        f"Origin: {dataset.get('description') or 'not stated (`card.data_origin`)'}.",
        f"Licence: {licence(dataset) or 'not stated (`card.data_license`)'}.",
        f"Files: {files}.",
        f"DVC: dataset md5 {_first(dataset)}, examples md5 {_first(card.component('data:features'))}.",
    ]
    rows = tuple((name, value) for name, value in beginning(examples, "rows:").items())
    return Section(title="Data", lines=tuple(lines), columns=("side of the split", "examples"), rows=rows)


def _columns(card: Card) -> Section:
    rows = [(name, *value.partition(": ")[::2]) for name, value in beginning(card.data, "column:").items()]
    return Section(
        title="Columns and their ranges", columns=("column", "kind", "found"), rows=tuple(rows), folded=len(rows) > 12
    )


def _checks(card: Card) -> Section:
    rows = tuple((value,) for value in beginning(card.data, "check:").values())
    return Section(
        title="Checks of the data", lines=(f"{card.data.get('checks', 'none')}.",), columns=("check",), rows=rows, folded=True
    )


def _training(card: Card) -> Section:
    named = {"seed": "seed", "steps": "steps", "training-rows": "training rows", "precision": "precision", "trials": "trials"}
    rows = [(title, card.facts[name]) for name, title in named.items() if name in card.facts]
    rows += list(beginning(card.facts, "hyperparameter:").items())
    spent = ours(card.considerations.get("environmentalConsiderations") or {})
    rows += [(title, spent[name]) for name, title in _COST.items() if name in spent]
    architecture = card.parameters.get("modelArchitecture", "")
    return Section(
        title="Training",
        lines=(f"{architecture}, {card.parameters.get('task', '')}.",),
        columns=("what", "value"),
        rows=tuple(rows),
    )


def _shape(card: Card) -> Section:
    sides = (("in", "inputs"), ("out", "outputs"))
    rows = tuple((side, *one["format"].rpartition(": ")[::2]) for side, name in sides for one in card.parameters.get(name, ()))
    return Section(title="Inputs and outputs", columns=("", "name", "kind"), rows=rows, folded=True)


def _origin(card: Card) -> Section:
    changes = card.facts.get("changes", "unknown")
    lines = [
        f"Licence: {licence(card.model) or 'not stated (`card.license`)'}.",
        f"Digest sha256 {_first(card.model)}: {card.facts.get('digest-of', '')}.",
        f"Commit {card.facts.get('commit', 'unknown')}, uncommitted changes: {changes}.",
        f"MLflow run {card.facts.get('run', 'unknown')}.",
        f"Lock sha256 {card.facts.get('lock', 'unknown')}.",
    ]
    rows = tuple(
        (one["name"], ours(one).get("bytes", ""), _first(one))
        for one in (*card.model.get("components", ()), *card.components("lock:"))
    )
    return Section(title="Where it came from", lines=tuple(lines), columns=("file", "bytes", "sha256"), rows=rows)


def _libraries(card: Card) -> Section:
    rows = tuple((one["name"], one["version"], licence(one) or "–") for one in card.components("library:"))
    return Section(title="Made with", columns=("library", "version", "licence"), rows=rows, folded=True)


def _whole(card: Card) -> Section:
    found = completeness(card)
    lines = [f"{found.score} of 100: {found.wanted - len(found.missing)} of {found.wanted} wanted fields."]
    if found.missing:
        lines.append(f"Missing: {', '.join(found.missing)}.")
    lines.append(f"Card made {card.made[:19]} UTC, sha256 {card.digest}.")
    return Section(title="Completeness", lines=tuple(lines))


def _interval(metric: dict[str, object]) -> str:
    found = metric.get("confidenceInterval")
    return f"{found['lowerBound']} to {found['upperBound']}" if isinstance(found, dict) else "–"


def _confidence(card: Card) -> str:
    try:
        return f"{float(card.facts.get('confidence', '')):.0%}"
    except ValueError:
        return "unknown"


def _first(component: dict[str, object]) -> str:
    found = component.get("hashes")
    return found[0]["content"][:_SHORT] if isinstance(found, list) and found else "none"
