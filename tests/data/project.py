"""A small project for the tests of the DVC door: the real dvc.yaml and data layer, and stages that only hash what they read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]

STAGES = """
import hashlib, json, os, sys
from pathlib import Path

READS = {"dataset": "source", "quality": "dataset", "features": "dataset", "model": "features", "evaluation": "model"}
SECTION = {"source": "rows:", "quality": "quality:", "features": "features:", "model": "train:"}


def run(root, stage, workload):
    # the bytes depend on the inputs, the stage's section and, for the model, training/fit.py
    outs = {name: [out.format(w=workload) for out in paths] for name, paths in json.loads((root / "outs.json").read_text()).items()}
    section = (root / "orchestration" / "workloads" / workload / "defs.yaml").read_text()
    text = stage + next((line for line in section.splitlines() if SECTION.get(stage, "-") in line), "")
    if stage in READS:
        read = root / outs[READS[stage]][0]
        text += hashlib.md5((read / "a.txt" if read.is_dir() else read).read_bytes()).hexdigest()
    if stage == "model":
        text += (root / "training" / "fit.py").read_text()
    for out in outs[stage]:
        path = root / out
        if path.suffix == ".csv":
            content = "epoch,step,train_loss,valid_loss\\n0,1,1.0,1.1\\n1,2,0.5,0.6\\n"
        else:
            content = json.dumps({"holdout": {"mae": len(text)}, "text": text}) if path.suffix == ".json" else text
        for file in [path] if path.suffix else [path / "a.txt", path / "inner" / "ü.txt"]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
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
    outs = {stage: declared(folder, stage, workloads[0]).outs for stage in stages(folder)}
    named = {
        stage: [out.replace(f"data/store/{workloads[0]}/", "data/store/{w}/") for out in paths] for stage, paths in outs.items()
    }
    (folder / "outs.json").write_text(json.dumps(named))
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
