"""What the loop costs: `training/fit.py` against a bare PyTorch loop over the same module, batches, optimiser and step budget.

    python -m benchmarks.fit_loop [--family tabular] [--size tiny] [--rows 8000] [--steps 800] [--times 5] [--stock]

Both see sliced tensors, validate once per pass and keep the best weights; they run in turns, and the medians of their CPU time
(one thread; on a shared machine wall time says more about the neighbours) are compared.
`--stock` adds Lightning with all its defaults over a DataLoader with its default collate.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

import argparse
import io
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pandas as pd
import torch

from data.schema import ROW_ID, SPLIT, TARGET, Column, TableSchema
from training.family import Prepared, TrainSection, family, settings
from training.fit import fit

LIMIT = 1.6


def table(name: str, rows: int) -> tuple[pd.DataFrame, TableSchema]:
    """Made rows: 20 numbers to one for tabular, noise in two brightnesses for vision."""
    rng = np.random.default_rng(0)
    given = {ROW_ID: np.arange(rows), SPLIT: "train"}
    if name == "vision":
        images = rng.random((rows, 64), dtype=np.float32)
        images[::2] *= 0.8
        labels = np.where(np.arange(rows) % 2 == 0, "dark", "light")
        inputs = (Column(name="image", kind="image", shape=(8, 8)),)
        schema = TableSchema(task="classification", target="y", inputs=inputs, classes=("dark", "light"))
        return pd.DataFrame(given | {"image": list(images), TARGET: labels}), schema
    x = rng.normal(size=(rows, 20))
    y = x[:, 0] * x[:, 1] + np.sin(x[:, 2]) + x[:, 3:8].sum(axis=1) + 0.3 * rng.normal(size=rows)
    inputs = tuple(Column(name=f"x{i}", kind="number") for i in range(20))
    frame = pd.DataFrame(given | {f"x{i}": x[:, i] for i in range(20)} | {TARGET: y})
    return frame, TableSchema(task="regression", target="y", inputs=inputs)


def bare(prepared: Prepared) -> int:
    """The loop as one writes it by hand: no hooks, no counters, no checkpoints; the module's own steps and optimiser."""
    module: Any = prepared.module
    losses: list[Any] = []
    module.log = lambda name, value, **_: losses.append(value) if name == prepared.monitor else None
    found = module.configure_optimizers()
    optimiser, scheduler = (
        (found["optimizer"], found["lr_scheduler"]["scheduler"]) if isinstance(found, dict) else (found, None)
    )
    clips = type(module).configure_gradient_clipping is not L.LightningModule.configure_gradient_clipping
    step, best = 0, float("inf")
    while step < prepared.max_steps:
        module.train()
        module.on_train_epoch_start()
        for i, batch in enumerate(prepared.train):
            loss = module.training_step(batch, i)
            optimiser.zero_grad()
            loss.backward()
            if clips:
                module.configure_gradient_clipping(optimiser)
            optimiser.step()
            if scheduler is not None:
                scheduler.step()
            step += 1
            if step == prepared.max_steps:
                break
        module.eval()
        losses.clear()
        module.on_validation_start()
        with torch.inference_mode():
            for i, batch in enumerate(prepared.valid):
                module.validation_step(batch, i)
        if float(losses[-1]) < best:
            best, _ = float(losses[-1]), {name: value.detach().clone() for name, value in module.state_dict().items()}
    return step


def ours(prepared: Prepared) -> int:
    """The product's loop, checkpoints included."""
    with tempfile.TemporaryDirectory() as folder:
        return fit(prepared, folder=Path(folder), seed=0, patience=10**6, token="t").steps


def stock(prepared: Prepared) -> int:
    """Lightning as it comes: DataLoader, progress bar, logger and checkpoints on."""
    train: Any = prepared.train
    data = torch.utils.data.TensorDataset(*train.tensors)
    loader = torch.utils.data.DataLoader(data, batch_size=train.size, shuffle=True)
    quiet = io.StringIO()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), redirect_stdout(quiet), redirect_stderr(quiet):
        warnings.simplefilter("ignore")
        trainer = L.Trainer(max_steps=prepared.max_steps, max_epochs=-1, accelerator="cpu", default_root_dir=folder)
        trainer.fit(prepared.module, loader, prepared.valid)
    return trainer.global_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="tabular")
    parser.add_argument("--size", default="tiny", choices=["tiny", "small", "base"])
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--stock", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen, (frame, schema) = family(given.family), table(given.family, given.rows)
    section = TrainSection(size=given.size, max_steps=given.steps)
    loops: dict[str, Callable[[Prepared], int]] = {"bare PyTorch": bare, "training/fit.py": ours}
    if given.stock:
        loops["Lightning's defaults"] = stock
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(given.times + 1):  # the first turn warms up
        for name, loop in loops.items():
            prepared = chosen.prepare(frame, schema, settings(chosen, section), 0)
            started = time.process_time()
            steps = loop(prepared)
            if turn:
                seconds[name].append((time.process_time() - started) / steps)
    base = statistics.median(seconds["bare PyTorch"])
    print(
        f"{given.family} {given.size}, {given.rows:,} rows, {given.steps} steps, median of {given.times} turns, CPU time, 1 thread"
    )
    for name, found in seconds.items():
        middle = statistics.median(found)
        print(
            f"  {name:22} {1e6 * middle:8.0f} us a step  {middle / base:5.2f} x  (from {min(found) * 1e6:.0f} to {max(found) * 1e6:.0f})"
        )
    ratio = statistics.median(seconds["training/fit.py"]) / base
    print(f"  limit {LIMIT} x: {'met' if ratio <= LIMIT else 'MISSED'}")


if __name__ == "__main__":
    main()
