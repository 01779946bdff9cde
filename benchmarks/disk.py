"""How disk grows with weekly retrains: `python -m benchmarks.disk [RETRAINS]` (8) retrains co2_raw with moving cutoffs, half of them
without `aiprime gc`, half with `aiprime gc --keep 3` after each, and prints the growth of each part of AIPRIME_HOME, drawn out to 52.

Each retrain is a real one, asked for as the loop's are, so the year is drawn out from a few, and a test of the slope, not of a year.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.faults import WORKLOAD, truths
from tests.conftest import Project, make_project

KEEP, YEAR = 3, 52
PARTS = ("models", "monitor", "mlflow", "dvc/cache", "dvc/remote", "dagster", "quality", "gate", "retraining", "logs")
FILES = ("ledger.db", "records.db", "outcomes.db")


def sizes(home: Path) -> dict[str, int]:
    """Bytes on disk of each part, and of what else there is."""
    found = {part: _bytes(home / part) for part in PARTS}
    found |= {name: sum(_bytes(file) for file in home.glob(f"{name}*")) for name in FILES}
    return found | {"else": _bytes(home) - sum(found.values())}


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path] if path.exists() else []
    return sum(file.lstat().st_blocks * 512 for file in files if file.is_file() and not file.is_symlink())


def grown(project: Project, retrains: range, *, gc: bool) -> list[dict[str, int]]:
    """The sizes after each retrain."""
    found = []
    for number in retrains:
        day = (datetime(1992, 1, 1, tzinfo=UTC) + timedelta(weeks=13 * number)).strftime("%Y-%m-%d")
        project.aiprime("retrain", WORKLOAD, "--reason", f"week {number}", "--until", day, timeout=300, check=False)
        if gc:
            project.aiprime("gc", "--keep", str(KEEP))
        found.append(sizes(project.places.home))
        print(f"  {number + 1}: {sum(found[-1].values()) / 1e6:.2f} MB", flush=True)
    return found


def slope(found: list[dict[str, int]], part: str) -> float:
    """MB for each retrain, from the first of them to the last."""
    return (found[-1][part] - found[0][part]) / (len(found) - 1) / 1e6


def main() -> None:
    """Retrain, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("retrains", type=int, nargs="?", default=8)
    count = parser.parse_args().retrains
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder))
        try:
            project.aiprime("run", WORKLOAD, timeout=400)
            truths(project)
            free = grown(project, range(count // 2), gc=False)
            held = grown(project, range(count // 2, count), gc=True)
        finally:
            project.aiprime("down", check=False)
    print(f"\n{os.cpu_count()} cores; {count // 2} retrains each, MB\n")
    print(
        f"| part | after {count // 2} | per retrain | 52 more | with gc --keep {KEEP}: after {count} | per retrain | 52 more |"
    )
    print("|---|---|---|---|---|---|---|")
    for part in [*free[0]]:
        cells = [free[-1][part] / 1e6, slope(free, part), YEAR * slope(free, part)]
        cells += [held[-1][part] / 1e6, slope(held, part), YEAR * slope(held, part)]
        print(f"| {part} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    total = [sum(slope(found, part) for part in free[0]) for found in (free, held)]
    print(f"| all | | {total[0]:.2f} | {YEAR * total[0]:.1f} | | {total[1]:.2f} | {YEAR * total[1]:.1f} |")


if __name__ == "__main__":
    main()
