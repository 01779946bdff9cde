"""The matrix says who holds what: every test that it names is there, and every row is held by some test, or says why not."""

import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults import reporting
from tests.faults.matrix import ROWS, rows_of


@pytest.mark.parametrize("number", ROWS)
def test_a_row_names_tests_that_exist(number: int):
    """A test that is renamed is renamed here too: a row that nobody holds must not look held."""
    for one in ROWS[number].elsewhere:
        file, _, name = one.partition("::")
        assert (ROOT / file).exists(), one
        assert not name or re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), one
        assert number in rows_of(f"{one}[case]")


def test_the_lines_of_a_test_are_one():
    """Cases of one test are added up, the longest recovery counts, and one broken case breaks the line."""

    class Config:
        @staticmethod
        def getoption(_: str) -> None: ...

    class Report:
        when, skipped, nodeid = "call", False, "tests/x.py::test_it[1]"

        def __init__(self, failed: bool, took: float) -> None:
            self.failed = failed
            told = json.dumps({"row": 8, "injections": 5, "lost": 0, "recovery_s": took})
            self.user_properties = [("row", 8), ("fault", told)]

    lines = reporting._Lines(Config())  # pyright: ignore[reportArgumentType]
    for failed, took in ((False, 2.0), (True, 1.0), (False, 0.5)):
        lines.pytest_runtest_logreport(Report(failed, took))  # pyright: ignore[reportArgumentType]
    (one,) = lines._lines.values()
    assert {name: one[name] for name in ("outcome", "injections", "lost", "recovery_s")} == {
        "outcome": "broken",
        "injections": 15,
        "lost": 0,
        "recovery_s": 2.0,
    }


def test_the_newest_line_of_a_test_is_kept(tmp_path: Path):
    """A fault that is run again replaces its line; others stay."""
    reporting.keep(tmp_path, [reporting.line(8, "a", "held", injections=1), reporting.line(9, "a", "held", injections=1)])
    reporting.keep(tmp_path, [reporting.line(8, "a", "broken", injections=2)])
    assert [(one["row"], one["outcome"], one["injections"]) for one in reporting.kept(tmp_path)] == [
        (8, "broken", 2),
        (9, "held", 1),
    ]
