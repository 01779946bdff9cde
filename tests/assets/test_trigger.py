"""The trigger: a retrain is asked for where the windows say so and no guard rail holds it back."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.trigger import MONTH_S, Attempt, RetrainSection, Seen, decide

DAY_S = 86_400.0


def windows(*alarms: tuple[str, ...], version: str = "1", window_s: float = DAY_S) -> list[Seen]:
    return [Seen(sequence=i + 1, end=(i + 1) * window_s, version=version, alarms=one) for i, one in enumerate(alarms)]


BAD, GOOD = ("quality",), ()
SECTION = RetrainSection()


def ask(section: RetrainSection, seen: list[Seen], attempts: list[Attempt] | None = None, champion: str = "1"):
    return decide(section, seen, attempts or [], champion=champion, window_s=DAY_S)


def test_two_of_three_with_the_latest_fire() -> None:
    """k of n windows and the latest violating: one bad window, or one that is over, asks for nothing."""
    assert ask(SECTION, windows(GOOD, BAD, BAD)).fire
    assert ask(SECTION, windows(BAD, GOOD, BAD)).fire
    assert not ask(SECTION, windows(GOOD, GOOD, BAD)).fire
    assert not ask(SECTION, windows(BAD, BAD, GOOD)).fire
    assert not ask(SECTION, windows(BAD, BAD, GOOD, GOOD, BAD)).fire
    assert not ask(SECTION, []).fire


def test_windows_of_an_earlier_champion_do_not_count() -> None:
    """A new champion is judged on its own windows alone."""
    seen = [*windows(BAD, BAD), replace(windows(BAD, BAD, BAD)[2], version="2")]
    assert not ask(SECTION, seen, champion="2").fire


def test_one_is_due_every_so_often_without_an_alarm() -> None:
    """`every` counts from the last retrain, or from the first window's begin, and the guard rails hold for it too."""
    section = RetrainSection(every="4d")
    assert not ask(section, windows(GOOD, GOOD, GOOD)).fire
    due = ask(section, windows(GOOD, GOOD, GOOD, GOOD))
    assert due.fire
    assert not due.alarm
    assert due.reasons == ("the last retrain is 4 days ago, and one is due every 4d",)
    learnt = [Attempt(at=DAY_S, state="passed")]
    assert not ask(section, windows(GOOD, GOOD, GOOD, GOOD), learnt).fire
    assert ask(section, windows(GOOD, GOOD, GOOD, GOOD, GOOD), learnt).fire
    held = ask(RetrainSection(every="4d", enabled=False), windows(GOOD, GOOD, GOOD, GOOD))
    assert not held.fire
    assert not ask(SECTION, windows(*[GOOD] * 100)).fire


def test_only_the_named_signals_ask_for_a_retrain() -> None:
    """Drift is shown, and does not retrain unless the YAML says so."""
    seen = windows(("drift",), ("drift",))
    assert not ask(SECTION, seen).fire
    assert ask(RetrainSection(on=("drift",)), seen).fire


@pytest.mark.parametrize(
    ("section", "attempts", "said"),
    [
        (RetrainSection(enabled=False), [], "off"),
        (SECTION, [Attempt(at=0.5 * DAY_S, state="passed")], "cooldown"),
        (RetrainSection(cooldown="1h"), [Attempt(at=0, state="running")], "in progress"),
        (RetrainSection(cooldown="1h", budget_cpu_s=10), [Attempt(at=0, state="passed", cpu_s=11)], "budget"),
        (RetrainSection(cooldown="1h", breaker=1), [Attempt(at=0, state="refused")], "a person must look"),
    ],
)
def test_each_guard_rail_holds_a_retrain_back(section: RetrainSection, attempts: list[Attempt], said: str) -> None:
    """Each guard rail, alone, turns the request down and says which it was."""
    answer = ask(section, windows(BAD, BAD), attempts)
    assert not answer.fire
    assert answer.alarm
    assert said in "; ".join(answer.reasons)


def test_the_breaker_calls_a_person_and_a_person_closes_it() -> None:
    """After `breaker` failures in a row a person is called; a retrain by a person begins the count anew."""
    section = RetrainSection(cooldown="1h", breaker=2)
    failed = [Attempt(at=-9 * DAY_S, state="refused"), Attempt(at=-8 * DAY_S, state="failed")]
    assert ask(section, windows(BAD, BAD), failed).call
    assert ask(section, windows(BAD, BAD), [*failed, Attempt(at=-7 * DAY_S, state="passed", by_person=True)]).fire


def test_labels_that_look_broken_are_not_learnt_from() -> None:
    """A suspicion about the truth calls a person and holds a retrain back, whatever the windows say."""
    seen = windows(BAD, BAD, BAD)
    seen[-1] = replace(seen[-1], suspect="stuck at 355.2 since 1995-03-04")
    answer = ask(SECTION, seen)
    assert not answer.fire
    assert "stuck" in answer.call


def test_a_challenger_on_its_way_comes_first() -> None:
    """While a version is being rolled out no other is asked for: it would take its place again and again."""
    answer = decide(SECTION, windows(BAD, BAD), [], champion="1", window_s=DAY_S, challenger="2")
    assert not answer.fire
    assert "version 2 is on its way" in "; ".join(answer.reasons)


def test_a_budget_of_thirty_days_is_free_again_after_them() -> None:
    """What was spent longer than 30 days ago does not count."""
    old = [Attempt(at=2 * DAY_S - MONTH_S - 1, state="passed", cpu_s=1e6)]
    assert ask(RetrainSection(cooldown="1h"), windows(BAD, BAD), old).fire


@given(st.lists(st.booleans(), min_size=1, max_size=400), st.integers(1, 40))
def test_a_storm_of_alarms_gives_one_retrain_per_cooldown(bad: list[bool], cooldown_days: int) -> None:
    """However the alarms fall, two retrains are never closer than the cooldown, and none follows a quiet window."""
    section = RetrainSection(cooldown=f"{cooldown_days}d", budget_cpu_s=1e9, breaker=10**6)
    seen = windows(*[BAD if one else GOOD for one in bad])
    attempts: list[Attempt] = []
    for count in range(1, len(seen) + 1):
        if ask(section, seen[:count], attempts).fire:
            assert bad[count - 1]
            attempts.append(Attempt(at=seen[count - 1].end, state="refused"))
    gaps = [later.at - earlier.at for earlier, later in pairwise(attempts)]
    assert all(gap >= cooldown_days * DAY_S for gap in gaps)
