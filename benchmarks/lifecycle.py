"""The whole graph: a full pass, an unchanged pass, what Dagster and DVC add to plain calls of the stages, a hundred workloads,
a million rows.

    python benchmarks/lifecycle.py [pass|overhead|hundred|million]...      (default: pass overhead hundred)

Each works in a copy of the tree with a home of its own and prints one Markdown table. Processes are measured by the kernel's own
accounting of the finished child (`wait4`): wall seconds, CPU seconds, peak resident memory of the largest process.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.conftest import Project, make_project
from tests.orchestration.test_definitions import hundred

ROUNDS = 3


def timed(project: Project, *arguments: str) -> tuple[float, float, float]:
    """Run this interpreter with `arguments` in the copy: wall s, CPU s, peak MB."""
    started = time.perf_counter()
    out = open(project.places.root / "bench.log", "ab")  # noqa: SIM115, PTH123  (the child's)
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, *arguments],
        project.env | {"PWD": str(project.places.root)},
        file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, out.fileno(), 2)],
    )
    _, status, used = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit((project.places.root / "bench.log").read_text()[-3000:])
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000


def said(title: str, head: list[str], rows: list[list[object]]) -> None:
    """Print a table."""
    print(f"\n### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print("| " + " | ".join(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row) + " |")


def whole_pass(project: Project) -> None:
    """`aiprime run co2`: from nothing (services started by it), again with changed data and services up, and unchanged."""
    command = ("-m", "orchestration.cli", "run", "co2")
    rows: list[list[object]] = [["first, services started by it", *timed(project, *command)]]
    unchanged = [timed(project, *command) for _ in range(ROUNDS)]
    rows.append(["unchanged (median of 3)", *[median(column) for column in zip(*unchanged, strict=True)]])
    defs = project.places.defs("co2")
    changed = []
    for round_ in range(ROUNDS):
        defs.write_text(defs.read_text().replace("1990-01-01", f"1989-1{round_}-01"))
        changed.append(timed(project, *command))
        defs.write_text(defs.read_text().replace(f"1989-1{round_}-01", "1990-01-01"))
    rows.append(["everything anew, services up (median of 3)", *[median(column) for column in zip(*changed, strict=True)]])
    said("aiprime run co2", ["", "wall s", "CPU s", "peak MB"], rows)


STAGES = """
import time
from data.places import Places
from assets import stages
from assets.spec import load
places = Places.find()
for stage in ("source", "dataset", "quality", "features", "model"):
    stages.STAGES[stage](load(places, "co2"), places)
"""


def overhead(project: Project) -> None:
    """The stages as plain calls in a bare process, and the same stages, all of them anew, through `aiprime run --until model` (the gate boots a server: not compared)."""
    command = ("-m", "orchestration.cli", "run", "co2", "--until", "model")
    defs = project.places.defs("co2")
    stated = defs.read_text()
    timed(project, *command)
    plain, graph = [], []
    for round_ in range(ROUNDS):
        plain.append(timed(project, "-c", STAGES))  # on what the graph's last pass has versioned
        defs.write_text(stated.replace("1990-01-01", f"1989-1{round_}-01"))
        graph.append(timed(project, *command))
    rows: list[list[object]] = [
        [name, *[median(column) for column in zip(*measured, strict=True)]]
        for name, measured in (("plain calls of the stages", plain), ("aiprime run --until model", graph))
    ]
    rows.append(["added", *[float(graph) - float(plain) for plain, graph in zip(rows[0][1:], rows[1][1:], strict=True)]])  # pyright: ignore[reportArgumentType]
    said("What orchestration adds", ["", "wall s", "CPU s", "peak MB"], rows)


def a_hundred(project: Project) -> None:
    """Definitions of a hundred further workloads."""
    hundred(project.places.root)
    code = "import time; import dagster; t = time.perf_counter(); from orchestration.definitions import defs; defs(); print(time.perf_counter() - t)"
    times = [float(project.python("-c", code).stdout) for _ in range(ROUNDS)]
    said("Definitions of 104 workloads", ["", "s"], [["load (without `import dagster`), median of 3", median(times)]])


BIG = """\
type: assets.Workload
attributes:
  name: big
  family: tabular
  task: regression
  data:
    source: big.parquet
    target: y
    time: at
    entity: shop
    columns: {columns}
  quality: {{rows: {{min: 1000000}}, columns: {{x0: {{min: -20, max: 20}}}}}}
  features: {{}}
  train: {{max_steps: 1660, model: {{batch: 512}}}} # one epoch of the train rows
  promote: {{}}
  serve: {{}}
"""


def a_million(project: Project) -> None:
    """1,000,000 rows x 20 columns of 1,000 entities: dataset, quality, features through Feast, one epoch of training. No row is lost."""
    import numpy as np
    import pandas as pd
    import pyarrow.parquet as pq

    rng, n = np.random.default_rng(0), 1_000_000
    numbers = {f"x{i}": rng.normal(size=n) for i in range(14)}
    words = {f"c{i}": rng.choice(["red", "green", "blue", "grey"], n) for i in range(3)}
    at = pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(np.arange(n) // 1000, "h")
    table = pd.DataFrame(
        {"at": at, "shop": np.array([f"s{i:03d}" for i in range(1000)])[np.arange(n) % 1000], **numbers, **words}
    )
    table["y"] = table["x0"] * 2 + (table["c0"] == "red") + rng.normal(size=n)
    table.to_parquet(project.places.root / "big.parquet", index=False)
    kinds = (
        {"at": "time", "shop": "category"}
        | dict.fromkeys(numbers, "number")
        | dict.fromkeys(words, "category")
        | {"y": "number"}
    )
    folder = project.places.defs("big").parent
    folder.mkdir()
    (folder / "defs.yaml").write_text(BIG.format(columns="{" + ", ".join(f"{k}: {v}" for k, v in kinds.items()) + "}"))
    index = project.places.workloads / "index.yaml"
    index.write_text(index.read_text() + "  big: {family: tabular}\n")
    rows: list[list[object]] = []
    for until in ("dataset", "features", "model"):  # quality is checked with the dataset
        rows.append([f"as far as {until}", *timed(project, "-m", "orchestration.cli", "run", "big", "--until", until)])
    kept = [
        pq.read_metadata(project.places.store("big") / name).num_rows
        for name in ("dataset.parquet", "features/view.parquet", "features/table.parquet")
    ]
    said("1,000,000 rows x 20 columns, 1,000 entities", ["", "wall s", "CPU s", "peak MB"], rows)
    print(f"\nrows in dataset, view, table: {kept}")


def main() -> None:
    """Run the chosen parts."""
    parts = {"pass": whole_pass, "overhead": overhead, "hundred": a_hundred, "million": a_million}
    for name in sys.argv[1:] or ("pass", "overhead", "hundred"):
        with tempfile.TemporaryDirectory() as folder:
            project = make_project(Path(folder))
            os.chdir(project.places.root)
            try:
                parts[name](project)
            finally:
                project.aiprime("down", check=False)


if __name__ == "__main__":
    main()
