"""The release: whatever is decided, in whatever order, there is one champion, at most one challenger, and no held one comes back."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import UserError
from serving.chain import Decision
from serving.ledger import Conflict, Ledger
from serving.release import CHANGES, Release, fold, refusal
from tests.serving.cut_off import FORKED

VERSIONS = st.sampled_from(["1", "2", "3", "4"])
ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(-2, 3), st.floats(allow_nan=True), st.text(max_size=2))
PAYLOADS = st.one_of(
    st.fixed_dictionaries(
        {"step": st.integers(0, 3), "share": st.floats(0, 1), "shadow": st.just(False), "after": st.integers(0, 100)}
    ),
    st.fixed_dictionaries({"step": st.just(0), "share": st.just(0.0), "shadow": st.just(True), "after": st.integers(0, 100)}),
    st.dictionaries(st.sampled_from(["step", "share", "shadow", "after", "holds"]), ANYTHING),
    st.fixed_dictionaries({"holds": st.lists(VERSIONS, max_size=2)}),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Decision]:
    kinds = st.sampled_from([*CHANGES, "exposed", "exposed", "rolled_back", "registered", "window", "deployed"])
    told = draw(st.lists(st.tuples(kinds, VERSIONS, PAYLOADS), max_size=30))
    return [decision(n, kind, version, payload) for n, (kind, version, payload) in enumerate(told, 1)]


def decision(sequence: int, kind: Any, version: str, payload: dict[str, Any] | None = None, workload: str = "co2") -> Decision:
    return Decision(
        kind=kind,
        workload=workload,
        version=version,
        payload=payload or {},
        actor="test",
        key=str(sequence),
        sequence=sequence,
        at=f"2026-01-01T00:00:{sequence:02}",
    )


def told(*decisions: tuple[Any, ...]) -> Release:
    return fold("co2", [decision(n, *one) for n, one in enumerate(decisions, 1)])


SHADOW = {"step": 0, "share": 0.0, "shadow": True, "after": 7}
CANARY = {"step": 1, "share": 0.1, "shadow": False, "after": 40}


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])  # the first draw makes the tables of text
@given(histories())
def test_no_history_gives_a_release_that_must_not_be(history: list[Decision]) -> None:
    """No sequence of decisions gives a held challenger, two arms of one version, an arm without a champion, or a share outside [0, 1]."""
    for length in range(len(history) + 1):
        release = fold("co2", history[:length])
        assert release.challenger is None or release.challenger not in release.held
        assert release.challenger is None or release.challenger != release.champion
        assert release.challenger is None or release.champion is not None
        assert release.previous is None or release.previous != release.champion
        assert release.previous not in release.held
        assert 0 <= release.share <= 1
        assert not (release.shadow and release.share)
        assert release.challenger is not None or (release.share, release.shadow, release.approved) == (0, False, False)


@given(histories())
def test_the_fence_moves_with_every_change_and_with_nothing_else(history: list[Decision]) -> None:
    """The fence is the newest decision that changed the release: another decision leaves every field as it was."""
    before = fold("co2", [])
    for n, one in enumerate(history, 1):
        after = fold("co2", history[:n])
        refused = refusal(before, one.kind, one.version, one.payload) is not None
        assert (after == before) if refused else (after.fence == one.sequence)
        before = after


@given(st.lists(st.tuples(st.sampled_from(["promoted", "retired"]), VERSIONS), max_size=12))
def test_the_champion_is_the_ledgers(history: list[tuple[str, str]]) -> None:
    """The folded champion is the newest promotion's version, unless it was retired after."""
    expected = None
    for kind, version in history:
        expected = version if kind == "promoted" else None if version == expected else expected
    assert told(*history).champion == expected


def test_a_rollout_ends_in_a_promotion() -> None:
    """A challenger that is promoted is the champion, and the one that it replaced is where a rollback leads."""
    release = told(("promoted", "1"), ("exposed", "2", SHADOW), ("exposed", "2", CANARY))
    assert (release.champion, release.challenger, release.step, release.share) == ("1", "2", 1, 0.1)
    assert (release.after, release.begun, release.fence) == (40, 7, 3)
    done = told(("promoted", "1"), ("exposed", "2", SHADOW), ("exposed", "2", CANARY), ("promoted", "2"))
    assert (done.champion, done.previous, done.challenger, done.share) == ("2", "1", None, 0.0)


def test_what_was_rolled_back_is_held() -> None:
    """A challenger that was rolled back is not exposed again; another version is, and a person may still promote it."""
    back = [("promoted", "1"), ("exposed", "2", SHADOW), ("rolled_back", "2")]
    assert told(*back).held == {"2"}
    assert told(*back, ("exposed", "2", SHADOW)) == told(*back)
    assert told(*back, ("exposed", "3", SHADOW)).challenger == "3"
    assert told(*back, ("promoted", "2")).held == frozenset()


def test_a_champion_that_was_rolled_back_is_held() -> None:
    """Going back to the version before holds the one that was left, and there is then nothing to go back to."""
    release = told(("promoted", "1"), ("promoted", "2"), ("promoted", "1", {"holds": ["2"]}))
    assert (release.champion, release.previous, release.held) == ("1", None, {"2"})


def test_approval_is_for_one_challenger() -> None:
    """An approval holds through the challenger's steps, and not for the next challenger."""
    one = [("promoted", "1"), ("exposed", "2", SHADOW), ("approved", "2"), ("exposed", "2", CANARY)]
    assert told(*one).approved
    assert not told(*one, ("exposed", "3", SHADOW)).approved
    assert not told(("promoted", "1"), ("exposed", "2", SHADOW), ("approved", "3")).approved


def test_a_pause_keeps_versions_from_being_exposed() -> None:
    """While a release is paused no version is put at a step; what is exposed stays, and a rollback still counts."""
    paused = [("promoted", "1"), ("exposed", "2", SHADOW), ("paused", "2")]
    assert told(*paused, ("exposed", "2", CANARY)) == told(*paused)
    assert told(*paused, ("rolled_back", "2")).challenger is None
    assert told(*paused, ("resumed", "2"), ("exposed", "2", CANARY)).share == 0.1


# -- compare-and-set


@pytest.fixture
def ledger(database: Path | str) -> Ledger:
    made = Ledger(database)
    made.promote("co2", 1, expected=None, reason="the first")
    return made


def test_a_change_on_an_outdated_fence_is_refused(ledger: Ledger) -> None:
    """A change that looked at an older release raises Conflict, says what happened, and leaves nothing; records of others do not matter."""
    seen = ledger.release("co2").fence
    ledger.record("window", "co2", "1", {"red": True})
    ledger.promote("bikes", 1, expected=None, reason="another workload")
    ledger.change("exposed", "co2", 2, SHADOW, expected=seen)
    with pytest.raises(Conflict, match="version 2 was exposed by aiprime") as raised:
        ledger.change("paused", "co2", 2, expected=seen)
    assert raised.value.champion == "1"
    assert len(ledger.history("co2")) == 3
    assert ledger.verify() is None


def test_a_change_that_would_be_none_is_refused(ledger: Ledger) -> None:
    """Exposing a held version, or rolling back what is no challenger, is a person's mistake and leaves no record."""
    fence = ledger.change("exposed", "co2", 2, SHADOW, expected=1).sequence
    with pytest.raises(UserError, match="not the challenger"):
        ledger.change("rolled_back", "co2", 3, expected=fence)
    fence = ledger.change("rolled_back", "co2", 2, expected=fence).sequence
    with pytest.raises(UserError, match="held"):
        ledger.change("exposed", "co2", 2, SHADOW, expected=fence)
    with pytest.raises(UserError, match="share"):
        ledger.change("exposed", "co2", 3, {**CANARY, "share": 1.5}, expected=fence)
    assert ledger.release("co2").fence == fence == ledger.newest()


def test_a_release_changes_by_compare_and_set_alone(ledger: Ledger) -> None:
    """`record` refuses what would change a release past the fence, and `change` refuses a promotion."""
    for kind in ("exposed", "rolled_back", "paused", "resumed", "approved", "promoted"):
        with pytest.raises(ValueError, match="cannot be recorded"):
            ledger.record(kind, "co2", 2)
    with pytest.raises(ValueError, match="promote"):
        ledger.change("promoted", "co2", 2, expected=1)


def test_a_promotion_by_the_fence_loses_to_a_rollback(ledger: Ledger) -> None:
    """A promotion that looked before the challenger was rolled back raises Conflict though the champion is the one it expected."""
    fence = ledger.change("exposed", "co2", 2, SHADOW, expected=1).sequence
    ledger.change("rolled_back", "co2", 2, expected=fence)
    with pytest.raises(Conflict, match="rolled_back"):
        ledger.promote("co2", 2, expected=1, reason="all is well", fence=fence)
    assert ledger.release("co2").champion == "1"


def decide(
    ledger: Ledger,
    kind: str,
    start: threading.Barrier,
    won: list[str],
    lost: list[Conflict],
    *,
    version: int,
    fence: int,
    champion: str | None,
) -> None:
    start.wait()
    try:
        if kind == "promoted":
            ledger.promote("co2", version, expected=champion, reason="x", fence=fence)
        else:
            ledger.change("rolled_back", "co2", version, expected=fence)
        won.append(kind)
    except Conflict as conflict:
        lost.append(conflict)


def test_of_two_changes_at_once_one_wins(ledger: Ledger) -> None:
    """Of a promotion and a rollback by threads at the same moment exactly one wins and the other meets Conflict, every time."""
    for version in range(2, 22):
        fence = ledger.change("exposed", "co2", version, SHADOW, expected=ledger.release("co2").fence).sequence
        champion = ledger.release("co2").champion
        won: list[str] = []
        lost: list[Conflict] = []
        start = threading.Barrier(2)
        seen = {"version": version, "fence": fence, "champion": champion}
        kinds = ("promoted", "rolled_back")
        both = [threading.Thread(target=decide, args=(ledger, kind, start, won, lost), kwargs=seen) for kind in kinds]
        for one in both:
            one.start()
        for one in both:
            one.join()
        assert (len(won), len(lost)) == (1, 1)
        release = ledger.release("co2")
        assert release.champion == (str(version) if won == ["promoted"] else champion)
        assert (str(version) in release.held) == (won == ["rolled_back"])
    assert ledger.verify() is None


LOST = 3  # an exit code


def test_of_many_processes_one_exposes(database: Path | str, ledger: Ledger) -> None:
    """Of six processes that expose a version each on the same fence exactly one wins."""
    ready = FORKED.Barrier(6)

    def expose(version: int) -> None:
        mine = Ledger(database)
        fence = mine.release("co2").fence
        ready.wait(60)
        try:
            mine.change("exposed", "co2", version, {"step": 0, "share": 0.1, "after": 0}, expected=fence)
        except Conflict:
            sys.exit(LOST)

    several = [FORKED.Process(target=expose, args=(version,), daemon=True) for version in range(2, 8)]
    for one in several:
        one.start()
    for one in several:
        one.join(60)
    ended = [one.exitcode for one in several]
    assert sorted(map(str, ended)) == ["0"] + [str(LOST)] * 5
    assert ledger.release("co2").challenger == str(2 + ended.index(0))
    assert len(ledger.history("co2", "exposed")) == 1
