"""What was predicted beside what turned out true: windows of it as a table, how far truth is known, and traffic in figures.

All joins and sums run in the database. Reads only what `absorb` and `settle` have read in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from serving.records.prediction import ROLES, Role
from serving.records.tables import tables, unindexed

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

_BATCH = 20_000


@dataclass(frozen=True, kw_only=True)
class Window:
    """Which outcomes: target times in [since, until), roles and versions (None: all), with a truth or without, behind a sequence,
    with a truth of the labels (told[0], told[1]]; of these the newest `most` (None: all)."""

    since: int | None = None
    until: int | None = None
    roles: Collection[Role] | None = None
    versions: Collection[str] | None = None
    labelled: bool | None = None
    after: int = 0
    told: tuple[int, int] | None = None
    most: int | None = None


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """How far truth is known. Quantities of all roles count; `due` are those whose target time is not after `time`."""

    time: int | None  # the newest labelled target time, seconds since 1970
    labelled: int
    due: int


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What one version answered in one role. An error is no answer, a status of 500 and more, and for a challenger and a shadow of 400;
    latencies are of the others."""

    requests: int
    errors: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A shadow's answers beside the champion's to the same requests: quantity by quantity, `n` in all."""

    n: int
    equal: float | None = None  # classes: the share of equal labels
    difference: float | None = None  # numbers: mean |difference| / the champion's mean interval, or its mean |prediction|


def task(connection: sa.Connection, workload: str) -> str | None:
    """What the workload's model does, as it was absorbed last; None before that."""
    import sqlalchemy as sa

    of = tables().cursors.c
    return connection.execute(sa.select(of.task).where(of.workload == workload)).scalar_one_or_none()


def schema(of_task: str | None) -> pa.Schema:
    """The columns of `outcomes`: numbers for regression and forecasting (and where nothing was absorbed), classes else."""
    import pyarrow as pa

    fields = {"sequence": pa.int64(), "id": pa.binary(16), "row": pa.int32(), "horizon": pa.int32(), "entity": pa.string()}
    fields |= {"time": pa.int64(), "target_time": pa.int64(), "version": pa.string(), "role": pa.string(), "at": pa.float64()}
    if of_task == "classification":
        fields |= {"label": pa.string(), "confidence": pa.float64(), "truth": pa.string(), "p_true": pa.float64()}
    else:
        fields |= dict.fromkeys(("prediction", "low", "high", "truth"), pa.float64())
    return pa.schema(list(fields.items()))


def batches(connection: sa.Connection, workload: str, window: Window) -> Iterator[pa.RecordBatch]:
    """The chosen outcomes in the columns of `schema`, in order of sequence, row and horizon."""
    import pyarrow as pa

    of_task = task(connection, workload)
    columns = schema(of_task)
    classes = of_task == "classification"
    found = connection.execution_options(yield_per=_BATCH).execute(_chosen(workload, window, classes))
    for rows in found.partitions():
        *shared, role, at, first, second, third, truth = zip(*rows, strict=True)
        roles = [ROLES[one] for one in role]
        answers = (first, second, truth, list(map(_p_true, third, truth))) if classes else (first, second, third, truth)
        values = zip((*shared, roles, at, *answers), columns, strict=True)
        yield pa.record_batch([pa.array(column, field.type) for column, field in values], schema=columns)


def table(connection: sa.Connection, workload: str, window: Window) -> pa.Table:
    """The same as one table."""
    import pyarrow as pa

    return pa.Table.from_batches(batches(connection, workload, window), schema(task(connection, workload)))


def count(connection: sa.Connection, workload: str, window: Window) -> int:
    """How many there are."""
    import sqlalchemy as sa

    chosen = _chosen(workload, window, classes=False).with_only_columns(sa.literal(1)).order_by(None).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(chosen)).scalar_one()


def _chosen(workload: str, window: Window, classes: bool) -> sa.Select[*tuple[Any, ...]]:
    import sqlalchemy as sa

    of, predictions, truths = tables().outcomes, tables().predictions, tables().truths
    in_order = window.after > 0 and window.since is None and window.until is None  # else by the index of target times
    answer = ("label", "confidence", "probabilities") if classes else ("prediction", "low", "high")
    shared = (
        of.c.sequence,
        predictions.c.id,
        of.c.row,
        sa.func.nullif(of.c.horizon, 0).label("horizon"),
        of.c.entity,
        of.c.time,
        of.c.target_time,
    )
    served = (predictions.c.version, predictions.c.role, predictions.c.at)
    chosen = (
        sa.select(*shared, *served, *(of.c[name] for name in answer), truths.c.name if classes else truths.c.number)
        .join_from(of, predictions, predictions.c.sequence == of.c.sequence)
        .join(truths, truths.c.sequence == of.c.truth, isouter=True)
        .where((unindexed(of.c.workload) if in_order else of.c.workload) == workload)
        .order_by(of.c.sequence, of.c.row, of.c.horizon)
    )
    if window.since is not None:
        chosen = chosen.where(of.c.target_time >= window.since)
    if window.until is not None:
        chosen = chosen.where(of.c.target_time < window.until)
    if window.after:
        chosen = chosen.where(of.c.sequence > window.after)
    if window.roles is not None:
        chosen = chosen.where(predictions.c.role.in_([ROLES.index(role) for role in window.roles]))
    if window.versions is not None:
        chosen = chosen.where(predictions.c.version.in_(list(window.versions)))
    if window.told is not None:
        chosen = chosen.where(of.c.truth > window.told[0], of.c.truth <= window.told[1])
    if window.labelled is not None:
        chosen = chosen.where(of.c.truth.is_not(None) if window.labelled else of.c.truth.is_(None))
    if window.most is not None:  # in the order of the index that finds them, so that no more are looked at
        behind = (of.c.sequence.desc(), of.c.row.desc(), of.c.horizon.desc())
        newest = behind if in_order else (of.c.target_time.desc(), *behind)
        found = chosen.order_by(None).order_by(*newest).limit(window.most).subquery()
        return sa.select(found).order_by(found.c.sequence, found.c.row, found.c.horizon)
    return chosen


def _p_true(probabilities: str | None, truth: str | None) -> float | None:
    """The probability that was given to what turned out true; 0 for a class that the model does not know."""
    if probabilities is None or truth is None:
        return None
    return orjson.loads(probabilities).get(truth, 0.0)


def watermark(connection: sa.Connection, workload: str, since: int | None) -> Watermark:
    """How far truth is known; `labelled` and `due` count target times from `since` on."""
    import sqlalchemy as sa

    of, newest = tables().outcomes.c, labelled_until(connection, workload)
    if newest is None:
        return Watermark(time=None, labelled=0, due=0)
    bounded = (of.workload == workload, of.target_time <= newest, *(() if since is None else (of.target_time >= since,)))
    labelled = connection.execute(sa.select(sa.func.count()).where(*bounded, of.truth.is_not(None))).scalar_one()
    due = connection.execute(sa.select(sa.func.count()).where(*bounded)).scalar_one()
    return Watermark(time=newest, labelled=labelled, due=due)


def labelled_until(connection: sa.Connection, workload: str) -> int | None:
    """The newest target time with a truth, seconds since 1970; None where there is none. One look into the index."""
    import sqlalchemy as sa

    of = tables().outcomes.c
    newest = sa.select(sa.func.max(of.target_time)).where(of.workload == workload, of.truth.is_not(None))
    found = connection.execute(newest).scalar_one()
    return None if found is None else int(found)


def traffic(connection: sa.Connection, workload: str, after: int) -> dict[tuple[str, Role], Traffic]:
    """By version and role, what was answered behind sequence number `after`; percentiles by nearest rank."""
    import sqlalchemy as sa

    of = tables().predictions.c
    kind = (of.version, of.role)
    mine = (of.workload == workload, of.sequence > after)
    # What is kept of a challenger or a shadow with a status of 400 was answered by the champion: it is no client's mistake.
    refused = sa.and_(of.role != ROLES.index("champion"), of.status >= 400)
    failed = sa.or_(of.status >= 500, of.status == 0, refused)
    counts = sa.select(*kind, sa.func.count(), sa.func.sum(sa.case((failed, 1), else_=0))).where(*mine).group_by(*kind)
    place = sa.func.row_number().over(partition_by=kind, order_by=of.latency_ms).label("place")
    total = sa.func.count().over(partition_by=kind).label("total")
    ranked = sa.select(*kind, of.latency_ms, place, total).where(*mine, sa.not_(failed)).subquery()

    def rank(percent: int) -> sa.ColumnElement[Any]:
        nearest = (ranked.c.total * percent + 99) // 100  # rounded up
        return sa.func.max(sa.case((ranked.c.place == nearest, ranked.c.latency_ms)))

    latencies = sa.select(ranked.c.version, ranked.c.role, rank(50), rank(99)).group_by(ranked.c.version, ranked.c.role)
    by_kind = {(version, role): (p50, p99) for version, role, p50, p99 in connection.execute(latencies)}
    found = {}
    for version, role, requests, errors in connection.execute(counts):
        p50, p99 = by_kind.get((version, role), (0.0, 0.0))
        found[version, ROLES[role]] = Traffic(requests=requests, errors=int(errors), p50_ms=p50, p99_ms=p99)
    return found


def agreement(connection: sa.Connection, workload: str, after: int, version: str | None, role: Role) -> Agreement:
    """The answers of `role` (and of `version`, where given) beside the champion's to the same requests behind `after`."""
    import sqlalchemy as sa

    predictions, outcomes = tables().predictions, tables().outcomes
    p, q = predictions.alias("champion"), predictions.alias("other")
    a, b = outcomes.alias("of_champion"), outcomes.alias("of_other")
    interval = sa.func.avg(a.c.high - a.c.low)
    figures = sa.select(
        sa.func.count(),
        sa.func.avg(sa.case((a.c.label == b.c.label, 1.0), (a.c.label.is_not(None), 0.0))),
        sa.func.avg(sa.func.abs(a.c.prediction - b.c.prediction)),
        interval,
        sa.func.avg(sa.func.abs(a.c.prediction)),
    )
    pairs = (
        q.join(p, sa.and_(p.c.id == q.c.id, p.c.role == ROLES.index("champion")))
        .join(b, b.c.sequence == q.c.sequence)
        .join(a, sa.and_(a.c.sequence == p.c.sequence, a.c.row == b.c.row, a.c.horizon == b.c.horizon))
    )
    chosen = figures.select_from(pairs).where(q.c.workload == workload, q.c.sequence > after, q.c.role == ROLES.index(role))
    if version is not None:
        chosen = chosen.where(q.c.version == version)
    n, equal, difference, width, size = connection.execute(chosen).one()
    scale = width or size
    relative = None if difference is None or not scale else float(difference) / float(scale)
    return Agreement(n=n, equal=None if equal is None else float(equal), difference=relative)
