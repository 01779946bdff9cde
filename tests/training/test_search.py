from pathlib import Path

import pytest

from data.errors import UserError
from data.schema import TableSchema
from tests.training.little import prepared
from training.family import Prepared, SearchSection, TrainSection
from training.search import search

SCHEMA = TableSchema(task="regression", target="y", inputs=())


class LittleFamily:
    """The little net as a family: a good learning rate lies near 0.03, and 1e30 diverges."""

    name = "little"

    def __init__(self) -> None:
        self.seen: list[dict] = []

    def defaults(self, size):
        return {"lr": 0.01, "rows": 100, "max_steps": 40}

    def search_space(self, size):
        return {"lr": (1e-5, 0.1)}

    def prepare(self, table, schema, settings, seed) -> Prepared:
        self.seen.append(settings)
        return prepared(seed=seed, rows=settings["rows"], max_steps=settings["max_steps"], lr=settings["lr"])

    def export(self, *_args) -> None: ...


def section(trials: int = 6, **space) -> TrainSection:
    return TrainSection(patience=50, search=SearchSection(trials=trials, space=space))


def found(folder: Path, family: LittleFamily | None = None, given: TrainSection | None = None, token: str | None = None):
    return search(family or LittleFamily(), None, SCHEMA, given or section(), folder, token)


def test_the_best_trial_decides_the_settings(tmp_path):
    """The returned settings are the defaults with the best trial's, and the table shows every trial."""
    best, trials = found(tmp_path)
    complete = [trial for trial in trials if trial["state"] == "complete"]
    assert len(trials) == 6
    assert best == {"lr": min(complete, key=lambda trial: trial["loss"])["lr"], "rows": 100, "max_steps": 40}
    assert all(1e-5 <= trial["lr"] <= 0.1 for trial in trials)


def test_the_seed_fixes_the_search(tmp_path):
    """The same section proposes and finds the same; another seed proposes other settings."""
    first, again = found(tmp_path / "a"), found(tmp_path / "b")
    other = found(tmp_path / "c", given=section().model_copy(update={"seed": 1}))
    assert first == again
    assert [t["lr"] for t in first[1]] != [t["lr"] for t in other[1]]


def test_ranges_and_choices_keep_their_type(tmp_path):
    """Two numbers are a range, more are choices, and a setting that is whole stays whole."""
    _, trials = found(tmp_path, given=section(trials=5, rows=(60.0, 80.0, 100.0), max_steps=(20.0, 40.0)))
    assert all(trial["rows"] in (60, 80, 100) and isinstance(trial["rows"], int) for trial in trials)
    assert all(20 <= trial["max_steps"] <= 40 and isinstance(trial["max_steps"], int) for trial in trials)


def test_a_killed_search_goes_on(tmp_path):
    """After an interruption the same search runs only the trials that are missing and ends as an undisturbed one."""
    whole = found(tmp_path / "whole", token="t")
    killed = LittleFamily()

    class Killed(LittleFamily):
        def prepare(self, *args):
            if len(self.seen) == 3:
                raise KeyboardInterrupt
            return super().prepare(*args)

    with pytest.raises(KeyboardInterrupt):
        found(tmp_path / "cut", Killed(), token="t")
    best, trials = found(tmp_path / "cut", killed, token="t")
    assert len(killed.seen) == 3
    assert best == whole[0]
    assert [t["lr"] for t in trials] == [t["lr"] for t in whole[1]]


def test_a_finished_search_answers_at_once(tmp_path):
    """The same token and section run nothing twice; another token, or none, searches anew."""
    found(tmp_path, token="t")
    for token, runs in (("t", 0), ("other", 6), (None, 6)):
        family = LittleFamily()
        found(tmp_path, family, token=token)
        assert len(family.seen) == runs


def test_a_trial_that_diverges_is_not_the_best(tmp_path):
    """A trial without a finite loss is listed as such and passed over; a search with none better says so."""
    best, trials = found(tmp_path / "a", given=section(trials=6, lr=(0.01, 0.02, 1e30)))
    assert "diverged" in {trial["state"] for trial in trials}
    assert best["lr"] < 1
    with pytest.raises(UserError, match="finite loss"):
        found(tmp_path / "b", given=section(trials=2, lr=(1e30, 1e31, 1e32)))


@pytest.mark.parametrize(
    ("space", "said"),
    [({"width": (1.0, 2.0)}, "unknown setting: width"), ({"lr": (0.1, 0.01)}, "is no range"), ({"lr": ()}, "is no range")],
)
def test_an_impossible_space_is_refused(tmp_path, space, said):
    """A range that cannot be searched is refused by its key before anything is fitted."""
    with pytest.raises(UserError, match=said):
        found(tmp_path, given=section(**space))


def test_nothing_but_the_journal_stays(tmp_path):
    """Trials leave no checkpoints behind, and an older search's journal is gone."""
    found(tmp_path, token="old")
    found(tmp_path, token="new")
    assert [file.suffix for file in tmp_path.iterdir()] == [".journal"]
