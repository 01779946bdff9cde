"""Planted sensor faults: wrong from their date on, and nowhere else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from data.faults import Fault, plant

START = pd.Timestamp("2000-01-01", tz="UTC")


def series(n: int = 60) -> pd.DataFrame:
    return pd.DataFrame(
        {"t": pd.date_range(START, periods=n, freq="D"), "y": np.sin(np.arange(n)) + np.arange(n) / 10, "e": "a"}
    )


def planted(fault: Fault, table: pd.DataFrame, at: int = 30) -> np.ndarray:
    found = plant(table, fault, target="y", time="t", entity="e", start=table["t"].iloc[at])
    return (found["y"] - table["y"]).to_numpy()


def test_what_a_person_writes_is_read() -> None:
    """Kind, size and date, each of the last two where it is wanted."""
    assert Fault.parse("stuck") == Fault(kind="stuck")
    assert Fault.parse("offset:4@1995-01-01") == Fault(kind="offset", size=4, at=pd.Timestamp("1995-01-01", tz="UTC"))
    assert Fault.parse("drift:0.2").size == 0.2


@pytest.mark.parametrize("text", ["", "smoke", "offset:much", "stuck:3", "drift@yesterdayish"])
def test_what_is_no_fault_is_said(text: str) -> None:
    """A word, size or date that cannot be meant is refused with an example that works."""
    with pytest.raises(UserError, match="fault"):
        Fault.parse(text)


@given(st.integers(1, 59), st.floats(-5, 5).filter(lambda size: abs(size) > 1e-3))
def test_an_offset_moves_what_follows_by_its_size(at: int, size: float) -> None:
    """Before its date nothing moves, from it on everything by the same."""
    moved = planted(Fault(kind="offset", size=size), series(), at)
    assert np.allclose(moved[:at], 0)
    assert np.allclose(moved[at:], size)


def test_a_drift_grows_with_each_step() -> None:
    """The first wrong value is off by one size, the tenth by ten."""
    moved = planted(Fault(kind="drift", size=0.5), series())
    assert np.allclose(moved[:30], 0)
    assert np.allclose(moved[30:], 0.5 * np.arange(1, 31))


def test_a_stuck_sensor_keeps_its_last_right_value() -> None:
    """Each series sticks at its own last value, and the table that was given is left as it was."""
    table = pd.concat([series(), series().assign(e="b", y=7.0)], ignore_index=True)
    before = table.copy()
    found = plant(table, Fault(kind="stuck"), target="y", time="t", entity="e", start=START + pd.Timedelta(days=30))
    late = found[found["t"] >= START + pd.Timedelta(days=30)]
    assert late[late["e"] == "a"]["y"].nunique() == 1
    assert set(late[late["e"] == "b"]["y"]) == {7.0}
    pd.testing.assert_frame_equal(table, before)


def test_classes_have_no_sensor() -> None:
    """A fault of numbers planted into class labels is refused."""
    with pytest.raises(UserError, match="class"):
        plant(series().assign(y="up"), Fault(kind="stuck"), target="y", time="t", entity="e", start=START)
