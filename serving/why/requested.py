"""The steps that are about the row itself: what was asked, what was known then, what turned out true. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from serving.records import Prediction, by_time
from serving.records.quantities import Quantity
from serving.why import asked, stored
from serving.why.steps import Step
from training.signature import Signature

if TYPE_CHECKING:
    from serving.records import Label

_SHOWN = 200  # inputs of a row
_ASKED, _KNOWN, _TRUE = "What was asked", "What was known then", "What turned out true"


def label(labels: Sequence[Label], predicted: Sequence[Quantity], gone: str | None) -> Step:
    """The truth, beside what was predicted."""
    facts = {"labels": [{"about": one.about, "value": one.value, "told_by": one.actor} for one in labels]}
    if gone is not None:
        return Step(name="label", title=_TRUE, said="Not known any more.", source="records.db, labels", facts=facts, gone=gone)
    said = " ".join(_told(one, predicted) for one in labels) or "Nobody has said yet (POST /v1/labels)."
    return Step(name="label", title=_TRUE, said=said, source="records.db, labels", facts=facts)


def request(
    one: Prediction,
    signature: Signature | None,
    row: Mapping[str, Any] | None,
    number: int,
    entity: Any,
    known: stored.Known | None,
    gone: str | None,
) -> Step:
    """The request, and which of its inputs the gateway filled in."""
    step = partial(Step, name="request", title=_ASKED, source=f"records.db, record {one.sequence}")
    facts: dict[str, Any] = {"prediction_id": one.id, "at": asked.iso(one.at), "status": one.status}
    facts |= {"row": number, "rows": one.rows, "latency_ms": round(one.latency_ms, 3)}
    facts |= {"protocol": one.form.partition("/")[0] or None}
    when = facts["at"][:19].replace("T", " ") + " UTC" + (f" (row {number} of {one.rows})" if one.rows > 1 else "")
    if gone is not None:
        said = f"Something was asked at {when}. The seal of its record still stands in the chain; what it held does not."
        return step(said=said, facts=facts, gone=gone)
    if entity is not None:
        facts["entity"] = entity
    if row is None or signature is None:
        why = "its version's signature is gone" if signature is None else "the request cannot be read as the model's inputs"
        said = f"{len(one.request):,} bytes were sent to the model at {when}."
        return step(said=said, facts=facts, gone=f"its inputs cannot be told apart: {why}")
    filled, brought = _filled(signature, row, known)
    facts |= {"inputs": dict(list(row.items())[:_SHOWN]), "brought": brought, "filled_in": filled}
    said = f"Asked at {when}" + (f" for {signature.entity} {entity}." if entity is not None else ".")
    return step(said=f"{said} {_who(signature, filled, brought, known)}", facts=facts)


def _who(signature: Signature, filled: list[str], brought: list[str], known: stored.Known | None) -> str:
    """Who brought which of the inputs, as far as that can be told: the record keeps what the model was sent."""
    count = len(filled) + len(brought)
    if not signature.stored:
        return f"The client brought all {count} inputs." if count > 1 else "The client brought its one input."
    if not filled or known is None or known.at is None:
        return f"Which of its {count} inputs the client brought cannot be told any more: none equals what the feature store has now."
    of = asked.iso(known.at.timestamp())[:16].replace("T", " ")
    return (
        f"The client brought {len(brought)} of {count} inputs. The other {len(filled)} equal the feature store's row of {of} UTC, "
        "from which the gateway fills in what a request lacks."
    )


def _filled(signature: Signature, row: Mapping[str, Any], known: stored.Known | None) -> tuple[list[str], list[str]]:
    """The inputs that equal what the store had, and the others. The record keeps what the model was sent, not who brought which of it."""
    may = set(signature.stored) if known is not None and known.values else set()
    filled = [name for name in row if name in may and _same(row[name], known.values.get(name) if known else None)]
    at = asked.iso(known.at.timestamp()) if known is not None and known.at is not None else None
    if filled and signature.time is not None and signature.time not in filled and row.get(signature.time) == at is not None:
        filled.append(signature.time)
    return filled, [name for name in row if name not in filled]


def _same(one: Any, other: Any) -> bool:
    if isinstance(other, datetime):
        other = asked.iso(other.timestamp())
    if other is None or other != other:
        return one is None
    if isinstance(one, int | float) and isinstance(other, int | float):
        return float(one) == float(other)
    return one == other


def features(
    signature: Signature | None, known: stored.Known | None, row: Mapping[str, Any] | None, entity: Any, gone: str | None
) -> Step:
    """The feature row as of then."""
    step = partial(Step, name="features", title=_KNOWN, source=known.source if known and known.source else "the feature store")
    if gone is not None or signature is None:
        return step(said="Not known any more.", gone=gone or "the version's signature is gone with its files")
    if known is None:
        return step(said="This model reads nothing from a feature store: each request brings every input.")
    if known.said or known.at is None:
        return step(said="Nothing was found.", gone=known.said or None)
    at = asked.iso(known.at.timestamp())
    values = {name: _json(known.values[name]) for name in signature.stored if name in known.values}
    differ = [name for name in values if row is not None and name in row and not _same(row[name], known.values[name])]
    said = f"The newest row that was known by then is of {at[:16].replace('T', ' ')} UTC: {len(values)} values."
    if differ:
        said += f" {len(differ)} of them differ from what the model was sent: the client brought its own, or the row was mended since."
    return step(said=said, facts={"entity": entity, "known_at": at, "values": values, "differ": differ})


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return asked.iso(value.timestamp())
    return None if isinstance(value, float) and value != value else value


def predicted(one: Quantity) -> dict[str, Any]:
    """One quantity, without what is not known of it."""
    found = {"horizon": one.horizon or None, "prediction": one.prediction, "low": one.low, "high": one.high}
    found |= {"label": one.label, "confidence": one.confidence, "entity": one.entity}
    found["target_time"] = asked.iso(one.target_time) if one.horizon and one.target_time else None
    return {name: value for name, value in found.items() if value is not None}


def _told(label: Label, predicted: Sequence[Quantity]) -> str:
    """A label beside what was predicted of the same."""
    one = next((q for q in predicted if label.about.endswith(f"/h{q.horizon}") or label.about == _at(q)), None)
    if one is None and len(predicted) == 1:
        one = predicted[0]
    beside = ""
    if one is not None and one.prediction is not None and isinstance(label.value, int | float):
        beside = f"; {one.prediction:.6g} was predicted, {abs(one.prediction - label.value):.4g} off"
    elif one is not None and one.label is not None:
        beside = f"; {one.label} was predicted, {'right' if one.label == str(label.value) else 'wrong'}"
    shown = f"{label.value:.6g}" if isinstance(label.value, float) else str(label.value)
    when = f" ({asked.iso(one.target_time)[:16].replace('T', ' ')} UTC)" if one is not None and one.horizon else ""
    return f"It was {shown}{when}{beside} (told by {label.actor})."


def _at(one: Quantity) -> str:
    return by_time(one.target_time, one.entity)
