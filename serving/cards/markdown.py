"""A card as Markdown, with the front matter that Hugging Face's hub reads where its names fit (huggingface.co/docs/hub/model-cards)."""

from __future__ import annotations

import json

from serving.cards.reading import Card, licence
from serving.cards.sections import Section, sections

_SIGNS = str.maketrans({one: f"\\{one}" for one in "\\`*_{}[]<>#|~"} | {"\n": " ", "\r": " "})
_TASKS = {
    "forecasting": "time-series-forecasting",
    "regression": "tabular-regression",
    "classification": "tabular-classification",
}


def markdown(card: Card) -> str:
    """The whole card; what others wrote (names of columns, descriptions) cannot become markup."""
    parts = [_front(card), f"# {esc(card.name)} {esc(card.version)}", esc(str(card.model.get("description", "")))]
    return "\n\n".join([*parts, *map(_section, sections(card))]) + "\n"


def esc(text: str) -> str:
    """Text that stands for itself."""
    return text.translate(_SIGNS)


def _section(one: Section) -> str:
    parts = [f"## {esc(one.title)}"]
    if one.lines:
        parts.append("\n".join(f"- {esc(line)}" for line in one.lines))
    if one.rows:
        table = [one.columns, tuple("---" for _ in one.columns), *one.rows]
        parts.append("\n".join(f"| {' | '.join(esc(cell) if row != table[1] else cell for cell in row)} |" for row in table))
    return "\n\n".join(parts)


def _front(card: Card) -> str:
    """YAML, each value written as JSON, which YAML reads: no text can end it or mean anything else."""
    task, family = str(card.parameters.get("task", "")), str(card.parameters.get("architectureFamily", ""))
    fields: dict[str, object] = {
        "license": licence(card.model).lower() or "unknown",
        "library_name": "onnx",
        "pipeline_tag": "image-classification" if family == "vision" else _TASKS.get(task, task),
        "tags": [family, task, "ai-prime"],
        "datasets": [card.component("data:dataset").get("name", "unknown")],
        "metrics": sorted({one["type"] for one in card.metrics if " minus that of " not in one["type"]}),
        "model_name": f"{card.name} {card.version}",
    }
    written = {name: json.dumps(value, ensure_ascii=True).replace("<", "\\u003c") for name, value in fields.items()}
    return "\n".join(["---", *(f"{name}: {value}" for name, value in written.items()), "---"])
