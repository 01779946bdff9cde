"""What a model is for, and where it ends, in sentences that follow from the facts: no praise, and nothing that was not measured."""

from __future__ import annotations

from collections.abc import Iterator

from assets.cards.facts import Facts
from assets.cards.figures import PART, Figure
from data.split import HOLDOUT, TRAIN
from training.metrics import HIGHER_IS_BETTER
from training.promote import FROZEN

_NOMINAL, _NEAR = 0.8, 0.05  # of the interval that `coverage_80` is about


def uses(facts: Facts) -> list[str]:
    """What it answers, for whom."""
    spec, signature = facts.spec, facts.signature
    parts = [spec.description] if spec.description else []
    ahead = f"{_listed([str(h) for h in signature.horizons])} steps of {spec.data.step} ahead" if signature.horizons else ""
    if signature.classes:
        shown = ", ".join(signature.classes[:12]) + (" ..." if len(signature.classes) > 12 else "")
        parts.append(
            f"Says which of {len(signature.classes)} classes {spec.data.target} is ({shown}){', ' + ahead if ahead else ''}."
        )
    else:
        verb = "Forecasts" if signature.horizons else "Estimates"
        bounds = ", with quantiles" if signature.quantile_levels else ""
        parts.append(f"{verb} {spec.data.target}{' ' + ahead if ahead else ''}{bounds}.")
    entity = facts.rows.column(spec.data.entity)
    if entity is not None:
        parts.append(f"Known by {entity.name}: {entity.said}.")
    return parts


def limits(facts: Facts) -> list[str]:
    """What it was not trained on, where it is weak, and what was not measured."""
    return [*_unseen(facts), *_weak(facts), *_unmeasured(facts), *(f"Not for: {one}" for one in facts.spec.card.not_for)]


def tradeoffs(facts: Facts) -> list[str]:
    """What an answer costs."""
    size = f"The model's files weigh {facts.size / 1e6:.3g} MB."
    if not facts.latency_ms:
        return [size]
    return [f"One row takes {facts.latency_ms:.3g} ms (median at the gate, on the machine that registered it). {size}"]


def _unseen(facts: Facts) -> Iterator[str]:
    spec, train = facts.spec, facts.rows.part(TRAIN)
    if train is not None:
        period = f" from {train.start} to {train.end}" if train.start else ""
        yield f"It learnt from {train.rows:,} examples{period}{'; nothing later was learnt' if period else ''}."
    target = facts.rows.column(spec.data.target)
    if target is not None and target.low is not None:
        yield f"Its data holds {target.name} from {target.low} to {target.high}: beyond that an answer is a guess."
    yield "Values outside the ranges and lists of the table of columns were never seen."
    if spec.data.ignore:
        yield f"Never shown to it, on purpose: {', '.join(spec.data.ignore)}."
    bounds = [f"before {spec.data.since}" if spec.data.since else "", f"from {spec.data.until} on" if spec.data.until else ""]
    if any(bounds):
        yield f"Left out of the data by the workload's YAML: rows {' and rows '.join(filter(None, bounds))}."
    if spec.data.constants:
        yield f"One value only was ever seen of {', '.join(spec.data.constants)}."


def _weak(facts: Facts) -> Iterator[str]:
    judged = [one for one in facts.figures if one.metric == facts.metric and one.baseline is not None]
    weak = [one for one in judged if one.beaten]
    for one in weak:
        yield f"Weak slice: on {one.slice} it is not better than {facts.baseline} ({_pair(one)})."
    whole = next((one for one in judged if one.window == HOLDOUT and one.horizon is None), None)
    if not weak and judged and whole is not None:
        worst = max(judged, key=_share)
        yield f"No measured slice is behind {facts.baseline}; the nearest is {worst.slice} ({_pair(worst)})."
    if whole is not None:
        yield from _weak_parts(facts, whole)
    held = [one for one in facts.figures if one.metric == "coverage_80" and abs(one.value - _NOMINAL) > _NEAR]
    if held:
        yield f"Its 80 % interval held {'; '.join(f'{one.value:.0%} of the truths on {one.slice}' for one in held)}."
    if any(one.window == FROZEN for one in facts.figures):
        yield "Old rows are kept apart (frozen) to bound what it may forget."


def _weak_parts(facts: Facts, whole: Figure) -> Iterator[str]:
    """The classes that are surely worse than the whole: the interval of their mean leaves the whole's on the better side."""
    for one in facts.figures:
        if one.window == PART and one.low is not None and one.high is not None:
            worse = one.high < whole.value if one.metric in HIGHER_IS_BETTER else one.low > whole.value
            if worse:
                yield f"Weak slice: on {one.slice} its {one.metric} is {one.value:.4g}, on all rows {whole.value:.4g} ({one.rows} rows)."


def _unmeasured(facts: Facts) -> Iterator[str]:
    if not facts.spec.promote.slices:
        yield "No slices are declared under promote.slices: of parts of the data, or groups of people, only those in the table of scores are measured."
    holdout = facts.rows.part(HOLDOUT)
    if holdout is not None:
        period = f" from {holdout.start} to {holdout.end}" if holdout.start else " chosen by a hash of the row"
        yield f"Its figures rest on {holdout.rows:,} rows{period}; of other times and places they say nothing."


def _share(one: Figure) -> float:
    """How near the baseline is: 1 is equal, for losses and for rates of hits alike."""
    if not one.baseline or not one.value:
        return 0.0
    return min(one.value / one.baseline, one.baseline / one.value)


def _pair(one: Figure) -> str:
    return f"{one.metric} {one.value:.4g} against {one.baseline:.4g}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
