"""What a deployed model was asked, as tables again: a bounded sample of a window's requests, and the series of truths beside it.

Reads the records through the very reader that the model server uses. Judges nothing.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from assets.spec import Spec
from data.errors import UserError
from data.places import Places
from data.schema import TIME
from serving.gateway.online import OnlineStore
from serving.inference.requests import Requests
from serving.records import Prediction, Records
from training.signature import MISSING_TIME, Signature

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd

    from training.metrics import Classes, Numbers

log = logging.getLogger("aiprime.monitoring")
_ANSWERED = {"champion", "challenger"}
_LOCKED_S = 10.0


def sample(
    records: Records,
    spec: Spec,
    signature: Signature,
    *,
    after: int,
    sequence: int,
    start: float,
    end: float,
    most: int,
    seed: int,
) -> pd.DataFrame:
    """At most `most` rows that were asked in a window, as the model's input columns; in the order of arrival.

    Requests are drawn at random (reservoir sampling, Vitter 1985), so that memory is bounded by the sample. A request that cannot be
    read again is counted and left out.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    kept: list[Prediction] = []
    seen = 0
    for one in records.predictions(spec.name, after=after):
        if one.sequence > sequence:
            break
        if one.role not in _ANSWERED or one.status != 200 or not one.request:
            continue
        seen += 1
        if len(kept) < most:
            kept.append(one)
        elif (place := int(rng.integers(seen))) < most:
            kept[place] = one
    table = _table(sorted(kept, key=lambda kept: kept.sequence), signature)
    if table.empty:
        return table
    if signature.time is not None and signature.time in table.columns:
        moments = table[signature.time].astype("int64") / 1e6
        table = table[(moments >= start) & (moments < end)]
        table[TIME] = table[signature.time]
    return table.sample(most, random_state=seed) if len(table) > most else table


def answers(rows: pd.DataFrame, model: Path) -> Numbers | Classes:
    """What a version answers to these rows, quantiles and probabilities included."""
    import numpy as np

    from training.metrics import Classes, Numbers
    from training.predictor import OnnxPredictor

    predictor = OnnxPredictor(model)
    outputs, signature = predictor.predict(rows), predictor.signature
    if signature.task == "classification":
        return Classes(outputs["probabilities"])
    count = len(rows)
    point = np.reshape(outputs["prediction"], (count, -1))
    quantiles = outputs.get("quantiles")
    shaped = None if quantiles is None else np.reshape(quantiles, (count, point.shape[1], -1))
    return Numbers(point=point, quantiles=shaped, levels=signature.quantile_levels)


def series(history: pd.DataFrame, labels: pd.DataFrame, step: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Per entity the truths of training and, on the same regular grid behind them, those that came since: (entity, history, recent).

    `history`: entity, time, value; `labels`: entity, target_time, truth.
    """
    import numpy as np

    from data.sensor import on_grid

    entities = history["entity"].astype(str).unique()
    for entity in entities:
        known = history[history["entity"].astype(str) == entity]
        of = labels if len(entities) == 1 else labels[labels["entity"].astype(str) == entity]
        trained = known["time"].astype("datetime64[us, UTC]").astype("int64").to_numpy() / 1e6
        later = of[of["target_time"] > trained[-1]].drop_duplicates("target_time", keep="last")
        if later.empty:
            continue
        times = np.concatenate([trained, later["target_time"].to_numpy(dtype=float)])
        values = np.concatenate([known["value"].to_numpy(dtype=float), later["truth"].to_numpy(dtype=float)])
        grid = on_grid(times, values, step)
        first = round((trained[-1] - trained[0]) / step) + 1
        yield entity, grid[:first], grid[first:]


def sole_entity(places: Places, spec: Spec, signature: Signature) -> str | None:
    """The entity that every request is about, where the workload has just one and its model does not read it.

    UserError where the online store is written to for longer than a publication takes.
    """
    if signature.entity is None or signature.entity in {one.name for one in signature.inputs}:
        return None
    end = time.monotonic() + _LOCKED_S
    while True:
        try:
            store = OnlineStore(places.home / "feast" / spec.name)
            try:
                found = store.sole_entity()
            finally:
                store.close()
        except (OSError, ValueError, sqlite3.Error) as error:
            if "locked" not in str(error):
                return None
            # Another answer than the last time would have every label looked for again: who publishes is waited for.
            if time.monotonic() > end:
                raise UserError(f"{spec.name}: the online store is being written", next_step="try again") from error
            time.sleep(0.05)
        else:
            return None if found is None else str(found)


def _table(requests: list[Prediction], signature: Signature) -> pd.DataFrame:
    """All rows of the requests; one that cannot be read is counted."""
    import numpy as np
    import pandas as pd

    reader, read = Requests(signature, short_way=False), []
    for one in requests:
        try:
            batch = reader.v1(one.request) if one.form == "v1" else reader.v2(one.request, one.form[3:].encode() or None)
            read.append(batch.feeds)
        except ValueError as error:
            log.debug("%s: the logged request %s cannot be read: %s", signature.workload, one.id, error)
    if len(read) < len(requests):
        log.warning("%s: %s logged requests could not be read again", signature.workload, len(requests) - len(read))
    if not read:
        return pd.DataFrame()
    return pd.DataFrame(
        {one.name: _column(np.concatenate([feeds[one.tensor] for feeds in read]), one.kind) for one in signature.inputs}
    )


def _column(values: np.ndarray, kind: str) -> Any:
    import numpy as np
    import pandas as pd

    if kind == "image":
        return list(values)
    flat = values.reshape(-1)
    if kind == "time":
        stamps = pd.Series(pd.to_datetime(np.where(flat == MISSING_TIME, 0, flat), unit="s", utc=True)).dt.as_unit("us")
        return stamps.mask(pd.Series(flat == MISSING_TIME))
    if kind == "category":
        return pd.Series([one or None for one in flat], dtype=object)
    return flat
