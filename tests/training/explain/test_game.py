"""The game: what a model answers where only some inputs are as they were asked."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.explain.games import game, usual
from training.explain import game as games
from training.explain.game import MOST_PARTS, Game, parts_of, patches


def test_nobody_is_the_usual_answer_and_all_is_the_answer() -> None:
    """Without any input the mean over the usual rows, with all of them what the model answers."""
    played = game(lambda x: x[:, 0] ** 2, [3.0, 1.0], np.array([[1.0, 0.0], [2.0, 0.0]]))
    assert played.worth(np.array([[0, 0], [1, 1], [1, 0]]))[:, 0].tolist() == [2.5, 9.0, 9.0]


def test_text_and_times_are_only_chosen_between() -> None:
    """A value that cannot be computed with is taken whole."""
    seen: list[list[np.ndarray]] = []

    def ask(columns: list[np.ndarray]) -> np.ndarray:
        seen.append(columns)
        return np.zeros((len(columns[0]), 1))

    text = np.array(["Berlin", "東京"], object)
    Game(
        ask=ask,
        asked=[np.asarray("", object), np.asarray(5, np.int64)],
        background=[text, np.array([-(2**63), 7])],
        parts=[np.asarray(0), np.asarray(1)],
    ).worth(np.array([[1, 0], [0, 1]]))
    [columns] = seen
    assert columns[0].tolist() == ["", "", "Berlin", "東京"]
    assert columns[1].tolist() == [-(2**63), 7, 5, 5]
    assert columns[1].dtype == np.int64


def test_large_questions_are_asked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many coalitions there are, the model is asked a bounded number of rows at once, with the same answers."""
    sizes: list[int] = []

    def answer(x: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        return x.sum(axis=1)

    coalitions = np.random.default_rng(0).integers(0, 2, (50, 3))
    whole = game(lambda x: x.sum(axis=1), [1.0, 2.0, 3.0], usual(3, rows=10)).worth(coalitions)
    monkeypatch.setattr(games, "ROWS", 64)
    played = game(answer, [1.0, 2.0, 3.0], usual(3, rows=10))
    assert np.array_equal(played.worth(coalitions), whole)
    assert max(sizes) <= 64
    assert played.rows == 500


def test_a_small_picture_is_explained_pixel_by_pixel_and_a_large_one_in_patches() -> None:
    """The number of parts is bounded, and channels of one pixel belong together."""
    assert patches((8, 8), 3).tolist() == np.arange(3, 67).reshape(8, 8).tolist()
    large = patches((224, 224, 3), 0)
    assert large.shape == (224, 224, 3)
    assert large.max() + 1 <= MOST_PARTS
    assert (large[..., 0] == large[..., 2]).all()
    assert len(set(large.ravel().tolist())) == large.max() + 1


def test_parts_are_numbered_through() -> None:
    """One player per scalar, many for a picture, none twice."""
    found = parts_of([(), (2, 2), ()])
    assert [part.ravel().tolist() for part in found] == [[0], [1, 2, 3, 4], [5]]
