"""A small project for the tests of the DVC door: the real dvc.yaml and data layer, and stages that only hash what they read."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]

STAGES = """
import hashlib, json, os, sys
from pathlib import Path

READS = {
    "source": [], "dataset": ["source.json"], "quality": ["dataset.parquet"], "features": ["dataset.parquet"],
    "model": ["features/table.parquet"], "evaluation": ["model/model.onnx"],
}
WRITES = {
    "source": ["source.json"], "dataset": ["dataset.parquet"], "quality": ["quality.json"],
    "features": ["features/table.parquet", "features/schema.json"],
    "model": ["model/model.onnx", "model/model.json", "training.json"],
    "evaluation": ["evaluation/losses.parquet", "evaluation/predictions.parquet", "evaluation/scores.json"],
}


def run(root, stage, workload):
    store = root / "data" / "store" / workload
    section = (root / "orchestration" / "workloads" / workload / "defs.yaml").read_text()
    wanted = {"source": "rows:", "quality": "quality:", "features": "features:", "model": "train:"}.get(stage)
    line = next((line for line in section.splitlines() if wanted and wanted in line), "")
    text = line + "".join(hashlib.md5((store / name).read_bytes()).hexdigest() for name in READS[stage])
    code = (root / "training" / "fit.py").read_text() if stage == "model" else ""
    text = stage + hashlib.md5((text + code).encode()).hexdigest()
    for name in WRITES[stage]:
        path = store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"holdout": {"mae": len(text)}, "text": text}) if name.endswith(".json") else text)
    if stage == "model":
        (store / "curves.csv").write_text("epoch,step,train_loss,valid_loss\\n0,1,1.0,1.1\\n1,2,0.5,0.6\\n")
    with (root / "ran.txt").open("a") as file:
        file.write(f"{stage}@{workload} {os.getpid()}\\n")


if __name__ == "__main__":
    run(Path.cwd(), sys.argv[1], sys.argv[2])
"""

DEFS = """type: assets.Workload
attributes:
  name: {name}
  family: tabular
  task: regression
  data: {{source: x.csv, rows: 1, columns: {{a: number, b: 'category?'}}, since: '1990-01-01'}}
  quality: {{}}
  features: {{horizons: [4, 52]}}
  train: {{seed: 0, lr: 1e-4}}
  promote: {{tolerance: 0.01}}
  serve: {{replicas: 1}}
"""


def make(folder: Path, workloads: tuple[str, ...] = ("w",)) -> Path:
    """A project in `folder` with the real dvc.yaml, stub code for every dependency, and these workloads."""
    from data.recipe import declared, stages
    from data.versions import initialise

    (folder / ".dvc").mkdir(parents=True)
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "assets").mkdir()
    (folder / "assets" / "__init__.py").touch()
    (folder / "assets" / "stages.py").write_text(STAGES)
    listed = "".join(f"  {name}: {{family: tabular}}\n" for name in workloads)
    index = folder / "orchestration" / "workloads" / "index.yaml"
    index.parent.mkdir(parents=True)
    index.write_text(f"workloads:\n{listed}")
    for name in workloads:
        defs(folder, name).parent.mkdir()
        defs(folder, name).write_text(DEFS.format(name=name))
    for stage in stages(folder):
        for path in declared(folder, stage, workloads[0]).deps:
            if path.endswith(".py"):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(f"# {path}\n")
            elif not path.startswith("data/store/"):
                (folder / path / "__pycache__").mkdir(parents=True)
                (folder / path / "__pycache__" / "x.pyc").write_bytes(b"never counted")
                (folder / path / "model.py").write_text("# model\n")
                (folder / path / "blocks").mkdir()
                (folder / path / "blocks" / "ä.py").write_text("# block\n")
    initialise(folder, folder / ".aiprime")
    return folder


def defs(folder: Path, workload: str) -> Path:
    """The workload's YAML."""
    return folder / "orchestration" / "workloads" / workload / "defs.yaml"


def ran(folder: Path) -> list[str]:
    """The stages that ran so far, in order."""
    file = folder / "ran.txt"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.is_file() else []
