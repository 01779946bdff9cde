"""One set of rows with their truth, and what answers to them are worth: losses per row, metrics per window, a table to draw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.schema import ROW_ID, TIME, TableSchema
from training.metrics import Classes, Numbers, central_80, class_losses, class_metrics, number_losses, number_metrics
from training.naive import label_codes

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from training.signature import Signature

PREDICTIONS = 10_000  # rows of the table to draw


@dataclass(frozen=True)
class Scored:
    """Rows, their truth (numbers [N, H], or the classes' indices [N]), and the model that is judged on them with its answers."""

    rows: pd.DataFrame
    truth: np.ndarray
    schema: TableSchema
    signature: Signature
    answers: Numbers | Classes

    @classmethod
    def ask(cls, folder: Path, rows: pd.DataFrame, schema: TableSchema) -> Scored:
        """Ask the model in `folder` for its answers to `rows`."""
        import numpy as np

        from training.predictor import OnnxPredictor

        predictor = OnnxPredictor(folder)
        outputs, signature = predictor.predict(rows), predictor.signature
        if schema.task == "classification":
            truth = label_codes(rows[schema.targets[0]], signature.classes)
            return cls(rows, truth, schema, signature, Classes(outputs["probabilities"]))
        count, horizons = len(rows), len(schema.targets)
        quantiles = outputs.get("quantiles")
        answers = Numbers(
            point=np.reshape(outputs["prediction"], (count, horizons)),
            quantiles=None if quantiles is None else np.reshape(quantiles, (count, horizons, -1)),
            levels=signature.quantile_levels,
        )
        return cls(rows, rows[list(schema.targets)].to_numpy(dtype=float), schema, signature, answers)

    def row_losses(self, answers: Numbers | Classes) -> dict[str, np.ndarray]:
        """Each loss, of every row [N] or of every row and horizon [N, H]."""
        if isinstance(answers, Classes):
            return class_losses(self.truth, answers)
        losses = number_losses(self.truth, answers, self.signature.quantile_levels)
        return {name: loss for name, loss in losses.items() if name != "mse"}

    def losses(self, answers: Numbers | Classes, who: str = "") -> pd.DataFrame:
        """ROW_ID and `who/metric`, the mean over horizons, then `who/metric/h4` for each of several; NaN without an answer."""
        import pandas as pd

        prefix, found = f"{who}/" if who else "", {ROW_ID: self.rows[ROW_ID].to_numpy()}
        for name, loss in self.row_losses(answers).items():
            found[f"{prefix}{name}"] = loss if loss.ndim == 1 else loss.mean(axis=1)
            if loss.ndim == 2 and loss.shape[1] > 1:
                found |= {f"{prefix}{name}/h{horizon}": loss[:, i] for i, horizon in enumerate(self.schema.horizons)}
        frame = pd.DataFrame(found)
        frame.loc[~given(answers), frame.columns[1:]] = math.nan
        return frame

    def metrics(self, answers: Numbers | Classes, inside: np.ndarray) -> dict[str, Any]:
        """The metrics over the rows inside; where there are several horizons, over all of them and then of each (`h4`)."""
        if isinstance(answers, Classes):
            return _rounded(class_metrics(self.truth[inside], Classes(answers.probabilities[inside])))
        found: dict[str, Any] = self._of_numbers(answers, inside, slice(None))
        if len(self.schema.horizons) > 1:
            for i, horizon in enumerate(self.schema.horizons):
                found[f"h{horizon}"] = self._of_numbers(answers, inside, slice(i, i + 1))
        return found

    def _of_numbers(self, answers: Numbers, inside: np.ndarray, horizons: slice) -> dict[str, float | None]:
        quantiles = None if answers.quantiles is None else answers.quantiles[inside, horizons]
        part = Numbers(answers.point[inside, horizons], quantiles, answers.levels)
        return _rounded(number_metrics(self.truth[inside, horizons], part, self.signature.quantile_levels))

    def drawn(self, baseline: Numbers | Classes) -> pd.DataFrame:
        """The newest rows, at most PREDICTIONS, one per row and horizon: truth, prediction, interval and baseline, for pictures."""
        import numpy as np
        import pandas as pd

        last = slice(max(0, len(self.rows) - PREDICTIONS // max(len(self.schema.horizons), 1)), len(self.rows))
        named = {ROW_ID: ROW_ID, TIME: "time"} | ({self.schema.entity: "entity"} if self.schema.entity else {})
        about = self.rows.iloc[last][[column for column in named if column in self.rows.columns]].rename(columns=named)
        if isinstance(self.answers, Classes) or isinstance(baseline, Classes):
            labels, p = np.asarray(self.signature.classes, dtype=object), self.answers.probabilities[last]  # pyright: ignore[reportAttributeAccessIssue]  (both are)
            truth = self.rows[self.schema.targets[0]].iloc[last].astype(str)
            return about.assign(truth=truth, label=labels[p.argmax(axis=1)], probability=p.max(axis=1))
        interval, parts = central_80(self.answers), []
        for i, horizon in enumerate(self.schema.horizons or (0,)):
            figures = {
                "truth": self.truth[last, i],
                "prediction": self.answers.point[last, i],
                "baseline": baseline.point[last, i],
            }
            if interval is not None:
                figures |= {"low": interval[0][last, i], "high": interval[1][last, i]}
            part = about.assign(horizon=horizon, **figures)
            if horizon and "time" in part.columns and self.schema.step_seconds:
                part["time"] += pd.Timedelta(seconds=horizon * self.schema.step_seconds)
            parts.append(part)
        return pd.concat(parts, ignore_index=True)


def given(answers: Numbers | Classes) -> np.ndarray:
    """The rows for which there is an answer."""
    import numpy as np

    values = answers.probabilities if isinstance(answers, Classes) else answers.point
    return np.logical_and.reduce(np.isfinite(values), axis=1)


def _rounded(metrics: dict[str, float]) -> dict[str, float | None]:
    """Six significant digits; what is not a number is None, for JSON."""
    return {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in metrics.items()}
