"""A retrain that a person asks for: the same job as the loop's, run in this process, with its reason on record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from assets import back, retraining
from assets.platform import Platform
from assets.spec import Spec, load
from data.errors import UserError
from data.places import Places
from data.section import seconds
from orchestration import running


def retrain(
    places: Places, workload: str, reason: str, until: datetime | None = None, *, actor: str = "person"
) -> running.Outcome:
    """Fit on what was known before the gate window, judge on the window, and register the candidate with its verdict.

    `until` (aware, or UTC): how far truth is known; by default all that the source, or with `retrain.labels` the ledger, knows.
    UserError for a bad name or YAML, a missing reason, or where there is too little to judge on.
    """
    spec = load(places, workload)
    retraining.refuse_without(reason)
    platform = Platform()
    if until is not None and until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    tags = retraining.request(spec, platform, until=until or _known_until(spec, places), reason=reason)
    asked = retraining.record(platform.ledger, spec, tags, by_person=True, actor=actor)
    outcome = running.run(places, workload, job="retrain", tags=tags)
    retraining.ended(platform.ledger, asked, places, outcome.run_id, failed=outcome.failed)
    return outcome


def _known_until(spec: Spec, places: Places) -> datetime:
    """The watermark: just after the newest truth that there is to learn from; now, for a table without time."""
    if spec.data.time is None:
        return datetime.now(UTC)
    if spec.retrain.labels:
        known = back.known_until(spec, places)
        if known is None:
            raise UserError(
                f"no label of {spec.name} is known yet",
                next_step="send some to POST /v1/labels, or name a date: --until",
            )
        return known
    from data import prepare, sources

    data = spec.data.model_copy(update={"until": None})
    table = prepare.prepare(sources.read(data, places), data)
    newest = table.loc[table[data.target].notna(), spec.data.time].max().to_pydatetime()
    return newest + timedelta(seconds=seconds(data.step) if data.step else 1)
