"""The fault matrix (matrix.yaml) as rows, and which rows a test of another folder holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True, kw_only=True)
class Row:
    """A fault, what is right then, and who holds it: test ids (a folder, a file, or FILE::NAME); or why nothing can."""

    part: str
    fault: str
    right: str = ""
    elsewhere: tuple[str, ...] = ()
    not_held: str = ""


ROWS: dict[int, Row] = {
    number: Row(part=part, **{**row, "elsewhere": tuple(row.get("elsewhere", ()))})
    for part, rows in yaml.safe_load(Path(__file__).with_name("matrix.yaml").read_text()).items()
    for number, row in rows.items()
}


def rows_of(test: str) -> list[int]:
    """The rows that a test of another folder holds, by its id."""
    plain = test.partition("[")[0]
    return [
        number
        for number, row in ROWS.items()
        if any(plain == one or plain.startswith((f"{one}::", f"{one}/")) for one in row.elsewhere)
    ]
