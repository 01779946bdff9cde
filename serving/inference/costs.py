"""How long a prediction takes by its size, learnt as they go: a running mean for each power of two of rows.

A batch says nothing of a row, nor a row of a batch. Rows of one class cost at most twice each other where time is a fixed part and a part per
row, so a class's mean is right within that, whatever the model's curve is elsewhere. Knows nothing of queues.
"""

from __future__ import annotations

WEIGHT = 0.1  # of the newest in the mean
MOST = 2.0  # times the mean: what a measurement counts at most, for a busy machine makes any of them long
UNKNOWN_S = 0.002  # where nothing was measured yet


class Costs:
    """Expected seconds of work on some rows."""

    def __init__(self) -> None:
        self._means: dict[int, float] = {}  # by the number of bits of the row count

    def expected(self, rows: int) -> float:
        """Of so many rows. Where no such size was measured the nearest one's, in proportion where that is smaller."""
        size = rows.bit_length()
        if (mean := self._means.get(size)) is not None:
            return mean
        if not self._means:
            return UNKNOWN_S
        nearest = min(self._means, key=lambda known: (abs(known - size), known))
        return self._means[nearest] * 2.0 ** max(0, size - nearest)

    def learn(self, rows: int, seconds: float) -> None:
        """What a prediction of so many rows took."""
        size, seconds = rows.bit_length(), max(seconds, 1e-4)
        mean = self._means.get(size)
        self._means[size] = seconds if mean is None else mean + WEIGHT * (min(seconds, MOST * mean) - mean)
