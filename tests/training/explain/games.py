"""Games whose Shapley values are known in closed form, and one-input-per-player models to play them with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.explain.game import Game


def game(answer: Callable[[np.ndarray], np.ndarray], asked: list[float], usual: np.ndarray) -> Game:
    """A model of numbers [N, P] -> [N] or [N, K]; `usual` is [B, P]."""
    return Game(
        ask=lambda columns: np.reshape(answer(np.stack(columns, axis=1)), (len(columns[0]), -1)),
        asked=[np.asarray(value, float) for value in asked],
        background=list(np.asarray(usual, float).T),
        parts=[np.asarray(i) for i in range(len(asked))],
    )


def usual(players: int, rows: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, players))
