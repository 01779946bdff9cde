"""How a model stands, read from records that were written through the ledger's own door."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.ledger import Ledger
from serving.records import Records
from serving.standing import Standing, plain, read
from tests.serving.standing.story import Story, signal, window, years


@pytest.fixture
def told(tmp_path: Path) -> Story:
    one = Story(tmp_path)
    one.registered("1")
    one.promoted("1")
    return one


def stand(told: Story, **more: int) -> Standing:
    return read(told.ledger, told.records, told.workload, **more)


def test_a_whole_story(tmp_path: Path) -> None:
    """Champion, challenger with its share, windows, retrains of the budget, traffic and decisions, as the records say."""
    found = stand(years(tmp_path))
    assert (found.champion, found.previous, found.challenger, found.share, found.step) == ("3", "1", "4", 0.1, 1)
    assert (len(found.windows), found.state, found.metric) == (40, "ok", "mae")
    assert [(one.kind, one.failed) for one in found.marks if one.kind == "retrain"] == [("retrain", True), ("retrain", False)]
    assert {(one.version, one.role): one.requests for one in found.arms} == {("3", "champion"): 60, ("4", "challenger"): 6}
    assert found.requests == 66
    assert found.told[0].what == "Version 4 answers 10% of the requests (step 1)"
    assert found.run_url == "http://127.0.0.1:5000/#/models/co2/versions/3"


def test_nothing_seen_is_grey(told: Story) -> None:
    """A model without a window is neither green nor red."""
    assert stand(told).state == "unknown"


def test_what_another_version_did_is_not_its(told: Story) -> None:
    """After a promotion the old version's alarm does not make the new one red, nor its well-being green."""
    told.window(2.0)
    assert stand(told).state == "alarm"
    told.promoted("2")
    assert stand(told).state == "unknown"


def test_no_data_is_red(told: Story) -> None:
    """A window without data is red, whatever else it says."""
    told.window(0.5, rows=0)
    assert stand(told).state == "alarm"


def test_unknown_signals_are_never_green(told: Story) -> None:
    """A window in which nothing could be judged is grey."""
    unknown = signal("unknown", "too few rows")
    told.window(None, estimate=unknown, drift=unknown)
    assert stand(told).state == "unknown"


def test_a_call_stays_until_somebody_acts(told: Story) -> None:
    """What a person was called for makes the model red until a promotion or a retrain follows."""
    told.called("the labels look wrong: stuck")
    told.window(1.5)
    assert (stand(told).state, stand(told).call) == ("alarm", "the labels look wrong: stuck")
    told.promoted("2")
    assert stand(told).call == ""


def test_a_call_is_over_when_a_window_is_well(told: Story) -> None:
    """A window that is not red after the call ends it: what it was about has passed."""
    told.called("the labels look wrong: stuck")
    told.window(0.5)
    assert (stand(told).state, stand(told).call) == ("ok", "")


def test_the_budget_is_that_of_thirty_days(told: Story) -> None:
    """Retrains of the 30 days of event time before the last window count; older ones do not."""
    told.retrained(told.window(1.2), "2", cpu_s=100)
    for _ in range(6):
        told.window(0.5)
    told.retrained(told.window(1.2), "3", cpu_s=40)
    found = stand(told).retrains
    assert (found.count, found.used_cpu_s, found.budget_cpu_s) == (1, 40, 600)


def test_a_replay_begins_anew(told: Story) -> None:
    """Windows from before a replay's start are not drawn with its own, and its end hides none of them."""
    told.window(0.5)
    told.ledger.record("replay", "co2", "", {"state": "started", "from": "1991-01-01", "to": "1995-01-01", "after": 0})
    told.window(0.6)
    told.window(0.7)
    told.ledger.record("replay", "co2", "", {"state": "ended", "from": "1991-01-01", "to": "1995-01-01", "after": 0})
    found = stand(told)
    assert [one.signal("quality").value for one in found.windows] == [0.6, 0.7]
    assert found.replayed == ("1991-01-01", "1995-01-01")


def test_what_is_read_is_bounded(told: Story) -> None:
    """However many windows there are, the newest `windows` are read."""
    for n in range(12):
        told.window(0.1 * n)
    assert [one.signal("quality").value for one in stand(told, windows=3).windows] == pytest.approx([0.9, 1.0, 1.1])


def test_a_record_of_an_older_version_is_read(told: Story) -> None:
    """A window without rules, with unknown signals and fields, is shown as far as it goes."""
    payload = window(0) | {"signals": {"novel": signal("alarm", "something new")}}
    del payload["rules"]
    told.window(payload=payload)
    found = stand(told)
    assert (found.state, found.said) == ("alarm", "novel: something new")
    assert found.retrains.budget_cpu_s is None


def test_another_workload_is_not_read(told: Story) -> None:
    """Only the workload's own records are told."""
    other = Story(told.home, "bikes")
    other.window(5.0, version="7")
    other.called("come")
    found = stand(told)
    assert (found.windows, found.call) == ((), "")


def test_the_plain_form_is_json(tmp_path: Path) -> None:
    """The facts go through JSON, times as ISO 8601."""
    found = json.loads(json.dumps(plain(stand(years(tmp_path)))))
    assert found["windows"][0]["start"] == "2000-01-01T00:00:00Z"
    assert found["windows"][0]["red"] is False


def test_a_home_without_anything(tmp_path: Path) -> None:
    """A workload that nothing was decided about stands as unknown, with nothing serving."""
    found = read(Ledger.at(tmp_path), Records.at(tmp_path), "nothing")
    assert (found.state, found.said, found.told) == ("unknown", "nothing serves", ())
