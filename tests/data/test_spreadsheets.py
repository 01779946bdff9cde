"""What a spreadsheet would compute is text for it."""

from __future__ import annotations

import pandas as pd
import pytest

from data.spreadsheets import cell, harmless


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
def test_a_formula_becomes_text(text: str):
    """Text that begins as a formula does gets an apostrophe, in cells and in column names."""
    assert cell(text) == "'" + text
    made = harmless(pd.DataFrame({text: [text, None], "n": [-1.5, 2.0]}))
    assert made.to_dict("list") == {"'" + text: ["'" + text, None], "n": [-1.5, 2.0]}


@pytest.mark.parametrize("value", ["a=1", "", -5, -1.5, None, "mauna-loa"])
def test_everything_else_stays(value: object):
    """Numbers, missing values and other text are as they were."""
    assert cell(value) == value
