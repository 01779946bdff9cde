"""One line for each fault: what was injected, what was acknowledged, lost and unknown, and how long the recovery took.

A test says `@pytest.mark.fault(24)` for the rows of the matrix (tests/faults/matrix.py) that it holds, and may tell its figures through the
fixture `track`; tests of other folders are named in the matrix. The lines are printed at the end of the session, and with AIPRIME_TRACK=FOLDER
kept in FOLDER/lines.jsonl. `pytest --faults all`, or the numbers of rows, runs those tests and no others, the long ones (`@pytest.mark.long`)
too; without it the long ones are left out.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults import matrix

FIGURES = ("seeds", "injections", "acknowledged", "lost", "unknown", "recovery_s")
ROUNDS = int(os.environ.get("AIPRIME_ROUNDS", "1"))
Fact = dict[str, Any]


def kept(folder: Path) -> list[Fact]:
    """The lines of a folder, each row's and test's newest."""
    file = folder / "lines.jsonl"
    lines = [json.loads(one) for one in file.read_text().splitlines()] if file.is_file() else []
    newest = {(one["row"], one["test"]): one for one in lines}
    return sorted(newest.values(), key=lambda one: (one["row"], one["test"]))


def keep(folder: Path, lines: Sequence[Fact]) -> None:
    """Add lines to a folder's; those of the same row and test are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {(one["row"], one["test"]): one for one in [*kept(folder), *lines]}
    (folder / "lines.jsonl").write_text("".join(json.dumps(written[key], ensure_ascii=False) + "\n" for key in sorted(written)))


def line(row: int, test: str, outcome: str, **figures: Any) -> Fact:
    """A line as it is kept: `outcome` is held, broken, or `not run: WHY`."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    stamp = {"at": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": done.stdout.strip() or "none", "cores": os.cpu_count()}
    return {"row": row, "test": test, "outcome": outcome, **figures, **stamp, "python": platform.python_version()}


def said(one: Fact) -> str:
    """The line, for a terminal."""
    figures = ", ".join(f"{name} {one[name]}" for name in FIGURES if one.get(name) is not None)
    what = one.get("what") or matrix.ROWS[one["row"]].fault
    more = f" ({one['said']})" if one.get("said") else ""
    return f"fault {one['row']:>2}  {one['outcome']}: {what}: {figures}{more}"


@pytest.fixture
def track(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Tell what a test of a fault found: `track(injections=5, lost=0, recovery_s=1.2)`, `row=` where it holds several."""

    def told(*, row: int | None = None, **figures: Any) -> None:
        rows = [row] if row is not None else [n for mark in request.node.iter_markers("fault") for n in mark.args]
        for number in rows:
            record_property("fault", json.dumps({"row": number, **figures}))

    return told


# -- pytest's hooks


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", help="only the tests of the fault matrix: all, or rows such as 8,24")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(row, ...): holds these rows of the fault matrix (tests/faults/matrix.py)")
    config.addinivalue_line("markers", "long: takes minutes; `make faults` runs it, `make test` does not")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Lines(config), "fault lines")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = config.getoption("--faults")
    wanted = None if asked is None else {*matrix.ROWS} if asked == "all" else {int(one) for one in asked.split(",")}
    chosen, left = [], []
    for item in items:
        rows = [*_marked(item), *matrix.rows_of(item.nodeid)]
        for row in rows:
            item.user_properties.append(("row", row))
        right = item.get_closest_marker("long") is None if wanted is None else bool(wanted & {*rows})
        (chosen if right else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = chosen


def _marked(item: pytest.Item) -> Iterator[int]:
    for mark in item.iter_markers("fault"):
        yield from mark.args


class _Lines:
    """Gathers the lines where the session is controlled, also from xdist's workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._folder = os.environ.get("AIPRIME_TRACK")
        self._asked = config.getoption("--faults")
        self._lines: dict[tuple[int, str], Fact] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        skipped = report.skipped and report.when in ("setup", "call")
        if not (report.when == "call" or skipped or report.failed):
            return
        place = report.longrepr if skipped else None  # of a skipped test: file, line and why
        why = str(place[2]).removeprefix("Skipped: ").removeprefix("not run: ") if isinstance(place, tuple | list) else ""
        outcome = f"not run: {why}" if skipped else "broken" if report.failed else "held"
        told = [json.loads(str(value)) for name, value in report.user_properties if name == "fault"]
        test = report.nodeid.partition("[")[0]
        for row in {int(str(value)) for name, value in report.user_properties if name == "row"}:
            mine = [one for one in told if one["row"] == row]
            for one in mine or ([] if told else [{"injections": 1}]):
                self._add(row, test, outcome, one)

    def _add(self, row: int, test: str, outcome: str, figures: Fact) -> None:
        key = (row, f"{test} {figures['what']}" if figures.get("what") else test)
        before = self._lines.get(key)
        figures = {name: value for name, value in figures.items() if name != "row"}
        if before is not None:  # a test of many cases is one line
            figures = _together(before, figures)
            outcome = max(before["outcome"], outcome, key=lambda one: (one == "broken", one == "held"))
        self._lines[key] = line(row, key[1], outcome, **figures)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        lines = [self._lines[key] for key in sorted(self._lines)]
        if lines and (self._asked or self._folder):
            terminalreporter.section("faults")
            for one in lines:
                terminalreporter.write_line(said(one))
        if self._folder:
            keep(Path(self._folder), lines)


def _together(before: Fact, figures: Fact) -> Fact:
    counts = {name: (before.get(name) or 0) + figures[name] for name in FIGURES[1:5] if figures.get(name) is not None}
    longest = [one for one in (before.get("recovery_s"), figures.get("recovery_s")) if one is not None]
    same = {name: before[name] for name in (*FIGURES, "what", "said") if name in before and name not in figures}
    return same | figures | counts | ({"recovery_s": max(longest)} if longest else {})
