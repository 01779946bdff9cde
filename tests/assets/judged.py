"""A workload whose model is made by hand, `y = scale * x`, brought up to date by the real stages through DVC; its tracking server
remembers in this process. What the gate and the registration are tested on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assets import gate, registration, stages
from assets.spec import Spec, load
from data import cutoff, versions
from data.cutoff import Cutoff
from data.places import Places
from serving.deploy import LocalTarget
from serving.ledger import Decision, Ledger
from tests.conftest import copy_tree
from tests.training import exported
from training.tracking import Version

DAY = timedelta(days=1)
START = datetime(2020, 1, 1, tzinfo=UTC)
DAYS = 400
CHANGED = 300  # from this day on y = 1.5 x, before it y = x
DEFS = """type: assets.Workload
attributes:
  name: hand
  family: tabular
  task: regression
  data: {{source: x.csv, target: y, time: day, columns: {{day: time, x: number, y: number}}, holdout: 0.2}}
  quality: {{}}
  features: {{}}
  train: {{}}
  promote: {promote}
  serve: {serve}
"""


def at(day: int) -> datetime:
    return START + day * DAY


@dataclass
class Remembering:
    """A tracking server's contract, kept in memory."""

    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    fails: bool = False

    def registered(self, workload: str, digest: str) -> Version | None:
        return next((self._version(v) for v, tags in self.versions.items() if tags["model_digest"] == digest), None)

    @contextmanager
    def run(self, workload: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[str]:
        yield "run"

    def log_curve(self, run_id: str, name: str, values: Mapping[int, float]) -> None: ...

    def log_scores(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str], files: list[Path]) -> None: ...

    def register(self, workload: str, folder: Path, run_id: str, example: Any, tags: Mapping[str, str]) -> Version:
        version = str(len(self.versions) + 1)
        self.versions[version] = dict(tags)
        return self._version(version)

    def tag_version(self, workload: str, version: str, tags: Mapping[str, str]) -> None:
        self.versions[version] |= tags

    @staticmethod
    def _version(version: str) -> Version:
        return Version(version, "run", f"http://127.0.0.1/{version}")


@dataclass
class Here:
    """What the assets act on, bound to a folder."""

    places: Places
    mlflow: Remembering = field(default_factory=Remembering)
    boots: bool = True

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.places.home / "ledger.db", noted=self.places.home / "ledger.head")

    def tracking(self) -> Remembering:
        return self.mlflow

    def deployment(self) -> LocalTarget:
        assert self.boots, "nothing is to be booted"
        return LocalTarget(self.places.home, self.ledger)


@dataclass
class Workload:
    """The workload `hand` in a project of its own."""

    here: Here

    @classmethod
    def at(cls, folder: Path) -> Workload:
        root = copy_tree(folder / "project")
        made = cls(Here(Places(root=root, home=folder / "home")))
        made.write(promote="{}", serve="{}")
        (root / "orchestration" / "workloads" / "index.yaml").write_text("workloads:\n  hand: {family: tabular}\n")
        rng = np.random.default_rng(0)
        x = rng.normal(size=DAYS)
        y = np.where(np.arange(DAYS) < CHANGED, 1.0, 1.5) * x + 0.01 * rng.normal(size=DAYS)
        days = pd.date_range(START, periods=DAYS, freq="D")
        pd.DataFrame({"day": days.strftime("%Y-%m-%d"), "x": x, "y": y}).to_csv(root / "x.csv", index=False)
        versions.initialise(root, made.here.places.home)
        return made

    def copied(self, folder: Path) -> Workload:
        """The same in another folder. What was fitted and judged here DVC and the gate find done there."""
        places = Places(root=folder / "project", home=folder / "home")
        for mine, other in ((self.here.places.root, places.root), (self.here.places.home, places.home)):
            shutil.copytree(mine, other, symlinks=True)
        versions.initialise(places.root, places.home)
        return Workload(Here(places))

    def write(self, promote: str = "{}", serve: str = "{}") -> None:
        """The workload's YAML."""
        file = self.here.places.defs("hand")
        file.parent.mkdir(exist_ok=True)
        file.write_text(DEFS.format(promote=promote, serve=serve))

    @property
    def spec(self) -> Spec:
        return load(self.here.places, "hand")

    def fit(self, scale: float, until: Cutoff | None = None) -> None:
        """The stages up to the scores; the model is `y = scale * x`."""
        places, spec = self.here.places, self.spec
        if until is not None:
            cutoff.write(places, "hand", until)

        def model() -> None:
            store = places.store("hand")
            exported.regression(store / "model", scale=scale)
            rows = {"run_id": None, "settings": {"scale": scale}, "steps": 1, "rows": 1, "seconds": 0.1, "trials": []}
            (store / "training.json").write_text(json.dumps(rows | {"scale": scale}))
            (store / "curves.csv").write_text("epoch,step,train_loss,valid_loss\n0,1,1.0,1.0\n")
            (store / "curves.png").write_bytes(b"drawn elsewhere")

        # another model is another recipe, as another seed would be
        file = places.defs("hand")
        file.write_text(re.sub(r"train: {.*}", f"train: {{seed: {round(scale * 1000)}}}", file.read_text()))
        for stage in stages.STAGES:
            call = model if stage == "model" else lambda stage=stage: stages.STAGES[stage](spec, places)
            versions.bring_up_to_date(places.root, stage, "hand", call)

    def judge(self) -> gate.Judged:
        return gate.judge(self.spec, self.here)  # pyright: ignore[reportArgumentType]  (a platform of the same contract)

    def register(self) -> Decision:
        return registration.register(self.spec, self.here, self.judge())  # pyright: ignore[reportArgumentType]

    def promote(self) -> str:
        """The registered model becomes the champion."""
        champion = self.here.ledger.champion("hand")
        version = self.register().version
        self.here.ledger.promote("hand", version, expected=champion.version if champion else None, reason="test")
        return version
