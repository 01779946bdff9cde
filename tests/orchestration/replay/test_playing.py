"""A replay's slips and steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assets.spec import load
from data.errors import UserError
from data.places import Places
from orchestration.replay import playing
from serving.ledger import Ledger
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("workload", "slip"),
    [("co2", {"fault": "lightning"}), ("co2", {"end": "1980"}), ("co2", {"end": "soon"}), ("digits", {})],
)
def test_a_slip_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workload: str, slip: dict[str, Any]) -> None:
    """What cannot be played is refused before a champion for it is trained and put in the place of the one that serves."""
    monkeypatch.setenv("AIPRIME_HOME", str(tmp_path / "home"))
    places = Places(root=ROOT, home=tmp_path / "home")
    told: list[str] = []
    with pytest.raises(UserError):
        playing.replay(places, workload, "1991", told=lambda what, _: told.append(what), **slip)
    assert told == []
    assert Ledger.at(places.home).history() == []
    assert not (places.home / "supervisor").exists()  # no service was started for it


@pytest.mark.parametrize(("window", "expected"), [("8w", 14 * 86_400), (8, 14 * 86_400)])
def test_the_loop_turns_four_times_a_window(tmp_path: Path, window: str | int, expected: int) -> None:
    """Also where a window counts rows: eight rows of a weekly series are eight weeks."""
    spec = load(Places(root=ROOT, home=tmp_path), "co2")
    spec = spec.model_copy(update={"monitor": spec.monitor.model_copy(update={"window": window})})
    assert expected == playing.step_s(spec)
