"""captum's door: LIME (Ribeiro et al. 2016) of the same game, as a second opinion. A linear model is fitted to what the model answers
where about half of the inputs are as usual, those nearest to the question weighing most; its slopes are the values.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from training.explain.game import Game

SAMPLES = 600
_WIDTH = 0.75  # of the kernel, in square roots of the number of players: LIME's own default for tables
_AT_ONCE = 200
_SEED = 0


def lime(game: Game, samples: int = SAMPLES) -> np.ndarray:
    """The slopes [P, K]."""
    import torch
    from captum._utils.models.linear_model import SkLearnLinearRegression
    from captum.attr import Lime
    from captum.attr._core.lime import get_exp_kernel_similarity_function

    torch.set_num_threads(1)
    players = game.players
    usual = game.worth(np.zeros((1, players)))[0]
    near: Any = get_exp_kernel_similarity_function("euclidean", kernel_width=_WIDTH * sqrt(players))
    slopes, known = [], {}
    for k in range(len(usual)):
        torch.manual_seed(_SEED)  # the same coalitions for each answer: the model is asked once

        def answered(coalitions: torch.Tensor, k: int = k) -> torch.Tensor:
            asked = coalitions.numpy()
            if asked.tobytes() not in known:
                known[asked.tobytes()] = game.worth(asked) - usual  # small figures: captum computes in single precision
            return torch.from_numpy(known[asked.tobytes()][:, k])

        opinion = Lime(answered, interpretable_model=SkLearnLinearRegression(), similarity_func=near)
        found = opinion.attribute(
            torch.ones(1, players),
            baselines=torch.zeros(1, players),
            n_samples=max(samples, 6 * players),
            perturbations_per_eval=_AT_ONCE,
        )
        slopes.append(found.numpy().reshape(-1))
    return np.stack(slopes, axis=1)
