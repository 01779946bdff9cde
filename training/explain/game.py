"""A model's answer as a game of its inputs: what it answers where only some inputs are as they were asked, and the others as usual.

v(S) = mean over background rows b of f(x_S, b_rest): Lundberg and Lee 2017, with interventional expectations (Janzing et al. 2020).
Inputs may be numbers, text, times or pictures, for none of them is computed with: a coalition only chooses between two values. Knows
neither shap nor captum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

ROWS = 4096  # that the model is asked at once: the runtime keeps what one call took (16,384 took 240 MB a model)
MOST_PARTS = 200  # of a picture; a larger one is cut into patches


@dataclass
class Game:
    """`worth(Z)` for coalitions Z [n, P] of 0 and 1 gives the answers [n, K]; counts the rows that the model was asked in `rows`.

    `asked` holds each input's value, `background` its usual ones [B, ...], `parts` the number of the player that each value belongs to
    (a number for a scalar, an array of the picture's shape). `ask` takes columns [N, ...] and gives answers [N, K].
    """

    ask: Callable[[list[np.ndarray]], np.ndarray]
    asked: Sequence[np.ndarray]
    background: Sequence[np.ndarray]
    parts: Sequence[np.ndarray]
    rows: int = field(default=0, init=False)

    @property
    def players(self) -> int:
        """How many inputs, or parts of a picture, there are."""
        return 1 + max(int(part.max()) for part in self.parts)

    def worth(self, coalitions: np.ndarray) -> np.ndarray:
        """The mean answers [n, K]: 1 is the value that was asked, 0 the usual ones."""
        present, usual = np.asarray(coalitions) > 0.5, len(self.background[0])
        step = max(1, ROWS // usual)
        return np.concatenate([self._worth(present[at : at + step], usual) for at in range(0, len(present), step)])

    def _worth(self, present: np.ndarray, usual: int) -> np.ndarray:
        columns = []
        for value, others, part in zip(self.asked, self.background, self.parts, strict=True):
            chosen = np.where(present[:, part][:, None], value[None, None], others[None])
            columns.append(chosen.reshape(-1, *value.shape))
        self.rows += len(present) * usual
        answers = self.ask(columns)
        return answers.reshape(len(present), usual, -1).mean(axis=1)


def patches(shape: tuple[int, ...], first: int) -> np.ndarray:
    """The player of each pixel of a picture of `shape` ([H, W] or [H, W, C]), from `first`: a pixel each, or square patches."""
    height, width = (shape[0], shape[1]) if len(shape) > 1 else (1, prod(shape))
    side = 1
    while -(-height // side) * -(-width // side) > MOST_PARTS:
        side += 1
    rows, columns = np.arange(height) // side, np.arange(width) // side
    grid = first + rows[:, None] * (columns[-1] + 1) + columns[None]
    return np.broadcast_to(grid.reshape(*grid.shape, *[1] * (len(shape) - 2)), shape) if len(shape) > 1 else grid.reshape(shape)


def parts_of(shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Each input's players, in order: one for a scalar, many for a picture."""
    found, first = [], 0
    for shape in shapes:
        found.append(patches(shape, first) if prod(shape) > 1 else np.full(shape, first))
        first = int(found[-1].max()) + 1
    return found
