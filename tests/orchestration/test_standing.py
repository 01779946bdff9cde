"""`aiprime status` says how each model stands, from the same view as its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.places import Places
from orchestration import report, standing
from serving import standing as facts
from tests.serving.standing.story import Story, years


def test_a_block_says_what_the_page_says(tmp_path: Path) -> None:
    """State, champion, challenger with its share, every signal with its state, truth, budget and the last decision stand in it."""
    told = years(tmp_path)
    text = standing.text(facts.plain(facts.read(told.ledger, told.records, "co2")))
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0].startswith("co2")
    assert "● healthy" in lines[0]
    expected = [
        ("champion", "version 3 since"),
        ("challenger", "version 4 at step 1, 10% of the requests"),
        ("quality", "ok"),
        ("volume", "ok"),
        ("traffic", "version 3 as champion: 60 requests, 0 errors"),
        ("truth", "known up to 2000-10-07T00:00:00Z"),
        ("retrains", "0 in 30 days of its data, 0 of 600 CPU seconds"),
        ("last", ""),
    ]
    for name, said in expected:
        assert any(line.startswith(name) and said in line for line in lines), name
    assert any("Version 4 answers 10% of the requests (step 1): no errors" in line for line in lines)


def test_an_alarm_shouts(tmp_path: Path) -> None:
    """A signal beyond its limit is in capitals, with what was seen and the limit."""
    told = Story(tmp_path)
    told.registered("1")
    told.promoted("1")
    told.window(1.5)
    text = standing.text(facts.plain(facts.read(told.ledger, told.records, "co2")))
    assert "▲ look at it: quality: mae mean loss 1.5 exceeds 1" in text
    assert "ALARM" in text


def test_a_model_that_never_served_has_a_block(tmp_path: Path) -> None:
    """A version that the gate refused, and nothing else, is no error."""
    told = Story(tmp_path)
    told.registered("1", passed=False)
    text = standing.text(facts.plain(facts.read(told.ledger, told.records, "co2")))
    assert "none: nothing serves" in text
    assert "the gate refused it" in text


def test_scripts_get_the_pages_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status is JSON, and `models` in it is what a client is given at the page's URL."""
    monkeypatch.delenv("AIPRIME_LEDGER_URL", raising=False)
    told = years(tmp_path)
    (tmp_path / "project" / "orchestration" / "workloads").mkdir(parents=True)
    found = report.status(Places(root=tmp_path / "project", home=tmp_path))
    told_again = facts.plain(facts.read(told.ledger, told.records, "co2", home=tmp_path))
    assert json.dumps(found["models"]) == json.dumps([told_again])
    assert "co2" in report.status_text(found)
