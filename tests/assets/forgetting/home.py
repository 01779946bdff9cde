"""A workload of three shops as a life with it leaves it: data through DVC and Feast, a model's folder, records, monitors, caches, logs."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from assets import stages
from assets.spec import Spec, load
from data import features, versions
from data.files import write_json
from data.places import Places
from serving.ledger import Ledger
from serving.records import Label, Records, by_id, by_time
from tests.conftest import copy_tree
from tests.serving.records.samples import prediction
from training.signature import Output, Signature

ERIKA, NORTH, SOUTH = "Erika Müsterfrau", "laden-nord", "laden-süd"
DAYS = 160
_DAY_S = 86_400
SIGNATURE = Signature(
    workload="shop",
    family="tabular",
    task="forecasting",
    target="sales",
    inputs=(),
    outputs=(Output(name="prediction", datatype="FP64", shape=(1,), tensor="y0"),),
    horizons=(1,),
    step_seconds=_DAY_S,
    entity="store",
)
DEFS = """type: assets.Workload
attributes:
  name: shop
  family: tabular
  task: forecasting
  data:
    source: shop.csv
    target: sales
    time: day
    entity: store
    step: 1d
    columns: {day: time, store: category, sales: number}
  quality: {}
  features: {horizons: [1], season: 7}
  train: {}
  promote: {}
  serve: {}
"""


@dataclass(frozen=True)
class Here:
    """What the assets act on, bound to a folder."""

    places: Places

    @property
    def ledger(self) -> Ledger:
        return Ledger.at(self.places.home)

    @property
    def spec(self) -> Spec:
        return load(self.places, "shop")


@cache
def once(base: Path) -> Here:
    """One below `base`, made once for all tests of a process; each takes a copy. The tests of several files are of one group."""
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("AIPRIME_LEDGER_URL", raising=False)
        return lived(base / "forgetting")


def lived(folder: Path) -> Here:
    """The project and its home, made by the real stages as far as they are about rows."""
    root = copy_tree(folder / "project")
    (root / "orchestration/workloads/shop").mkdir()
    (root / "orchestration/workloads/shop/defs.yaml").write_text(DEFS)
    index = root / "orchestration/workloads/index.yaml"
    index.write_text("workloads:\n  shop: {family: tabular}\n")
    for other in [path for path in (root / "orchestration/workloads").iterdir() if path.is_dir() and path.name != "shop"]:
        for file in other.rglob("*"):
            if file.is_file():
                file.unlink()
    sales(days=DAYS).to_csv(root / "shop.csv", index=False)
    here = Here(Places(root=root, home=folder / "home"))
    here.places.home.mkdir()
    versions.initialise(root, here.places.home)
    for days in (DAYS - 20, DAYS):  # an older revision first
        sales(days=days).to_csv(root / "shop.csv", index=False)
        data(here)
    features.publish("shop", here.places.store("shop") / "features", here.places.home)
    (here.places.store("shop") / "labels.parquet").parent.mkdir(exist_ok=True)
    told = {"entity": [ERIKA, NORTH], "time": pd.to_datetime(["2020-06-01", "2020-06-01"], utc=True), "value": [1.0, 2.0]}
    pd.DataFrame(told).to_parquet(here.places.store("shop") / "labels.parquet")
    _versions(here)
    _records(here)
    _beside(here.places.home)
    return here


def sales(days: int) -> pd.DataFrame:
    """Each shop's sales by day."""
    rng, parts = np.random.default_rng(1), []
    for name, level in ((ERIKA, 100.0), (NORTH, 60.0), (SOUTH, 80.0)):
        day = pd.date_range("2020-01-01", periods=DAYS, freq="D").strftime("%Y-%m-%d")
        values = level + 10 * np.sin(np.arange(DAYS) * 2 * np.pi / 7) + rng.normal(0, 3, DAYS)
        parts.append(pd.DataFrame({"day": day, "store": name, "sales": values.round(3)}).head(days))
    return pd.concat(parts)


def data(here: Here) -> None:
    """Bring the stages about rows up to date."""
    for stage in ("source", "dataset", "quality", "features"):
        stages.up_to_date(stage, "shop", here.places)


def _versions(here: Here) -> None:
    """1 and 2 were made of the present data, 1 is neither champion nor the one before any more; 4 is of other data."""
    made = versions.locked(here.places.root, "shop")["dataset"]
    for number in ("1", "2", "3", "4"):
        folder = here.places.models("shop", number)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"\x00\x01" + number.encode() + (b"" if number == "4" else ERIKA.encode()))
        for kind in ("yaml", "sig", "release", "card.md"):
            (folder.parent / f"{number}.{kind}").write_text(f"of version {number}")
        payload = {"data_version": "0" * 32 if number == "4" else made, "passed": True, "model_digest": number, "serve": {}}
        here.ledger.record("registered", "shop", number, payload)
        watched = here.places.home / "monitor" / "shop" / number
        watched.mkdir(parents=True)
        if number != "4":
            day = pd.date_range("2020-06-01", periods=3, tz="UTC")
            truths = pd.DataFrame({"entity": [ERIKA, NORTH, ERIKA], "time": day, "value": [1.0, 2.0, 3.0]})
            truths.to_parquet(watched / "truths.parquet")
            pd.DataFrame({"store": [ERIKA, NORTH], "lag": [1.0, 2.0]}).to_parquet(watched / "background.parquet")
            pd.DataFrame({"prediction": ["low", ERIKA]}).to_parquet(watched / "drift.parquet")
    for number, before in (("1", None), ("2", "1"), ("3", "2")):
        here.ledger.promote("shop", number, expected=before, reason="better")


def _records(here: Here) -> None:
    records = Records.at(here.places.home)
    named: list[Any] = [
        prediction("shop", entities=(who,), request=json.dumps({"instances": [{"store": who}]}).encode())
        for who in (ERIKA, NORTH, ERIKA)
    ]
    unnamed = prediction("shop", request=b'{"instances": [{"store": "Erika M\\u00fcsterfrau"}]}')
    records.append([*named, unnamed])
    at = [by_time("2020-06-09T00:00:00Z", who) for who in (ERIKA, NORTH)]
    about = [*at, *(by_id(one.id, 0, 1) for one in named)]
    records.label([Label(workload="shop", about=one, value=7.5) for one in about])
    records.absorb(SIGNATURE)
    records.close()


def _beside(home: Path) -> None:
    """Everything else that an entity's key comes to lie in."""
    for part in (
        "gate/shop/a.json",
        "quality/shop/failed_rows.csv",
        "monitor/shop/drift/p.html",
        "checkpoints/shop/state.json",
    ):
        (home / part).parent.mkdir(parents=True, exist_ok=True)
        (home / part).write_text(f"rows of {ERIKA}, {NORTH}")
    for model in ("1", "4"):  # what was judged, and the signature of what was tried
        write_json(home / "gate" / "shop" / f"of-{model}.json", {"model_digest": model, "passed": True})
        (home / "gate" / "shop" / f"{model}.sig").write_text("signed")
    (home / "logs").mkdir()
    (home / "logs" / "gateway.log").write_text(f"line 1\n{ERIKA}: unknown\nErika Müsterfrauen: another\n{NORTH}: fine\n")
    example = home / "mlflow/artifacts/1/models/m-1/artifacts"
    example.mkdir(parents=True)
    write_json(example / "input_example.json", {"columns": ["store"], "data": [[ERIKA]]})
    (example / "model.onnx").write_bytes(b"\x00" + ERIKA.encode())
    _dagster(home / "dagster" / "history" / "runs" / "index.db")
    _mlflow(home / "mlflow" / "mlflow.db")


def _dagster(file: Path) -> None:
    """Its events as it keeps them, of this workload and of another one."""
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "create table event_logs (id integer primary key, run_id varchar, event text, dagster_event_type text, step_key text, "
            "asset_key text)"
        )
        for workload in ("shop", "other"):
            event = {
                "__class__": "EventLogEntry",
                "pipeline_name": "main",
                "level": "default",
                "user_message": f"read {ERIKA}: fine",
            }
            event["metadata"] = json.dumps({"version": 1, "md_str": f"| day | store |\n| 1 | {ERIKA} |\n{NORTH}"})
            row = (f"run-{workload}", json.dumps(event), "success", f"{workload}__dataset", json.dumps([workload, "dataset"]))
            database.execute(
                "insert into event_logs (run_id, event, dagster_event_type, step_key, asset_key) values (?, ?, ?, ?, ?)", row
            )


def _mlflow(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("create table experiments (experiment_id integer, name varchar)")
        database.execute("create table runs (run_uuid varchar, name varchar, status varchar, experiment_id integer)")
        database.execute("create table params (key varchar, value varchar, run_uuid varchar)")
        database.execute("insert into experiments values (0, 'default'), (1, 'shop'), (2, 'other')")
        for number, workload in ((1, "shop"), (2, "other")):
            database.execute("insert into runs values (?, 'main', 'success', ?)", (workload, number))
            told = [("version", "2"), ("first", ERIKA), ("of", f"{ERIKA} and others")]
            database.executemany("insert into params values (?, ?, ?)", [(*one, workload) for one in told])


def where(here: Here, key: str) -> set[str]:
    """Every file of the home and of the store in which the key is, unpacked: the cells of tables, the contents of records."""
    found = set()
    spellings = [key.encode(), json.dumps(key)[1:-1].encode()]
    for base in (here.places.home, here.places.root / "data" / "store"):
        for file in (path for path in base.rglob("*") if path.is_file()):
            content = file.read_bytes()
            if content.startswith(b"PAR1"):
                table = pd.read_parquet(file)
                content += "\n".join(table.astype(str).to_numpy().ravel().tolist()).encode()
            content = content.replace(f"{key}en".encode(), b"")  # another one, whose key begins alike
            if any(one in content for one in spellings):
                found.add(file.relative_to(base).as_posix())
    records = Records.at(here.places.home)
    for one in records.predictions("shop"):
        if key in one.entities or any(part in one.request + one.answer for part in spellings):
            found.add(f"records: {one.id}")
    records.close()
    return found
