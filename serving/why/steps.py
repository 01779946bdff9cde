"""The walk as plain frozen values. Knows not where they come from, nor how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step back: `title` in everyday words, `said` in a sentence, `source` the record that says so.

    `facts` are JSON values by machine name, `links` URLs by name. `gone` says what is not there any more and why (None: all of it is).
    """

    name: str
    title: str
    said: str
    source: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    gone: str | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """What an explanation is asked of: a version's folder, the digest that it must have, its usual inputs, and the row."""

    folder: str
    digest: str
    background: str
    row: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One row of one prediction. `predicted` are its quantities; `others` what else is kept of the same request: roles and versions.

    `question` is None where this answer cannot be explained; `unexplained` then says why.
    """

    prediction_id: str
    row: int
    rows: int
    role: str
    workload: str
    version: str
    at: str  # of the answer, UTC, ISO 8601
    status: int
    sequence: int
    task: str
    target: str
    predicted: tuple[Mapping[str, Any], ...]
    others: tuple[Mapping[str, Any], ...]
    steps: tuple[Step, ...]
    question: Question | None = None
    unexplained: str = ""

    def step(self, name: str) -> Step:
        """The step of that name."""
        return next(one for one in self.steps if one.name == name)


def plain(walk: Walk, explanation: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """For a script: the same facts, and the explanation where there is one."""
    found = asdict(walk)
    del found["question"]
    return found | {"explanation": explanation}
