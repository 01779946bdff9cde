"""docs/track-record.md from the lines that the tests of faults left: `python -m benchmarks.track_record [FOLDER]` (docs/track-record).

One table by row of the matrix: what was injected, what came of it, when, and the command that does it again. Then the bugs that were found.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from tests.faults import reporting
from tests.faults.matrix import ROWS

HERE = Path(__file__).parents[1]
FOLDER = HERE / "docs" / "track-record"
HEAD = """# Track record

What was broken on purpose, and what came of it. Written by `python -m benchmarks.track_record` from the lines that `make faults` leaves in
`docs/track-record/`; [operating](guide/operating.md#breaking-it-on-purpose) says how to add to them. *Unknown*: a request that was cut off may
have had its effect or not; it counts neither as lost nor as kept. *Recovery*: the longest, in seconds. A row that was not run says so, and why;
it never counts as passed. Zero of N means: with 95% confidence fewer than 3/N.
"""


def main(folder: Path) -> None:
    """Render the folder's lines."""
    lines = reporting.kept(folder)
    by_row: dict[int, list[dict[str, Any]]] = {}
    for one in lines:
        by_row.setdefault(one["row"], []).append(one)
    notes = folder / "notes.md"
    said = [HEAD, *_sums(lines), *(["", notes.read_text().strip()] if notes.is_file() else [])]
    part = ""
    for number, row in ROWS.items():
        if row.part != part:
            part = row.part
            said += [
                "",
                f"## {part}",
                "",
                "| # | fault | injected | acknowledged | lost | unknown | recovery | | last run |",
                "|" + "---|" * 9,
            ]
        said += _rows(number, by_row.get(number, []))
    said += ["", *_bugs(folder)]
    (HERE / "docs" / "track-record.md").write_text("\n".join(said) + "\n")


def _sums(lines: list[dict[str, Any]]) -> list[str]:
    held = {one["row"] for one in lines if one["outcome"] == "held"}
    broken = sorted({one["row"] for one in lines if one["outcome"] == "broken"})
    count = sum(
        one.get("injections") or 0 for one in lines if one["outcome"] != "broken" and not one["outcome"].startswith("not run")
    )
    said = f"{len(held)} of {len(ROWS)} rows were run, {count:,} injections in all, lost: {sum(one.get('lost') or 0 for one in lines)}."
    return [
        said
        + (f" **Broken: {', '.join(map(str, broken))}.**" if broken else "")
        + " Again: `make faults`, one row: `make faults ROW=24`."
    ]


def _rows(number: int, lines: list[dict[str, Any]]) -> list[str]:
    row = ROWS[number]
    ran = [one for one in lines if not one["outcome"].startswith("not run")]
    title = f"{row.fault}: {row.right}" if row.right else row.fault
    if not ran:
        why = next((one["outcome"] for one in lines), f"not run: {row.not_held}" if row.not_held else "not run yet")
        return [f"| {number} | {title} | | | | | | {_cell(why)} | |"]
    plain = [one for one in ran if not _told(one)]
    shown = [_line(one) for one in ran if _told(one)]
    if plain:  # tests that count nothing but themselves
        broken = [one["test"] for one in plain if one["outcome"] == "broken"]
        held = f"held by {len(plain)}{' more' if shown else ''} test{'s' if len(plain) > 1 else ''}"
        said = f"broken: {', '.join(broken)}" if broken else held
        count = sum(one["injections"] for one in plain)
        shown.append([f"{count:,}", "", "", "", "", said, max(one["at"] for one in plain)])
    skipped = [one["outcome"] for one in lines if one not in ran]
    shown += [["", "", "", "", "", why, ""] for why in dict.fromkeys(skipped)]
    first, *rest = shown
    return [
        f"| {number} | {title} | " + " | ".join(map(_cell, first)) + " |",
        *("| | | " + " | ".join(map(_cell, one)) + " |" for one in rest),
    ]


def _told(one: dict[str, Any]) -> bool:
    return one.get("lost") is not None


def _line(one: dict[str, Any]) -> list[Any]:
    figures = [_number(one.get(name)) for name in ("injections", "acknowledged", "lost", "unknown")]
    took = "" if one.get("recovery_s") is None else f"{one['recovery_s']:g} s"
    said = [one["outcome"] if one["outcome"] == "broken" else "", one.get("what") or "", one.get("said") or ""]
    return [*figures, took, "; ".join(filter(None, said)), one["at"]]


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _bugs(folder: Path) -> list[str]:
    """The bugs that breaking things found, each with the command that would show it again."""
    bugs = yaml.safe_load((folder / "bugs.yaml").read_text())
    head = [
        "## Bugs found",
        "",
        "Each failed before it was mended, and is run with every `make test` or `make faults`.",
        "",
        "| # | what | found | again |",
        "|---|---|---|---|",
    ]
    return head + [
        f"| {n} | {_cell(one['what'])} | {one['found']} | `python -m pytest -n 0 {one['again']}` |"
        for n, one in enumerate(bugs, 1)
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
