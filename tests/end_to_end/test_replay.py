"""The loop, closed on real years: a model ages and is replaced by a proven one; a broken sensor is not learnt from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from serving.ledger import Ledger
from serving.records import Records
from tests.conftest import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("replay")]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = make_project(tmp_path_factory.mktemp("replay"))
    yield made
    made.aiprime("down", check=False)


@pytest.fixture(scope="module")
def aged(played: Project) -> Any:
    """What a replay of the ageing model's first years came to."""
    return played.json("replay", "co2_raw", "--from", "1991", "--to", "1993", "--json", timeout=300)


def test_an_ageing_model_is_replaced_by_a_proven_one(played: Project, aged: Any) -> None:
    """The error passes its limit, one retrain is asked for, its version passes the gate, is rolled out, and the error falls."""
    assert aged["retrains"] == ["passed"]
    assert aged["champions"] == ["1", "2"]
    assert aged["called"] == []
    judged = [one for one in aged["windows"] if one["signals"]["quality"]["value"] is not None]
    alarmed = [one["signals"]["quality"]["value"] for one in judged if one["alarms"]]
    after = [one["signals"]["quality"]["value"] for one in judged if one["version"] == "2"]
    assert alarmed
    assert after
    assert after[-1] < min(alarmed) / 2


def test_every_decision_on_the_way_is_a_record(played: Project, aged: Any) -> None:
    """The ledger tells the story in order, each retrain names the window that made it start, and both chains hold."""
    ledger, records = Ledger.at(played.places.home), Records.at(played.places.home)
    history = ledger.history("co2_raw")
    kinds = [one.kind for one in history]
    story = ["replay", "window", "retrain", "registered", "exposed", "promoted", "replay"]
    places = [kinds.index("replay")]
    for kind in story[1:]:
        places.append(kinds.index(kind, places[-1] + 1))
    asked = next(one for one in history if one.kind == "retrain")
    by = next(one for one in history if one.sequence == asked.payload["cutoff"]["sequence"])
    assert by.kind == "window"
    assert "quality" in by.payload["alarms"]
    assert ledger.verify() is None
    assert records.verify() is None


def test_every_request_of_the_replay_is_kept(played: Project, aged: Any) -> None:
    """Each request that was answered has its record, and each truth is joined once it is known."""
    records = Records.at(played.places.home)
    kept = list(records.predictions("co2_raw"))
    answered = [one for one in kept if one.role != "shadow" and one.status == 200]
    assert len(answered) == aged["requests"]
    assert len({one.id for one in answered}) == aged["requests"]


def test_a_stuck_sensor_calls_a_person_and_promotes_nothing(played: Project, aged: Any) -> None:
    """Truth that stops moving raises an alarm, a person is called, and no version that learnt from it serves."""
    champion = Ledger.at(played.places.home).champion("co2_raw")
    done: Any = played.json(
        *("replay", "co2_raw", "--from", "1993", "--to", "1996", "--fault", "stuck@1994-06-01", "--json"), timeout=300
    )
    after = Ledger.at(played.places.home).champion("co2_raw")
    assert any("stuck" in said for said in done["called"])
    assert champion is not None
    assert after is not None
    assert after.version == champion.version
