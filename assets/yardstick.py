"""What a version is measured by once it serves: made at its registration, from the rows that it was trained and judged on.

HOME/monitor/WORKLOAD/VERSION: the drift reference with its thresholds, the losses and the expected losses of the holdout, and the
last truths of the series. Derived: it can be made again from the version's data. Knows no traffic and no Dagster.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets import grounds
from assets.spec import Spec
from assets.stages import read_features
from assets.windows import length_rows, length_s
from data import versions
from data.errors import UserError
from data.files import write_json
from data.places import Places
from data.schema import PREDICTION, SPLIT, TIME, Column, TableSchema
from training.promote import metric_of
from training.signature import Signature

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from data.drift import Reference, Thresholds

log = logging.getLogger("aiprime.monitoring")
_TRUTHS = 20_000  # of the newest rows of the series, for what a sensor usually does
_HISTORY = 20_000  # rows that thresholds are calibrated on
_ROUNDS = 100


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """`losses`: a column per horizon (`h4`, or `all`) in the order of time; `expected`: the model's own estimate, row by row."""

    metric: str
    losses: pd.DataFrame
    expected: np.ndarray
    temperature: float
    truths: pd.DataFrame  # entity, time, value
    reference: Reference | None
    thresholds: Thresholds | None


def folder(places: Places, workload: str, version: str) -> Path:
    """Where a version's yardstick lies."""
    return places.home / "monitor" / workload / version


def metric(spec: Spec) -> str:
    """The loss that serving is watched by: the gate's where single answers and truths give it, else mae or the log loss."""
    chosen = metric_of(spec.promote, spec.task, series=bool(spec.features.horizons))
    return {"pinball": "mae", "brier": "log_loss"}.get(chosen, chosen)


def make(spec: Spec, places: Places, version: str) -> None:
    """Make the yardstick of the model that is in the workload's store, for `version`; nothing where it is there already."""
    import numpy as np

    from data import drift

    target = folder(places, spec.name, version)
    grounds.keep(spec, places, version)
    if (target / "yardstick.json").is_file():
        return
    target.mkdir(parents=True, exist_ok=True)
    table, schema = read_features(places, spec.name)
    rows = table.sort_values(TIME, kind="stable") if TIME in table.columns else table
    model = places.models(spec.name, version)
    watched = metric(spec)
    holdout = rows[rows[SPLIT] == "holdout"]
    losses, expected, temperature = _losses(model, holdout, schema, watched)
    losses.to_parquet(target / "losses.parquet", index=False)
    np.save(target / "expected.npy", expected, allow_pickle=False)
    _truths(spec, places).to_parquet(target / "truths.parquet", index=False)
    seen = with_predictions(rows.tail(_HISTORY), model)
    columns = watched_columns(schema, model)
    try:
        drift.reference(seen, columns).write(target / "drift.parquet")
        limits = drift.calibrate(
            seen,
            columns,
            window=_window_rows(spec, rows),
            false_alarms=spec.monitor.false_alarms,
            rounds=_ROUNDS,
            ordered=TIME in rows.columns,
            sample=spec.monitor.sample,
        )
        write_json(target / "thresholds.json", limits.to_json())
    except UserError as error:  # too few rows, or only times: drift is then not watched, and each window says so
        log.warning("%s: version %s: drift cannot be watched: %s", spec.name, version, error.what)
    write_json(target / "yardstick.json", {"metric": watched, "temperature": temperature, "holdout": len(holdout)})


def read(places: Places, workload: str, version: str) -> Yardstick | None:
    """A version's yardstick; None where none was made (a version from before there were monitors)."""
    import numpy as np
    import pandas as pd

    from data.drift import Reference, Thresholds

    at = folder(places, workload, version)
    try:
        facts = json.loads((at / "yardstick.json").read_bytes())
    except FileNotFoundError:
        return None
    watched = (at / "thresholds.json").is_file()
    return Yardstick(
        metric=facts["metric"],
        temperature=facts["temperature"],
        losses=pd.read_parquet(at / "losses.parquet"),
        expected=np.load(at / "expected.npy", allow_pickle=False),
        truths=pd.read_parquet(at / "truths.parquet"),
        reference=Reference.read(at / "drift.parquet") if watched else None,
        thresholds=Thresholds.from_json(json.loads((at / "thresholds.json").read_bytes())) if watched else None,
    )


def watched_columns(schema: TableSchema, model: Path) -> list[Column]:
    """The inputs and the predictions, as columns to compare."""
    signature = Signature.read(model)
    if signature.task == "classification":
        answers = [Column(name=PREDICTION, kind="category")]
    else:
        answers = [Column(name=f"{PREDICTION}{_of(h)}", kind="number") for h in signature.horizons or (None,)]
    return [*schema.inputs, *answers]


def with_predictions(rows: pd.DataFrame, model: Path) -> pd.DataFrame:
    """The rows with what the model answers to them, in the columns that `watched_columns` names."""
    import numpy as np

    from training.predictor import OnnxPredictor, point

    predictor = OnnxPredictor(model)
    answers = point(predictor.predict(rows), predictor.signature)
    if predictor.signature.task == "classification":
        return rows.assign(**{PREDICTION: answers})
    found = np.reshape(answers, (len(rows), -1))
    names = [f"{PREDICTION}{_of(h)}" for h in predictor.signature.horizons or (None,)]
    return rows.assign(**{name: found[:, i] for i, name in enumerate(names)})


def _of(horizon: int | None) -> str:
    return "" if horizon is None else f"_h{horizon}"


def _losses(model: Path, holdout: pd.DataFrame, schema: TableSchema, watched: str) -> tuple[pd.DataFrame, np.ndarray, float]:
    """The holdout's losses by horizon, its expected losses, and the temperature that calibrates probabilities."""
    import numpy as np
    import pandas as pd

    from training.estimate import expected_losses, temperature_of
    from training.holdout import holdout_rows
    from training.metrics import Classes
    from training.scoring import Scored

    scored = Scored.ask(model, holdout_rows(holdout, schema), schema)
    values = scored.row_losses(scored.answers)[watched]
    names = ["all"] if values.ndim == 1 else [f"h{h}" for h in schema.horizons] or ["all"]
    losses = pd.DataFrame(np.reshape(values, (len(values), -1)), columns=names)
    temperature = 1.0
    if isinstance(scored.answers, Classes):
        temperature = temperature_of(scored.answers.probabilities, scored.truth)
    try:
        expected = expected_losses(scored.answers, schema.task, watched, temperature=temperature)
    except ValueError:  # numbers without quantiles say nothing of their own error
        expected = np.empty(0)
    return losses, np.asarray(expected, dtype=float), temperature


def _truths(spec: Spec, places: Places) -> pd.DataFrame:
    import pandas as pd

    data = spec.data
    if data.time is None or spec.task == "classification":
        return pd.DataFrame({"entity": [], "time": [], "value": []})
    names = [data.time, data.target, *([data.entity] if data.entity else [])]
    versions.verify(places.root, spec.name, "dataset")
    rows = pd.read_parquet(places.store(spec.name) / "dataset.parquet", columns=names)
    rows = rows[rows[data.target].notna()].sort_values(data.time).tail(_TRUTHS)
    entity = rows[data.entity].astype(str) if data.entity else ""
    return pd.DataFrame({"entity": entity, "time": rows[data.time], "value": rows[data.target].astype(float)})


def _window_rows(spec: Spec, rows: Any) -> int:
    """How many rows a window usually holds."""
    span = length_s(spec.monitor, spec.data, spec.features)
    if span is None or TIME not in rows.columns or len(rows) < 2:
        return length_rows(spec.monitor)
    whole = (rows[TIME].iloc[-1] - rows[TIME].iloc[0]).total_seconds()
    return max(2, round(len(rows) * span / whole)) if whole > 0 else length_rows(spec.monitor)
