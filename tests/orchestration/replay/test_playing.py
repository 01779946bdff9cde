"""A replay's slips and steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from assets.platform import Platform
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


def test_what_serves_is_not_put_back_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the champion has seen the years to be played, an earlier version takes its place only where a person says so."""
    monkeypatch.setenv("AIPRIME_HOME", str(tmp_path / "home"))
    places, platform = Places(root=ROOT, home=tmp_path / "home"), Platform()
    platform.ledger.record("registered", "co2", "1", {"cutoff": {"until": "1995-01-01T00:00:00Z"}})
    platform.ledger.promote("co2", "1", expected=None, reason="test")
    begins = pd.Timestamp("1991-01-01", tz="UTC")
    with pytest.raises(UserError, match="1995-01-01"):
        playing._prepare(load(places, "co2"), platform, begins, lambda *_: None, replace_champion=False)
    later = pd.Timestamp("1996-01-01", tz="UTC")
    known = playing._prepare(load(places, "co2"), platform, later, lambda *_: None, replace_champion=False)
    assert known == pd.Timestamp("1995-01-01", tz="UTC")


@pytest.mark.parametrize(("window", "expected"), [("8w", 14 * 86_400), (8, 14 * 86_400)])
def test_the_loop_turns_four_times_a_window(tmp_path: Path, window: str | int, expected: int) -> None:
    """Also where a window counts rows: eight rows of a weekly series are eight weeks."""
    spec = load(Places(root=ROOT, home=tmp_path), "co2")
    spec = spec.model_copy(update={"monitor": spec.monitor.model_copy(update={"window": window})})
    assert expected == playing.step_s(spec)
