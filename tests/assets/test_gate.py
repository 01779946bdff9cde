"""The gate: one verdict per model, rival, rows, rules and cutoff."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from assets import signing
from data import cutoff
from data.cutoff import Cutoff
from data.errors import UserError
from data.files import write_json
from tests.assets.judged import CHANGED, DAYS, Workload, at

pytestmark = pytest.mark.slow
YEAR = Cutoff(until=at(CHANGED), window_s=60 * 86_400, reason="the first", sequence=3)
NOW = Cutoff(until=at(DAYS), window_s=60 * 86_400, frozen=(at(200), at(230)), reason="windows 7 and 8", sequence=9)


@pytest.fixture
def hand(fitted: Workload, tmp_path: Path) -> Workload:
    return fitted.copied(tmp_path)


def test_a_first_model_is_judged_once(hand: Workload):
    """Without a champion it need only beat the baseline; the verdict is kept, and asking again boots nothing."""
    hand.fit(1.5)
    judged = hand.judge()
    assert (judged.passed, judged.champion, judged.cutoff) == (True, None, None)
    assert judged.gate_window == [at(320).isoformat(), (at(399) + timedelta(seconds=1)).isoformat()]
    assert 0 < judged.latency_ms < 50
    hand.here.boots = False
    assert hand.judge() == judged


def test_a_worse_candidate_is_refused(hand: Workload):
    """A planted worse model does not pass against the champion, and the verdict names both losses."""
    hand.fit(1.5)
    champion = hand.promote()
    hand.fit(1.4)
    judged = hand.judge()
    assert (judged.passed, judged.champion) == (False, champion)
    assert "worse than the champion by more than 2.0%: mae on holdout" in judged.sentence


def test_the_cutoff_is_part_of_the_key(hand: Workload):
    """What made it start stands in the verdict; a new reason is judged anew, the same cutoff is not."""
    hand.fit(1.0, YEAR)
    judged = hand.judge()
    assert judged.cutoff == {"until": "2020-10-27T00:00:00Z", "window_s": 5_184_000, "reason": "the first", "sequence": 3}
    assert judged.gate_window == [at(240).isoformat(), (at(299) + timedelta(seconds=1)).isoformat()]
    cutoff.write(hand.here.places, "hand", YEAR.model_copy(update={"sequence": 4}))
    assert hand.judge().key != judged.key
    cutoff.write(hand.here.places, "hand", YEAR)
    hand.here.boots = False
    assert hand.judge() == judged


def test_what_wins_on_the_newest_may_not_forget_the_frozen(hand: Workload):
    """A candidate that is better on the newest window and much worse on the frozen rows is refused; the tolerance there is its own."""
    hand.fit(1.0, YEAR)
    hand.promote()
    hand.fit(1.5, NOW)
    judged = hand.judge()
    assert {one["window"]: one["rows"] for one in judged.comparisons if one["against"] == "champion"} == {
        "holdout": 60,
        "newest": 15,
        "frozen": 30,
    }
    assert not judged.passed
    assert judged.reasons[0].startswith("it is worse than the champion by more than 10.0%: mae on frozen")
    assert len(judged.reasons) == 1
    hand.write(promote="{frozen_tolerance: 1000}")
    hand.fit(1.5)
    assert hand.judge().passed


def test_results_that_do_not_belong_together_are_not_judged(hand: Workload):
    """A model that was changed after it was scored is refused before it is judged."""
    hand.fit(1.5)
    write_json(hand.here.places.store("hand") / "model" / "model.json", {})
    with pytest.raises(UserError, match="damaged"):
        hand.judge()


def test_a_champion_without_files_is_said(hand: Workload):
    """Where the champion's files are gone, the gate does not judge without it."""
    hand.fit(1.5)
    champion = hand.promote()
    shutil.rmtree(hand.here.places.models("hand", champion))
    hand.fit(1.6)
    with pytest.raises(UserError, match=f"the files of champion {champion} are gone"):
        hand.judge()


def test_the_champion_is_judged_against_the_one_it_replaced(hand: Workload):
    """The verdict that made a champion stands after its promotion: nothing is computed again."""
    hand.fit(1.4)
    first = hand.promote()
    hand.fit(1.5)
    judged = hand.judge()
    assert judged.champion == first
    hand.promote()
    hand.here.boots = False
    assert hand.judge() == judged


def test_a_champion_that_was_tampered_with_judges_nobody(hand: Workload):
    """Its files are not what was signed: the gate does not read them, and says so."""
    hand.fit(1.5)
    file = hand.here.places.models("hand", hand.promote()) / "model.json"
    file.write_text(file.read_text().replace('"x"', '"z"'))
    hand.fit(1.6)
    with pytest.raises(UserError, match=r"model\.json is not the file that was signed"):
        hand.judge()


def test_a_champion_that_cannot_be_asked_is_named(hand: Workload, monkeypatch: pytest.MonkeyPatch):
    """After a change of the inputs the candidate is compared with the baseline alone, and the verdict says why."""
    hand.fit(1.5)
    champion = hand.promote()
    file = hand.here.places.models("hand", champion) / "model.json"
    file.write_text(file.read_text().replace('"x"', '"z"'))
    monkeypatch.setattr(signing, "opened", lambda *_: file.parent)  # as if it had been registered so
    hand.fit(1.6)
    judged = hand.judge()
    assert f"champion {champion} cannot be asked" in judged.sentence
    assert [one["against"] for one in judged.comparisons] != ["champion"]
