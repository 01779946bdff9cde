"""The loop's decision is made once, however many make it, and whoever dies while it is made. The ledger and the leases are real."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from assets import lease, loop, monitoring
from assets.spec import Spec
from assets.windows import Signal, Window
from data.places import Places
from serving import retrains
from serving.ledger import Decision
from tests.assets.judged import Here
from tests.serving.cut_off import FORKED

DAY_S = 86_400.0
BEGIN = 1e9
# docs/log.md has the long run: AIPRIME_ROUNDS=20 AIPRIME_STORM=1000
AT_ONCE, ROUNDS, STORM = 50, int(os.environ.get("AIPRIME_ROUNDS", "5")), int(os.environ.get("AIPRIME_STORM", "300"))


def spec(**rules: Any) -> Spec:
    columns = {"day": "time", "x": "number", "y": "number"}
    data = {"source": "x.csv", "target": "y", "time": "day", "columns": columns}
    attributes = {"name": "hand", "family": "tabular", "task": "regression", "data": data}
    return Spec.model_validate({**attributes, "monitor": {"window": "1d"}, "retrain": {"holdout": 0.2, **rules}})


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """A workload with a champion, and a dataset to cut."""
    import pandas as pd

    places = Places(root=tmp_path, home=tmp_path / "home")
    places.store("hand").mkdir(parents=True)
    days = pd.date_range("2000-01-01", periods=10, freq="D", tz="UTC")
    pd.DataFrame({"day": days}).to_parquet(places.store("hand") / "dataset.parquet")
    made = Here(places)
    made.ledger.promote("hand", "1", expected=None, reason="test")
    return made


def last(here: Here) -> Window | None:
    return monitoring._last(here.ledger, "hand", monitoring.epoch_of(here.ledger, "hand"))


ALARM = {"quality": Signal(state="alarm", said="")}


def closed(here: Here, before: Window | None = None, signals: Mapping[str, Signal] = ALARM, *, late_s: float = 0.0) -> Window:
    """The day after a window, with truth so late, recorded as a look records it: once, for the record that it follows."""
    number = round((before.end - BEGIN) / DAY_S) if before else 0
    start = BEGIN + number * DAY_S
    window = Window(
        workload="hand",
        version="1",
        start=start,
        end=start + DAY_S,
        labels_from=start - late_s,
        labels_to=start + DAY_S - late_s,
        sequence=number + 1,
        rows=10,
        labelled=10,
        signals=signals,
    )
    follows = before.seen if before else monitoring.epoch_of(here.ledger, "hand").decision
    return monitoring._record(here, window, follows)  # pyright: ignore[reportArgumentType]


def days(here: Here, count: Callable[[], int]) -> Callable[..., Window | None]:
    """In place of a look at the records: `count` days, and each ends in an alarm."""

    def look(*_: Any, clock: float | None = None) -> Window | None:
        before = last(here)
        return closed(here, before) if before is None or before.end < BEGIN + count() * DAY_S else None

    return look


def turn(rules: Spec, here: Here) -> loop.Turn:
    return loop.turn(rules, here)  # pyright: ignore[reportArgumentType]  (a platform of the same contract)


def asked(here: Here) -> list[Decision]:
    return [one for one in here.ledger.history("hand", "retrain") if "of" not in one.payload]


def end(here: Here, of: Decision, state: str = "passed") -> None:
    key = f"retrain:{of.sequence}:ended"
    here.ledger.record("retrain", "hand", "", {"of": of.sequence, "state": state, "cpu_s": 0.1}, key=key)


def at_once(work: Callable[[], None], count: int = AT_ONCE) -> Iterator[None]:
    """`count` processes that all do `work` at the same moment, once for each step of the iterator."""
    gate, failed = FORKED.Barrier(count + 1), FORKED.Value("i", 0)

    def run() -> None:
        for _ in range(ROUNDS):
            gate.wait(60)
            try:
                work()
            except BaseException:
                failed.value = 1
                raise
            finally:
                gate.wait(60)

    processes = [FORKED.Process(target=run, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        for _ in range(ROUNDS):
            gate.wait(60)
            gate.wait(60)
            assert not failed.value
            yield
    finally:
        for process in processes:
            process.join(10)
            process.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_triggers_at_once_ask_for_one_retrain(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty processes turn the loop on the same alarm at the same moment: one request, twenty times over."""
    day = FORKED.Value("i", 1)
    rules = spec(k=1, n=1, cooldown="1h", budget_cpu_s=1000)
    monkeypatch.setattr(monitoring, "look", days(here, lambda: day.value))
    turn(rules, here)  # what it imports is imported before the others are forked
    end(here, asked(here)[-1])
    day.value += 1
    for number, _ in enumerate(at_once(lambda: turn(rules, here) and None)):
        requests = asked(here)
        assert len(requests) == number + 2
        end(here, requests[-1])
        day.value += 1
    assert here.ledger.verify() is None
    assert [one.kind for one in here.ledger.history("hand")].count("declined") == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_runs_at_once_train_one_at_a_time(here: Here, tmp_path: Path) -> None:
    """Fifty processes want the workload's lease at the same moment: never do two have it, and somebody always does."""
    inside, held = tmp_path / "inside", FORKED.Value("i", 0)

    def train() -> None:
        try:
            with lease.within(here.places.home, "hand", str(os.getpid())):
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # FileExistsError where another trains
                with held:
                    held.value += 1
                inside.unlink()
        except lease.Busy:
            pass

    before = 0
    for _ in at_once(train):
        assert held.value > before
        assert not inside.exists()
        before = held.value


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_storm_of_alarms_is_one_retrain_in_each_cooldown(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of alarms that two processes work off beside each other: what is asked for lies a cooldown apart or more."""
    storm, cooldown = STORM, 10
    rules = spec(cooldown=f"{cooldown}d", budget_cpu_s=1000)
    monkeypatch.setattr(monitoring, "look", days(here, lambda: storm))

    def work_off() -> None:
        while True:
            done = turn(rules, here)
            if done.retrain is not None:
                end(here, done.retrain)
            elif not done.windows:
                return

    processes = [FORKED.Process(target=work_off) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(500)
    assert [process.exitcode for process in processes] == [0, 0]
    windows = {one.sequence: one.payload["end"] for one in here.ledger.history("hand", "window")}
    assert len(windows) == storm
    at = [windows[one.payload["cutoff"]["sequence"]] for one in asked(here)]
    assert storm / cooldown / 2 <= len(at) <= storm / cooldown
    assert all(later - earlier >= cooldown * DAY_S for earlier, later in pairwise(at))


def test_deciders_of_different_windows_ask_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who decides on a window while another decides on the next one knows of the same last retrain: one request between them."""
    rules = spec(k=1, n=1)
    first = closed(here)
    answer = loop._answer(rules, here.ledger, here)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(monitoring, "look", days(here, lambda: 2))
    other = turn(rules, here)  # meanwhile; it decides, and so does who closed the next window
    mine = loop._act(rules, here, first, answer)  # pyright: ignore[reportArgumentType]
    assert other.retrain is not None
    assert mine == other.retrain
    assert len(asked(here)) == 1


def test_a_decision_that_was_cut_off_is_made_by_the_next_turn(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who closed a window died before deciding: the next turn decides on it, once, though nothing new came."""
    closed(here)
    monkeypatch.setattr(monitoring, "look", days(here, lambda: 1))
    rules = spec(k=1, n=1)
    done = turn(rules, here)
    assert done.retrain is not None
    assert done.windows == ()
    assert turn(rules, here).retrain is None
    assert len(asked(here)) == 1
    assert [one.kind for one in here.ledger.history("hand")] == ["promoted", "window", "retrain"]


def test_an_earlier_epochs_window_is_not_decided_on(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay begins anew: what was left undecided before it stays so, and its own first retrain is one of its own."""
    rules = spec(k=1, n=1)
    monkeypatch.setattr(monitoring, "look", lambda *_, clock=None: None)
    closed(here)
    assert turn(rules, here).retrain is not None
    closed(here, last(here))
    here.ledger.record("replay", "hand", "", {"state": "started", "after": 0})
    assert turn(rules, here).retrain is None
    closed(here)
    assert turn(rules, here).retrain is not None
    assert len(asked(here)) == 2


def test_a_run_that_waits_in_the_queue_has_not_failed(here: Here) -> None:
    """An old request whose run is queued is in progress for the rules; one that nobody knows of died on the way."""
    made = here.ledger.record("retrain", "hand", "", {"state": "running", "cutoff": {}}, actor="loop")
    old = replace(made, at="2000-01-01T00:00:00+00:00")
    one = retrains.Retrain(asked=old, at=0.0, state=None)
    assert loop.attempt(spec(), here, one, lambda _: True).state == "running"  # pyright: ignore[reportArgumentType]
    assert loop.attempt(spec(), here, one).state == "failed"  # pyright: ignore[reportArgumentType]


def test_a_window_that_cannot_be_judged_calls_a_person_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own mistake in judging is told to a person the first time, and never swallowed."""

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("no rows")

    monkeypatch.setattr(monitoring, "look", broken)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            turn(spec(), here)
    assert [one.payload["said"] for one in here.ledger.history("hand", "called")] == [
        "no window can be judged: ZeroDivisionError: no rows"
    ]
