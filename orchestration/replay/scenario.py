"""What a replay plays: requests and truths of a workload's source in the order of event time, with a planted fault where asked for.

Reads the whole source, also the rows that the workload's YAML keeps from training. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from assets.spec import Spec
from data.errors import UserError
from data.faults import Fault, plant
from data.places import Places
from data.schema import TIME
from data.section import seconds

if TYPE_CHECKING:
    import pandas as pd

    from training.signature import Signature


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`examples`: a row per request, by TIME. `truths`: entity, time and value, by the moment `known` at which they arrive."""

    spec: Spec
    examples: pd.DataFrame
    truths: pd.DataFrame
    start: pd.Timestamp
    end: pd.Timestamp
    fault: Fault | None = None
    fault_at: pd.Timestamp | None = None
    right: pd.DataFrame | None = None  # with a fault: the truths as they would have been

    def mended(self) -> list[dict[str, Any]]:
        """The right values of what was told wrongly; nothing without a fault."""
        if self.right is None or self.fault_at is None:
            return []
        return _told(self.right[(self.right["time"] >= self.fault_at) & (self.right["known"] < self.end)])

    def known_from(self, known_until: pd.Timestamp) -> Scenario:
        """The same for a champion whose training data end there: only the truths since are told."""
        return replace(self, truths=self.truths[self.truths["time"] >= known_until].reset_index(drop=True))

    def requests(self, signature: Signature, begin: pd.Timestamp, end: pd.Timestamp) -> list[dict[str, Any]]:
        """The instances whose event time lies in [begin, end), each with its entity."""
        from training.examples import instances

        times = self.examples[TIME]
        rows = self.examples.iloc[times.searchsorted(begin) : times.searchsorted(end)]
        found = list(instances(rows, signature))
        if signature.entity and signature.entity in rows.columns:
            for one, entity in zip(found, rows[signature.entity], strict=True):
                one.setdefault(signature.entity, entity)
        return found

    def before(self) -> list[dict[str, Any]]:
        """The truths between the end of training and the start: nobody asked for them, and a retrain learns from them."""
        return self.labels(self.truths["known"].min(), self.start)

    def labels(self, begin: pd.Timestamp, end: pd.Timestamp) -> list[dict[str, Any]]:
        """The truths that arrive in [begin, end)."""
        known = self.truths["known"]
        return _told(self.truths.iloc[known.searchsorted(begin) : known.searchsorted(end)])

    def steps(self, length: pd.Timedelta) -> Iterator[tuple[pd.Timestamp, pd.Timestamp]]:
        """The replay in consecutive spans."""
        begin = self.start
        while begin < self.end:
            yield begin, min(begin + length, self.end)
            begin += length


def moment(text: str, option: str = "--from") -> pd.Timestamp:
    """A year or a date, as UTC; UserError for anything else."""
    import pandas as pd

    try:
        return pd.Timestamp(text, tz="UTC")
    except ValueError as error:
        raise UserError(
            f"{option} {text!r}: {error}", next_step="write a year or a date, such as 1991 or 2011-03-01"
        ) from error


def load(
    spec: Spec,
    places: Places,
    start: str,
    end: str | None = None,
    fault: Fault | None = None,
) -> Scenario:
    """The scenario from `start` on, with every truth that there is. UserError where the workload is no series, or nothing lies after
    `start`."""
    from data import examples, forgotten, prepare, sources

    data = spec.data.model_copy(update={"until": None, "sha256": None})
    if data.time is None or not spec.features.horizons:
        raise UserError(
            f"{spec.name} is no series: there is no later time to replay", next_step="aiprime replay takes co2, bikes or elec2"
        )
    begins, ends = moment(start), moment(end, "--to") if end else None
    table = prepare.prepare(sources.read(data, places), data)
    table = forgotten.without(table, data.entity, forgotten.of(places.home, spec.name), places.home)
    last = table[data.time].max()
    ends = min(ends, last) if ends is not None else last
    if ends <= begins <= last:
        raise UserError(f"--to {end} is not after --from {start}", next_step="name a later end, or leave it out")
    if not table[data.time].min() < begins < ends:
        raise UserError(
            f"{spec.name} has rows from {table[data.time].min():%Y-%m-%d} to {last:%Y-%m-%d}",
            where=f"--from {start}",
            next_step="choose a date between, with enough before it to train on",
        )
    fault_at, right = None, None
    if fault is not None:
        right = _truths(table, spec)
        fault_at = fault.at if fault.at is not None else begins + (ends - begins) / 3
        if not begins <= fault_at < ends:
            span = f"{begins:%Y-%m-%d} to {ends:%Y-%m-%d}"
            raise UserError(f"--fault: {fault_at:%Y-%m-%d} is not in the replay", next_step=f"name a date from {span}")
        table = plant(table, fault, target=data.target, time=data.time, entity=data.entity, start=fault_at)
    # Every row from the start on is played: none may lie between training and holdout, where a split leaves rows out.
    data = data.model_copy(update={"holdout": float((table[data.time] >= begins).mean()) + 1e-3})
    made = examples.make(table, spec.task, data, spec.features).table
    made = made[(made[TIME] >= begins) & (made[TIME] < ends)].sort_values(TIME, ignore_index=True)
    return Scenario(
        spec=spec,
        examples=made,
        truths=_truths(table, spec),
        start=begins,
        end=ends,
        fault=fault,
        fault_at=fault_at,
        right=right,
    )


def _told(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"time": time.isoformat().replace("+00:00", "Z"), "value": value} | ({"entity": entity} if entity is not None else {})
        for entity, time, value in zip(rows["entity"], rows["time"], rows["value"], strict=True)
    ]


def _truths(table: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Every truth; it arrives the label delay after its own time."""
    import pandas as pd

    data = spec.data
    rows = table[table[data.target].notna()]
    value = rows[data.target].astype(str) if spec.task == "classification" else rows[data.target].astype(float)
    entity = rows[data.entity].astype(object) if data.entity else pd.Series([None] * len(rows), index=rows.index, dtype=object)
    known = rows[data.time] + pd.Timedelta(seconds=seconds(data.label_delay))
    truths = pd.DataFrame({"entity": entity, "time": rows[data.time], "value": value, "known": known})
    return truths.sort_values("known", kind="stable", ignore_index=True)
