"""The figures behind an explanation: the axioms that make them worth showing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.explain.games import game, usual
from training.explain.second import lime
from training.explain.shapley import EXACT, shapley

FEW, MANY = EXACT - 2, EXACT + 5  # asked exactly, and by orders


@pytest.mark.parametrize("players", [1, FEW, MANY])
def test_a_linear_model_gives_its_coefficients(players: int) -> None:
    """Of a linear model each value is its coefficient times how far the input is from the usual mean."""
    weights, asked, others = np.arange(1.0, players + 1), np.linspace(-2, 3, players), usual(players)
    values, base = shapley(game(lambda x: x @ weights + 7, list(asked), others))
    assert values[:, 0] == pytest.approx(weights * (asked - others.mean(axis=0)), abs=1e-9)
    assert base[0] == pytest.approx(others.mean(axis=0) @ weights + 7)


@pytest.mark.parametrize("players", [FEW, MANY])
def test_they_sum_to_the_answer_less_the_usual_one(players: int) -> None:
    """The efficiency axiom, for a model whose inputs act on one another."""
    played = game(
        lambda x: np.tanh(x).prod(axis=1) + x[:, 0] * x[:, -1] ** 2, list(np.linspace(0.5, 2, players)), usual(players)
    )
    values, base = shapley(played)
    assert values.sum() == pytest.approx(played.worth(np.ones((1, players)))[0, 0] - base[0], abs=1e-9)


@pytest.mark.parametrize("players", [FEW, MANY])
def test_an_input_that_is_ignored_gets_nothing(players: int) -> None:
    """The dummy axiom: 0 to rounding, also where only some of the orders are tried."""
    values, _ = shapley(game(lambda x: np.sin(x[:, 0] * x[:, 2]), [1.0] * players, usual(players)))
    assert values[1, 0] == pytest.approx(0, abs=1e-15)
    assert abs(values[0, 0]) > 0.01


def test_twins_get_the_same() -> None:
    """The symmetry axiom."""
    others = np.repeat(usual(1), 3, axis=1)
    values, _ = shapley(game(lambda x: x.max(axis=1), [2.0, 2.0, 2.0], others))
    assert values[0, 0] == pytest.approx(values[1, 0])
    assert values[1, 0] == pytest.approx(values[2, 0])


def test_several_answers_are_explained_at_once() -> None:
    """Each answer of a model with two gets its own values, and they are those that it would get alone."""
    both = game(lambda x: np.stack([x[:, 0] * x[:, 1], x.sum(axis=1)], axis=1), [1.0, 2.0, 3.0], usual(3))
    alone = game(lambda x: x[:, 0] * x[:, 1], [1.0, 2.0, 3.0], usual(3))
    values, base = shapley(both)
    assert values[:, 0] == pytest.approx(shapley(alone)[0][:, 0])
    assert base.shape == (2,)


def test_the_same_question_has_the_same_answer() -> None:
    """Nothing of it is left to chance between two calls, although orders are drawn."""
    made = [game(lambda x: np.cos(x).prod(axis=1), [0.3] * MANY, usual(MANY)) for _ in range(2)]
    assert np.array_equal(shapley(made[0])[0], shapley(made[1])[0])
    assert np.array_equal(lime(made[0]), lime(made[1]))


@settings(max_examples=10, deadline=None)
@given(
    weights=st.lists(st.floats(-10, 10).filter(lambda w: abs(w) > 0.1), min_size=3, max_size=10),
    seed=st.integers(0, 1000),
)
def test_lime_agrees_in_sign_on_linear_models(weights: list[float], seed: int) -> None:
    """Of a linear model the second opinion is the first one."""
    players, others = len(weights), usual(len(weights), seed=seed)
    asked = others.mean(axis=0) + np.where(np.arange(players) % 2, 1.0, -1.0)
    played = game(lambda x: x @ np.array(weights), list(asked), others)
    values, opinion = shapley(played)[0][:, 0], lime(played)[:, 0]
    assert np.sign(opinion).tolist() == np.sign(values).tolist()
    assert opinion == pytest.approx(values, abs=1e-3 * float(np.abs(values).max()))
