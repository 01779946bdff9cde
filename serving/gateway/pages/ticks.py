"""Round numbers for an axis."""

from __future__ import annotations

import math


def ticks(most: float, wanted: int) -> list[float]:
    """About `wanted` round numbers from 0 up to `most`; 0 alone where `most` is no positive number."""
    if not math.isfinite(most) or most <= 0:
        return [0.0]
    rough = most / max(wanted, 1) or most  # the least number cannot be divided
    size = 10.0 ** math.floor(math.log10(rough)) or rough  # 0 where it underflows
    step = next((m * size for m in (1, 2, 2.5, 5) if m * size >= rough), 10 * size)
    if not math.isfinite(step):  # past the largest number there is no rounder one
        return [0.0]
    return [n * step for n in range(int(most / step) + 1)]
