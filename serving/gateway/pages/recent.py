"""The latest answers of one model as a section of its page, each with its walk back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from serving.gateway.pages.markup import esc, milliseconds, moment, table

if TYPE_CHECKING:
    from serving.records import Prediction

SHOWN = 10


def recent(answers: Sequence[Prediction]) -> str:
    """Newest last in, newest first out; empty where there are none."""
    if not answers:
        return ""
    rows = [
        [
            moment(one.at),
            f'<a href="/why/{esc(one.id)}{"?role=shadow" if one.role == "shadow" else ""}"><code>{esc(one.id)}</code></a>',
            esc(one.version),
            esc(one.role),
            str(one.status),
            milliseconds(one.latency_ms),
        ]
        for one in reversed(answers)
    ]
    shown = table("Latest answers, newest first", ["when", "why it was answered so", "version", "as", "status", "ms"], rows)
    return f"<section><h2>Latest answers</h2>{shown}</section>"
