"""Every way by which a file of another comes into our processes, tried with every exploit: `python -m tests.faults.load_paths FOLDER OUT`.

A process of its own, for what runs in it is not ours. OUT gets one line for each pair: whether it ran, and how the file was taken.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from data.places import Places
from tests.faults.exploits import EXPLOITS, Exploit

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class LoadPath:
    """`file` is where the exploit's file is put, `load` what the product does with the folder, after `around` made the rest of it."""

    name: str
    file: str
    load: Callable[[Path], object]
    around: Callable[[Path], object] = lambda folder: None
    packed: bool = False
    only: str = ""  # the exploits of these names: the others are tried elsewhere by the same parser, and this one is slow

    def plant(self, exploit: Exploit, marker: Path, folder: Path) -> None:
        """The surroundings, and the exploit in them: its one file under the name that is read, or all of its files as they are."""
        folder.mkdir(parents=True, exist_ok=True)
        self.around(folder)
        exploit.write(folder, marker)
        if self.file and (folder / "payload").is_file():
            (folder / self.file).parent.mkdir(parents=True, exist_ok=True)
            content = (folder / "payload").read_bytes()
            (folder / self.file).write_bytes(gzip.compress(content) if self.packed else content)


def model(folder: Path) -> object:
    from tests.training import exported

    return exported.regression(folder)


def served(folder: Path) -> object:
    from serving.inference.session import Session

    return Session(folder)


def asked(folder: Path) -> object:
    import pandas as pd

    from training.predictor import OnnxPredictor

    return OnnxPredictor(folder).predict(pd.DataFrame({"x": [1.0]}))


def refitted(folder: Path) -> object:
    from training.tabular.predictor import load

    return load(folder)


def resumed(folder: Path) -> object:
    from training.checkpoint import Durable, usable

    assert usable(folder, "token") is None
    return Durable().load_checkpoint(folder / "last.ckpt")


def entered(folder: Path) -> object:
    from training.tracking import _load_pyfunc

    return _load_pyfunc(str(folder))


def watched(folder: Path) -> object:
    from assets import yardstick

    return yardstick.read(Places(root=folder, home=folder), "w", "1")


def yardstick_of(folder: Path) -> object:
    import numpy as np
    import pandas as pd

    at = folder / "monitor" / "w" / "1"
    at.mkdir(parents=True, exist_ok=True)
    (at / "yardstick.json").write_text(json.dumps({"metric": "mae", "temperature": 1.0}))
    np.save(at / "expected.npy", np.zeros(2))
    for name in ("losses", "truths"):
        pd.DataFrame({"all": [1.0, 2.0]}).to_parquet(at / f"{name}.parquet")
    return at


def drifted(folder: Path) -> object:
    from data.drift import Reference

    return Reference.read(folder / "drift.parquet")


def project(folder: Path) -> object:
    """A project that DVC takes for one."""
    from data import versions

    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "orchestration" / "workloads").mkdir(parents=True, exist_ok=True)
    (folder / "orchestration" / "workloads" / "index.yaml").write_text("workloads: {w: {family: tabular}}\n")
    return versions.initialise(folder, folder / "home")


def locked(folder: Path) -> object:
    from data import versions

    return versions.locked(folder, "w"), versions.outputs(folder, "w")


def reproduced(folder: Path) -> object:
    from data import versions

    with versions._repo(folder) as repo:
        return repo.index.stages


def indexed(folder: Path) -> object:
    from data import draft

    return draft.registered(folder), draft.register(folder, "more", "tabular")


def declared(folder: Path) -> object:
    from assets import spec

    return spec.read(folder / "evil" / "defs.yaml")


def described(folder: Path) -> object:
    from serving import manifests

    return manifests.read(folder / "1.yaml")


def carded(folder: Path) -> object:
    from serving.cards import Card

    return Card.read(folder / "1.bom.json")


def parsed(name: str) -> Callable[[Path], object]:
    from data import tables

    return lambda folder: tables.parse((folder / name).read_bytes(), name)


def labelled(folder: Path) -> object:
    from serving.gateway import label_forms

    return label_forms.rows((folder / "body").read_bytes(), label_forms.PARQUET, "w")


def joined(folder: Path) -> object:
    from data import labels

    file = folder / "labels.parquet"
    return labels.read(file, sha256(file.read_bytes()).hexdigest())


def searched(folder: Path) -> object:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / "search.journal"))).get_all_studies()


def documented(folder: Path) -> object:
    """Great Expectations' project, which Data Docs are written with."""
    import pandas as pd

    from data import quality
    from data.section import DataSection

    data = DataSection(source="x", target="y", columns={"y": "number"})
    report = quality.check(pd.DataFrame({"y": [1.0, 2.0]}), data, quality.QualitySection())
    return quality.write_docs(report, folder)


PATHS = (
    LoadPath("the model server, its graph", "model.onnx", served, model),
    LoadPath("the model server, its signature", "model.json", served, model),
    LoadPath("evaluation and the gate", "model.onnx", asked, model),
    LoadPath("a model that is fitted further", "model.safetensors", refitted, model),
    LoadPath("MLflow's entry into a model", "model.onnx", entered, model),
    LoadPath("a fit that is taken up", "last.ckpt", resumed),
    LoadPath("a search that is taken up", "search.journal", searched),
    LoadPath("what a model is watched by, arrays", "monitor/w/1/expected.npy", watched, yardstick_of),
    LoadPath("what a model is watched by, tables", "monitor/w/1/losses.parquet", watched, yardstick_of),
    LoadPath("what drift is compared with", "drift.parquet", drifted),
    LoadPath("a workload's YAML", "evil/defs.yaml", declared),
    LoadPath("the index of workloads", "orchestration/workloads/index.yaml", indexed, project),
    LoadPath("dvc.lock as we read it", "dvc.lock", locked, project),
    LoadPath("dvc.lock as DVC reads it", "dvc.lock", reproduced, project),
    LoadPath("Great Expectations' project", "gx/great_expectations.yml", documented, only="YAML template Python"),
    LoadPath("a version's manifest", "1.yaml", described),
    LoadPath("a version's card", "1.bom.json", carded),
    LoadPath("a source in Parquet", "x.parquet", parsed("x.parquet")),
    LoadPath("a source in CSV", "x.csv", parsed("x.csv")),
    LoadPath("a source in packed CSV", "x.csv.gz", parsed("x.csv.gz"), packed=True),
    LoadPath("labels that a client posts", "body", labelled),
    LoadPath("labels that a retrain learns from", "labels.parquet", joined),
)


def tried(exploit: Exploit, path: LoadPath, marker: Path, folder: Path) -> dict[str, object]:
    """One pair: did the marker appear, and was the file taken or refused?"""
    path.plant(exploit, marker, folder)
    marker.unlink(missing_ok=True)
    here = Path.cwd()
    os.chdir(folder)  # what lies beside the model is what an import would find first, were this folder on the path
    try:
        path.load(folder)
        outcome = "taken"
    except Exception as error:  # noqa: BLE001  (any refusal is one; what counts is the marker)
        outcome = f"refused: {type(error).__name__}"
    finally:
        os.chdir(here)
    return {"exploit": exploit.name, "path": path.name, "ran": marker.exists(), "outcome": outcome}


def main(folder: Path, out: Path) -> None:
    """All pairs; and each exploit the careless way, which shows that its marker can appear."""
    found = []
    for number, exploit in enumerate(EXPLOITS):
        marker = folder / f"ran-{number}"
        for path in PATHS:
            if not path.only or set(path.only.split()) & set(exploit.name.split()):
                with tempfile.TemporaryDirectory(dir=folder) as planted:
                    found.append(tried(exploit, path, marker, Path(planted)))
        marker.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as planted:
            careless = LoadPath("careless", "", lambda at, it=exploit: it.careless(at))
            found.append(tried(exploit, careless, marker, Path(planted)))
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
