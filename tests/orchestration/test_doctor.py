"""`aiprime doctor` looks and does not touch."""

from pathlib import Path

import pytest

from data.places import Places
from orchestration.doctor import examine
from serving.ledger import Ledger

ROOT = Path(__file__).parents[2]


def found(places: Places, what: str) -> list[tuple[str, str]]:
    return [(one.state, one.said) for one in examine(places) if one.what == what]


def test_it_changes_nothing(tmp_path: Path):
    """A home that is not there is not made, and an empty one stays empty: no ledger appears by looking for it."""
    places = Places(root=ROOT, home=tmp_path / "home")
    [(state, said)] = found(places, "state")
    assert (state, said.endswith("does not exist yet: make run")) == ("note", True)
    assert not places.home.exists()
    places.home.mkdir()
    assert found(places, "ledger") == [("note", "nothing was decided yet: aiprime run NAME")]
    assert list(places.home.iterdir()) == []


def test_a_ledger_is_verified_and_missed(tmp_path: Path):
    """A chain that holds is good; one that was there and is gone is bad."""
    places = Places(root=ROOT, home=tmp_path)
    Ledger.at(tmp_path).promote("co2", "1", expected=None, reason="test")
    assert found(places, "ledger") == [("good", "the chain holds")]
    (tmp_path / "ledger.db").unlink()
    [(state, said)] = found(places, "ledger")
    assert state == "bad"
    assert "is gone" in said
    assert not (tmp_path / "ledger.db").exists()


def test_injected_faults_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With failpoints in the environment nothing is well, and it says which; without them it says nothing."""
    places = Places(root=ROOT, home=tmp_path / "home")
    assert found(places, "failpoints") == []
    monkeypatch.setenv("AIPRIME_FAILPOINTS", "after-train=SIGKILL")
    [(state, said)] = found(places, "failpoints")
    assert state == "bad"
    assert "faults are injected" in said
    assert "AIPRIME_FAILPOINTS=after-train=SIGKILL" in said
