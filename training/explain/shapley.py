"""shap's door: Shapley values of a game. Few players exactly, more by permutations (antithetic: each order there and back).

Either way they sum to the answer less the usual answer, to rounding (the efficiency axiom), and a player that changes nothing gets 0.
Chosen by measurement (docs/decisions/0018): kernel regression took longer for the same error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from training.explain.game import Game

EXACT = 8  # players up to which all coalitions are asked
ROUNDS = 10  # orders, each there and back
_COMPILES = "NUMBA_DISABLE_JIT"  # numba reads it when it is imported
_SEED = 0  # the same question has the same answer


def shapley(game: Game, rounds: int = ROUNDS) -> tuple[np.ndarray, np.ndarray]:
    """The values [P, K], and the usual answer [K]."""
    with _uncompiled():
        from shap.explainers import Exact, Permutation
        from shap.maskers import Independent

    players = game.players
    nobody, all_of_them = np.zeros((1, players)), np.ones((1, players))
    masker = Independent(nobody, max_samples=1)
    if players <= EXACT:
        found: Any = Exact(game.worth, masker)(all_of_them, silent=True)
    else:
        turn = 2 * players + 1
        explainer = Permutation(game.worth, masker, seed=_SEED)
        found = explainer(all_of_them, max_evals=rounds * turn, batch_size=turn, silent=True)
    usual = game.worth(nobody)[0]
    return np.reshape(found.values, (players, -1)), usual


@contextmanager
def _uncompiled() -> Iterator[None]:
    """shap's loops left as Python while it is first imported: compiling them takes 8.5 s of CPU and 110 MB, running them 0.1 s."""
    before = os.environ.get(_COMPILES)
    os.environ[_COMPILES] = "1"
    try:
        yield
    finally:
        os.environ.pop(_COMPILES)
        if before is not None:
            os.environ[_COMPILES] = before
