"""Whom the loop calls, how often, and what it does where it cannot go on. The ledger is real."""

from __future__ import annotations

import pytest

from assets import alerts, loop, monitoring
from assets.spec import Spec
from assets.trigger import Answer
from assets.windows import Signal
from serving.ledger import Decision
from tests.assets.judged import Here
from tests.assets.test_loop import ALARM, DAY_S, asked, closed, end, here, last, spec, turn

__all__ = ["here"]
SUSPECT = {"truth": Signal(state="alarm", said="stuck"), "quality": Signal(state="ok", said="")}
WELL = {"truth": Signal(state="ok", said=""), "quality": Signal(state="ok", said="")}
UNKNOWN = {"truth": Signal(state="unknown", said=""), "quality": Signal(state="unknown", said="")}


def answer(rules: Spec, here: Here) -> Answer:
    return loop._answer(rules, here.ledger, here)  # pyright: ignore[reportArgumentType]  (a platform of the same contract)


def decided(here: Here, signals: dict[str, Signal]) -> None:
    window = closed(here, last(here), signals)
    rules = spec(k=1, n=1)
    loop._act(rules, here, window, answer(rules, here))  # pyright: ignore[reportArgumentType]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(alerts, "call", lambda _places, _workload, what: said.append(what))
    return said


def test_a_second_fault_is_told_too(here: Here, told: list[str]) -> None:
    """One call while the labels look wrong, also over a window without truth; they are mended; when they break again, another."""
    for signals in (SUSPECT, SUSPECT, UNKNOWN, SUSPECT):
        decided(here, signals)
    assert len(told) == 1
    decided(here, WELL)
    decided(here, SUSPECT)
    assert len(told) == 2


def test_the_breaker_calls_once(here: Here, told: list[str]) -> None:
    """elec2, replayed: a person was called each week anew, for a good week lay between. No window mends a breaker, a retrain does."""

    def day(signals: dict[str, Signal]) -> None:
        window, rules = closed(here, last(here), signals), spec(k=1, n=1, breaker=1, cooldown="1h")
        loop._act(rules, here, window, answer(rules, here))  # pyright: ignore[reportArgumentType]  (a platform of the same contract)

    day(ALARM)
    end(here, asked(here)[-1], "refused")
    for signals in (ALARM, WELL, ALARM, WELL, ALARM):
        day(signals)
    assert len(told) == 1
    assert "did not pass" in told[0]


def test_a_retrain_that_cannot_be_asked_for_is_told_and_ends_nothing(
    here: Here, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dataset is gone: each window is judged and declined on record, and a person is called once."""
    (here.places.store("hand") / "dataset.parquet").unlink()
    monkeypatch.setattr(
        monitoring, "look", lambda *_, clock=None: closed(here, last(here), ALARM) if last(here) is None else None
    )
    assert turn(spec(k=1, n=1), here).retrain is None
    decided(here, ALARM)
    kinds = [one.kind for one in here.ledger.history("hand")]
    assert kinds == ["promoted", "window", "called", "declined", "window", "declined"]
    assert [one.partition(":")[0] for one in told] == ["no retrain can be asked for"]


def test_every_is_counted_from_the_first_window_also_behind_many(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision reads the newest windows only, and a retrain is due all the same when the first of all is old enough."""
    monkeypatch.setattr(loop, "_BACK", 3)
    rules = spec(every="10d", on=["drift"])
    for _ in range(9):
        closed(here, last(here), WELL)
        assert not answer(rules, here).fire
    closed(here, last(here), WELL)
    assert answer(rules, here).fire
    assert "one is due every 10d" in answer(rules, here).reasons[0]


def test_late_truth_is_learnt_from_as_it_comes(here: Here) -> None:
    """Truth that is weeks late is new when it lies behind what the last retrain knew, not behind the day on which that was asked for."""
    rules = spec(k=1, n=1, cooldown="1d")

    def late() -> Decision | None:
        window = closed(here, last(here), ALARM, late_s=5 * DAY_S)
        return loop._act(rules, here, window, answer(rules, here))  # pyright: ignore[reportArgumentType]

    assert late() is not None
    end(here, asked(here)[0])
    assert late() is not None
