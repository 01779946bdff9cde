"""What keeping a model up to date is worth, and what it costs, on the years that the shipped data hold.

    AIPRIME_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.policies bikes elec2 co2_raw [--set retrain.holdout=0.1] [--notes]

(a) frozen: the first model for ever. (b) blind: retrained at each step on all that is known, no gate. (c) loop: AI Prime's windows,
trigger and gate. (d) always: a retrain at each window, through the gate. (e) oracle: retrained at each step on all that is known, in
service at once. Size tiny, one seed. The first model knows what was known at the start, less what its gate window holds.
`--at-once`: nothing waits for its rollout. `--set` tries a setting, `--fits FOLDER` keeps fits from run to run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from assets.spec import load
from benchmarks.policies.jobs import ROOT, play
from benchmarks.policies.playing import ORACLE, POLICIES, Played
from data.places import Places

PICTURE = ROOT / "docs" / "pictures" / "policies_bikes.png"


def table(of: dict[str, Played], horizons: tuple[int, ...]) -> None:
    """One Markdown table: means over steps, each step counting once."""
    steps, best = len(next(iter(of.values())).errors), of[ORACLE].errors.mean() if ORACLE in of else np.nan
    each = "".join(f" {h} ahead |" for h in horizons) if len(horizons) > 1 else ""
    print(
        f"\n| {next(iter(of.values())).workload}, {steps} steps | mean error |{each} to (e) | worst step | retrains (passed) | CPU s |"
    )
    print("|---|---|" + "---|" * (each.count("|") + 4))
    for letter, policy in zip("abcde", POLICIES, strict=True):
        if (one := of.get(policy)) is None:
            continue
        by_step, mean = one.errors.mean(axis=1), one.errors.mean()
        shown = "".join(f" {value:.4g} |" for value in one.errors.mean(axis=0)) if each else ""
        worst = f"{by_step.max():.4g} ({one.begins[int(by_step.argmax())]:%Y-%m-%d})"
        print(
            f"| ({letter}) {policy} | {mean:.4g} |{shown} {mean / best - 1:+.1%} | {worst} | {one.retrains} ({one.passed}) | {one.cpu_s:.0f} |"
        )
    sys.stdout.flush()


def picture(of: dict[str, Played], path: Path) -> None:
    """The mean error of each step, a line per policy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    looks = {
        "frozen": ("#b5b5b5", "-"),
        "blind": ("#7a9a4f", "-"),
        "loop": ("#1f6fb2", "-"),
        "always": ("#d1762b", "--"),
        "oracle": ("#333333", ":"),
    }
    for policy, (colour, line) in looks.items():
        if (one := of.get(policy)) is None:
            continue
        axes.plot(
            np.array([at.to_datetime64() for at in one.begins]),
            one.errors.mean(axis=1),
            line,
            color=colour,
            lw=2.2 if policy == "loop" else 1.4,
            label=f"{policy}: {one.errors.mean():.1f}",
        )
    axes.set(title="bikes: mean absolute error by month, 1 and 24 hours ahead", ylabel="bikes")
    axes.set_ylim(0, 1.15 * max(one.errors.mean(axis=1).max() for one in of.values()))  # room for the legend
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=5, loc="upper left", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    """Play what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=["bikes", "elec2"])
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--only", nargs="*", default=list(POLICIES), choices=POLICIES)
    parser.add_argument("--at-once", action="store_true")
    parser.add_argument("--notes", action="store_true")
    parser.add_argument("--fits")
    parser.add_argument("--picture", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        fits = Path(given.fits or scratch)
        fits.mkdir(parents=True, exist_ok=True)
        # The two that fit the most come first, side by side; what they fitted serves the others.
        order = [one for one in ("oracle", "loop", "always", "frozen", "blind") if one in given.only]
        jobs = [(w, p, tuple(given.settings), str(fits), not given.at_once) for w in given.workloads for p in order]
        found: dict[str, dict[str, Played]] = {}
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            for one in pool.map(play, jobs):
                found.setdefault(one.workload, {})[one.policy] = one
                print(f"{one.workload}: {one.policy} {one.errors.mean():.4g}", file=sys.stderr, flush=True)
    for name, of in found.items():
        if given.notes:
            _notes(of)
        table(of, load(Places.find(ROOT), name).features.horizons)
    if given.picture:
        picture(found["bikes"], PICTURE)


def _notes(of: dict[str, Played]) -> None:
    for one in of.values():
        print(f"\n{one.policy}", *one.notes, sep="\n")
    print()
    policies: list[Any] = list(of)
    for i, begin in enumerate(next(iter(of.values())).begins):
        print(f"{begin:%Y-%m-%d} " + "  ".join(f"{p} {of[p].errors[i].mean():.4g}" for p in policies))


if __name__ == "__main__":
    main()
