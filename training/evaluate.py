"""The scores of an exported model on rows it never saw, beside the naive baseline, and the comparison of two models.

`evaluate` is DVC's stage and knows no champion; the gate calls `losses_of` and `compare_with_champion`. Everything compared is
compared on the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.files import write_json
from data.schema import ROW_ID, SPLIT, TIME, TableSchema
from training.bootstrap import paired_bootstrap
from training.holdout import has_frozen, holdout_rows, windows
from training.metrics import Classes, Numbers
from training.naive import answers as naive_answers
from training.promote import FROZEN, HOLDOUT, Comparison, PromoteSection, baselines_of, metric_of
from training.scoring import Scored, given

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CANDIDATE = "candidate"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What `evaluate` found. `tree` is scores.json: window -> {rows, candidate, baseline} -> metric -> value; `frozen` has no baseline."""

    tree: dict[str, Any]
    comparison: Comparison  # with the baseline, on the whole holdout


def evaluate(
    folder: Path, table: pd.DataFrame, schema: TableSchema, promote: PromoteSection, out: Path, *, pictures: bool = True
) -> Scores:
    """Score the model in `folder` and the naive baseline on the holdout rows of `table`, and write into `out`:

    scores.json; losses.parquet, a row per holdout row: its id, `candidate/METRIC` and `BASELINE/METRIC`, per horizon too;
    predictions.parquet, the newest rows to draw; and the pictures. UserError where no holdout row or no baseline is known.
    """
    scored = Scored.ask(folder, holdout_rows(table, schema), schema)
    metric = metric_of(promote, schema.task, series=bool(schema.horizons))
    others = _baselines(scored, table.loc[table[SPLIT] == "train"], promote)
    baseline, joint = _strongest(scored, others, metric)
    losses = scored.losses(scored.answers, CANDIDATE).merge(scored.losses(others[baseline], baseline), on=ROW_ID)
    comparison = compare_with_baseline(losses, scored.rows, schema, promote)
    tree: dict[str, Any] = {"metric": metric, "baseline": baseline, "against_baseline": comparison.row()}
    for window, inside in windows(scored.rows, schema, promote).items():
        tree[window] = _window(scored, others[baseline], inside & joint)
    if has_frozen(table):
        kept = Scored.ask(folder, holdout_rows(table, schema, FROZEN), schema)
        tree[FROZEN] = {"rows": len(kept.rows), CANDIDATE: kept.metrics(kept.answers, given(kept.answers))}
    tree["baselines"] = {kind: scored.metrics(answers, joint) for kind, answers in others.items()}

    out.mkdir(parents=True, exist_ok=True)
    losses.to_parquet(out / "losses.parquet", index=False)
    drawn = scored.drawn(others[baseline])
    drawn.to_parquet(out / "predictions.parquet", index=False)
    if pictures:
        from training import pictures as drawing

        for name, png in drawing.of_predictions(drawn, schema, baseline).items():
            (out / f"{name}.png").write_bytes(png)
    write_json(out / "scores.json", tree)
    return Scores(tree=tree, comparison=comparison)


def read_losses(out: Path) -> pd.DataFrame:
    """losses.parquet of an evaluation: the candidate's and the baseline's loss of each holdout row."""
    import pandas as pd

    return pd.read_parquet(out / "losses.parquet")


def losses_of(folder: Path, table: pd.DataFrame, schema: TableSchema, side: str = HOLDOUT) -> pd.DataFrame:
    """Another model's losses (the champion's) on the holdout (or frozen) rows of `table`: row id, and one column per metric and horizon.

    UserError where it cannot be asked: a column that it reads is gone, or it answers another task or other horizons.
    """
    from training.signature import Signature

    signature = Signature.read(folder)
    if (signature.task, signature.horizons) != (schema.task, schema.horizons):
        raise UserError(
            f"the model answers {signature.task} {list(signature.horizons)}, the table asks {schema.task} {list(schema.horizons)}",
            where=str(folder),
            next_step="the two cannot be compared: judge the new one against the baseline alone",
        )
    scored = Scored.ask(folder, holdout_rows(table, schema, side), schema)
    return scored.losses(scored.answers)


def compare_with_baseline(
    losses: pd.DataFrame, table: pd.DataFrame, schema: TableSchema, promote: PromoteSection
) -> Comparison:
    """The candidate against the naive baseline on the whole holdout, from `read_losses`."""
    metric = metric_of(promote, schema.task, series=bool(schema.horizons))
    baseline = str(losses.columns[-1]).split("/")[0]
    rows = holdout_rows(table, schema)
    return _compared(losses, f"{CANDIDATE}/{metric}", f"{baseline}/{metric}", rows, promote, against=baseline, metric=metric)


def compare_with_champion(
    losses: pd.DataFrame, champion: pd.DataFrame, table: pd.DataFrame, schema: TableSchema, promote: PromoteSection
) -> list[Comparison]:
    """The candidate (`read_losses`) against the champion (`losses_of`) on the same rows: one comparison per window and horizon."""
    metric = metric_of(promote, schema.task, series=bool(schema.horizons))
    rows, both = holdout_rows(table, schema), losses.merge(champion, on=ROW_ID)
    found = [
        _compared(both, f"{CANDIDATE}/{metric}", metric, rows.loc[inside], promote, window=window, metric=metric)
        for window, inside in windows(rows, schema, promote).items()
    ]
    for horizon in schema.horizons if len(schema.horizons) > 1 else ():
        name, window = f"{metric}/h{horizon}", f"{horizon} steps ahead"
        found.append(_compared(both, f"{CANDIDATE}/{name}", name, rows, promote, window=window, metric=metric))
    return found


def compare_on_frozen(
    candidate: pd.DataFrame, champion: pd.DataFrame, table: pd.DataFrame, schema: TableSchema, promote: PromoteSection
) -> Comparison:
    """Candidate and champion (both `losses_of(..., side=FROZEN)`) on the frozen rows."""
    metric = metric_of(promote, schema.task, series=bool(schema.horizons))
    named = {name: f"{CANDIDATE}/{name}" for name in candidate.columns if name != ROW_ID}
    both = candidate.rename(columns=named).merge(champion, on=ROW_ID)
    rows = holdout_rows(table, schema, FROZEN)
    return _compared(both, f"{CANDIDATE}/{metric}", metric, rows, promote, window=FROZEN, metric=metric)


def _compared(
    losses: pd.DataFrame, candidate: str, reference: str, rows: pd.DataFrame, promote: PromoteSection, **named: Any
) -> Comparison:
    """The bootstrap of two columns of `losses` over `rows`; a column that is not there has no sound comparison."""
    pair = losses.set_index(ROW_ID).reindex(index=rows[ROW_ID], columns=[candidate, reference])
    return paired_bootstrap(
        pair[candidate].to_numpy(dtype=float),
        pair[reference].to_numpy(dtype=float),
        confidence=promote.confidence,
        ordered=TIME in rows.columns,
        **named,
    )


def _baselines(scored: Scored, train: pd.DataFrame, promote: PromoteSection) -> dict[str, Numbers | Classes]:
    """The declared baseline, or all that the table knows on at least half of the rows."""
    schema, found = scored.schema, {}
    for kind in baselines_of(promote, schema.task, series=bool(schema.horizons)):
        try:
            answers = naive_answers(kind, train, scored.rows, schema, scored.signature.classes)
        except KeyError:
            continue
        if given(answers).mean() >= 0.5:
            found[kind] = answers
    if not found:
        raise UserError(
            f"promote.baseline: {promote.baseline} is not known for the holdout's rows",
            next_step="choose another baseline, or set features.season to a season that the data covers",
        )
    return found


def _strongest(scored: Scored, others: dict[str, Numbers | Classes], metric: str) -> tuple[str, np.ndarray]:
    """The baseline with the least loss, and the rows for which all of them have an answer: every score is on these."""
    import numpy as np

    joint = np.logical_and.reduce([given(answers) for answers in others.values()])
    means = {kind: float(np.mean(scored.row_losses(answers)[metric][joint])) for kind, answers in others.items()}
    return min(means, key=lambda kind: means[kind]), joint


def _window(scored: Scored, baseline: Numbers | Classes, inside: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": int(inside.sum())}
    if found["rows"]:
        found |= {CANDIDATE: scored.metrics(scored.answers, inside), "baseline": scored.metrics(baseline, inside)}
    return found
