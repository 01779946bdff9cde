"""A workload's whole past: its examples, which of them a retrain would have learnt from and been judged on, and the fits, kept.

The rows, splits and fits are the product's own functions. It knows no policy and no gate.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assets.retraining import span
from assets.spec import Spec
from data import examples, prepare, sources, split
from data.cutoff import Cutoff, Window
from data.places import Places
from data.schema import SPLIT, TIME, TableSchema
from data.section import seconds
from training.family import family, settings
from training.fit import fit


@dataclass(frozen=True, kw_only=True)
class Version:
    """A fitted model: what was kept of the known rows to judge it (none: it learnt them all), and the CPU seconds of its fit."""

    name: str
    folder: Path
    cutoff: Cutoff | None
    until: pd.Timestamp
    cpu_s: float


class Past:
    """`fits` keeps the models of equal rows and settings, so that policies share them."""

    def __init__(self, spec: Spec, places: Places, fits: Path) -> None:
        """Read the source and make the examples of all of it, whatever `data.until` says."""
        self.spec, self.fits = spec, fits
        data = spec.data.model_copy(update={"until": None, "sha256": None})
        self.source = prepare.prepare(sources.read(data, places, sources.fingerprint(data, places)), data)
        newest = data.model_copy(
            update={"holdout": (max(spec.features.horizons) + 2.5) / len(self.source)}
        )  # as good as none: the split is made anew for each cutoff
        made = examples.make(self.source, spec.task, newest, spec.features)
        self.table: pd.DataFrame = made.table.sort_values(TIME, kind="stable", ignore_index=True)
        self.schema: TableSchema = made.schema
        self.delay = seconds(data.label_delay)
        self.step_s = seconds(data.step or "0s")

    @cached_property
    def truth_times(self) -> np.ndarray:
        """When each horizon's truth is known [N, H], unix seconds."""
        own = self.table[TIME].dt.as_unit("s").astype("int64").to_numpy()
        return own[:, None] + np.asarray(self.schema.horizons) * self.step_s + self.delay

    def cutoff(self, until: pd.Timestamp, frozen: Window | None) -> Cutoff:
        """What a retrain asked for at `until` is fitted and judged on; the window is assets/retraining.py's default."""
        first = self.source[self.spec.data.time or ""].iloc[0]
        window = self.spec.retrain.judged_on((until - first).to_pytimedelta()) + span(self.spec)
        return Cutoff(until=until.to_pydatetime(), window_s=round(window.total_seconds()), frozen=frozen)

    def rows(self, cutoff: Cutoff) -> pd.DataFrame:
        """The table as a retrain with that cutoff has it."""
        begins = cutoff.begins
        assert begins is not None
        reaches = [horizon * self.step_s for horizon in self.schema.horizons]
        side = split.by_window(self.table[TIME], begins, cutoff.until, reaches, self.delay, cutoff.frozen)
        return self.table.assign(**{SPLIT: side})[side != split.NEITHER].reset_index(drop=True)

    def retrained(self, until: pd.Timestamp, frozen: Window | None = None) -> Version:
        """What a retrain at `until` makes."""
        cutoff = self.cutoff(until, frozen)
        rows = self.rows(cutoff)
        return self._fitted(rows[rows[SPLIT] == split.TRAIN], until, cutoff)

    def on_everything(self, until: pd.Timestamp) -> Version:
        """Fitted on all that was known by `until`; nothing is left to judge it on."""
        known = self.truth_times.max(axis=1) < until.timestamp()
        return self._fitted(self.table[known].assign(**{SPLIT: split.TRAIN}), until, None)

    def _fitted(self, rows: pd.DataFrame, until: pd.Timestamp, cutoff: Cutoff | None) -> Version:
        train = self.spec.train
        chosen = family(self.spec.family)
        made: Any = settings(chosen, train)
        times = rows[TIME].dt.as_unit("s").astype("int64").to_numpy()
        name = sha256(times.tobytes() + json.dumps([self.spec.name, made, train.seed]).encode()).hexdigest()[:16]
        folder, facts = self.fits / name, self.fits / name / "cost.json"
        if not facts.is_file():
            with tempfile.TemporaryDirectory(dir=self.fits) as scratch:
                begun, model = time.process_time(), Path(scratch) / "model"
                prepared = chosen.prepare(rows.reset_index(drop=True), self.schema, made, train.seed)
                fit(prepared, folder=Path(scratch) / "checkpoints", seed=train.seed, patience=train.patience)
                chosen.export(prepared, self.schema, self.spec.name, model)
                (model / facts.name).write_text(json.dumps(time.process_time() - begun))
                try:
                    model.rename(folder)
                except OSError:  # the other process was first
                    if not facts.is_file():
                        raise
        return Version(name=name, folder=folder, cutoff=cutoff, until=until, cpu_s=json.loads(facts.read_text()))
