"""Sensor faults to plant into a series for a replay: an offset, a creeping drift, a stuck value. Pure; never used on real runs.

From its date on the sensor itself reports wrongly, so what the model reads and the truth that comes later are both wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from data.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["offset", "drift", "stuck"]
_STEPS = 8.0  # an offset's size where none is named, in typical steps of the series; a drift grows by half a step each time


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`size` is in the series' own unit: the offset, or the drift per step; None: a size that a person would notice late."""

    kind: Kind
    size: float | None = None
    at: pd.Timestamp | None = None  # UTC; None: a third into the replay

    @classmethod
    def parse(cls, text: str) -> Fault:
        """`offset`, `drift:0.2`, `stuck@1995-01-01`, `offset:4@1995-01-01`; UserError says what is wrong with another text."""
        import pandas as pd

        rest, _, date = text.partition("@")
        kind, _, size = rest.partition(":")
        step = "write offset, drift or stuck, then :SIZE and @DATE where you want them, as in offset:4@1995-01-01"
        known: dict[str, Kind] = {one: one for one in get_args(Kind)}
        if kind not in known:
            raise UserError(f"--fault {text!r}: no fault {kind!r}", next_step=step)
        try:
            number = float(size) if size else None
            at = pd.Timestamp(date, tz="UTC") if date else None
        except ValueError as error:
            raise UserError(f"--fault {text!r}: {error}", next_step=step) from error
        if kind == "stuck" and number is not None:
            raise UserError(f"--fault {text!r}: a stuck sensor has no size", next_step="leave :SIZE out")
        return cls(kind=known[kind], size=number, at=at)


def plant(
    table: pd.DataFrame, fault: Fault, *, target: str, time: str, entity: str | None, start: pd.Timestamp
) -> pd.DataFrame:
    """A copy of the table whose `target` is wrong from the fault's date, or from `start` where it has none; UserError for classes."""
    import numpy as np
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(table[target]):
        raise UserError("a sensor fault is planted into numbers, and this target is a class", next_step="leave --fault out")
    planted = table.sort_values([*([entity] if entity else []), time], ignore_index=True)
    since = fault.at if fault.at is not None else start
    series = [planted] if entity is None else [part for _, part in planted.groupby(entity, sort=False)]
    values = planted[target].astype(float).to_numpy(copy=True)
    for part in series:
        known = part[target].astype(float).to_numpy()
        step = float(np.nanmedian(np.abs(np.diff(known[np.isfinite(known)])))) or 1.0
        wrong = (part[time] >= since).to_numpy()
        places = part.index.to_numpy()[wrong]
        if fault.kind == "offset":
            values[places] += fault.size if fault.size is not None else _STEPS * step
        elif fault.kind == "drift":
            values[places] += (fault.size if fault.size is not None else step / 2) * np.arange(1, wrong.sum() + 1)
        else:
            before = known[~wrong & np.isfinite(known)]
            values[places] = before[-1] if before.size else np.nan
    return planted.assign(**{target: values})
