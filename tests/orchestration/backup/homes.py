"""A home as a run leaves it, made in a moment: a ledger, records, a model, MLflow's and Feast's stores, keys, data of DVC's."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from assets import signing
from data import versions
from data.files import tree_digest, write_json
from data.places import Places
from orchestration.backup import manifest
from orchestration.backup.manifest import Manifest
from serving import manifests, routes
from serving.deploy import LocalTarget
from serving.ledger import Ledger
from serving.manifests import ServeSection
from serving.records import Label, Records, by_id
from serving.routes import Route
from serving.trust import keys
from tests.conftest import copy_tree
from tests.serving.records.samples import prediction

PASSED = {"passed": True, "verdict": "passed", "serve": {}}


def filled(folder: Path, *, signed: bool = True) -> Places:
    """A project with a home in which co2's version 1 serves; without `signed`, as homes of version 1 were."""
    places = Places(root=copy_tree(folder / "project"), home=folder / "home")
    places.home.mkdir()
    version(places, "1", signed=signed)
    records = Records.at(places.home)
    answers = [prediction(version="1") for _ in range(6)]
    records.append(answers)
    records.label([Label(workload="co2", about=by_id(one.id, 0), value=1.5) for one in answers[:3]])
    records.close()
    _features(places.home)
    _data(places)
    _mlflow(places.home, places.models("co2", "1"))
    write_json(places.services, {"gateway": "http://127.0.0.1:1"})
    (places.home / "logs").mkdir()
    (places.home / "logs" / "gateway.log").write_text("a line\n")
    return places


def version(places: Places, number: str, *, signed: bool = True) -> None:
    """Register a version of co2 and make it the champion."""
    folder = places.models("co2", number)
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({"number": number}))
    (folder / "model.onnx").write_bytes(number.encode() * 5000)
    digest = tree_digest(folder)
    rendered = manifests.render("co2", number, folder, digest, ServeSection())
    file, ledger = manifests.file(places.home, "co2", number), Ledger.at(places.home)
    if not signed:
        file.write_text(manifests.text(rendered))  # it named the folder from the root
    else:
        manifests.write(file, rendered)
    ledger.record("registered", "co2", number, {"model_digest": digest, **PASSED})
    if signed:
        signing.version(places, "co2", number, digest)
        LocalTarget(places.home, ledger).clearance.give("co2", number, reason="passed", actor="gate")
        LocalTarget(places.home, ledger).clearance.manifest("co2", number)  # seals the statement
    champion = ledger.champion("co2")
    ledger.promote("co2", number, expected=champion and champion.version, reason="better")
    routes.point(places.home, Route(workload="co2", version=number, url="http://127.0.0.1:2", model=str(folder), sample=0.5), 9)


def signed_again(folder: Path, made: Manifest) -> None:
    """Write a backup's manifest as whoever holds the key does that lies in it."""
    manifest.write(folder, made, keys.signing(folder / "home"))


def objects(places: Places) -> list[Path]:
    """The objects of the DVC cache."""
    return sorted((places.home / "dvc" / "cache" / "files" / "md5").glob("*/*"))


def _features(home: Path) -> None:
    store = home / "feast" / "co2"
    store.mkdir(parents=True)
    with closing(sqlite3.connect(store / "online.db")) as database, database:
        database.execute("create table co2_features (entity_key blob, feature_name text, value blob)")
        database.execute("insert into co2_features values (x'01', 'f_1', x'02')")
    (store / "names.json").write_text("{}")
    (store / "registry.db").write_bytes(b"\x0a\x03not SQLite's: " + str(home).encode())
    write_json(home / "features" / "co2" / "published.json", {"view": "x"})


def _data(places: Places) -> None:
    """One output of co2's, in the cache and in the workspace."""
    versions.initialise(places.root, places.home)
    content = b"0123456789" * 300
    md5 = hashlib.md5(content).hexdigest()
    file = places.home / "dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    places.store("co2").mkdir(parents=True)
    (places.store("co2") / "dataset.parquet").write_bytes(content)
    out = f"{{path: data/store/co2/dataset.parquet, hash: md5, md5: {md5}, size: {len(content)}}}"
    lock = f"schema: '2.0'\nstages:\n  dataset@co2:\n    cmd: python -m assets.stages dataset co2\n    outs:\n    - {out}\n"
    (places.root / "dvc.lock").write_text(lock)


def _mlflow(home: Path, model: Path) -> None:
    location = "1/models/m-1/artifacts"
    copy = home / "mlflow" / "artifacts" / location / "data" / "model"
    copy.mkdir(parents=True)
    for file in model.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as database, database:
        database.execute("create table model_versions (name, version, storage_location, current_stage)")
        database.execute("create table model_version_tags (name, version, key, value)")
        database.execute("insert into model_versions values ('co2', 1, ?, 'None')", [f"mlflow-artifacts:/{location}"])
        database.execute("insert into model_version_tags values ('co2', 1, 'model_digest', ?)", [tree_digest(model)])
