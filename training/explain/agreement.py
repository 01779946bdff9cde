"""How far two opinions of the same answer agree, and what that means to who reads them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

TOP = 5


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """`rank`: Spearman's correlation of the two lists of values, -1..1 (None where one of them is constant); `shared` of the `top`
    weightiest are the same inputs; `said` what follows."""

    rank: float | None
    top: int
    shared: int
    said: str


def agreement(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Of two lists of values [P] for the same inputs."""
    import numpy as np
    from scipy.stats import spearmanr

    top = min(TOP, len(first))
    weightiest = [set(np.argsort(-np.abs(values), kind="stable")[:top].tolist()) for values in (first, second)]
    shared = len(weightiest[0] & weightiest[1])
    varied = len(first) > 1 and all(np.ptp(values) > 0 for values in (first, second))
    rank = float(spearmanr(first, second)[0]) if varied else None  # pyright: ignore[reportArgumentType]
    return Agreement(rank=rank, top=top, shared=shared, said=_said(rank, shared, top))


def _said(rank: float | None, shared: int, top: int) -> str:
    if rank is None:
        return "There is too little to compare: the inputs hardly move this answer, or there is only one."
    if rank >= 0.8 and shared >= top - 1:
        return "Two methods that work differently say the same: these weights can be relied on."
    if rank >= 0.5 and 2 * shared >= top:
        return "Two methods mostly agree: rely on the largest bars, not on the order of the small ones."
    return (
        "Two methods disagree: the inputs work together or resemble one another, so no single bar can be relied on. "
        "What holds is the sum, and that the named inputs matter together."
    )
