"""What a fit leaves on disk so that a kill costs one interval, and what it keeps in memory: the curve and the best weights.

Imports Lightning: only `training/fit.py` imports this, inside `fit()`. Lightning's own save goes through $TMPDIR and never
syncs (a kill left 2 of 25 files corrupt when that lies on another filesystem); here every write is beside, synced, renamed.
"""

from __future__ import annotations

import io
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as L  # noqa: TID253  (this module is the Lightning half of fit.py, imported by nothing else)
import torch  # noqa: TID253
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO  # noqa: TID253
from lightning.pytorch.callbacks import Checkpoint  # noqa: TID253

from data.errors import UserError
from data.failpoints import failpoint
from data.files import write_atomically

log = logging.getLogger("aiprime.training")

FILE = "last.ckpt"
_TOKEN = "aiprime_token"  # noqa: S105  (what the fit was asked to do, not a secret)
_WATCH = "Watch"


class Durable(TorchCheckpointIO):
    """Whole or not at all, synced; read back as weights and primitives only, so that no file we load can run code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_atomically(Path(path), content.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        return torch.load(path, map_location="cpu", weights_only=True)


def usable(folder: Path, token: str) -> dict[str, Any] | None:
    """The checkpoint of an interrupted fit with the same token, else None; leftovers of killed writes are swept."""
    for leftover in folder.glob(f".{FILE}.*"):
        leftover.unlink(missing_ok=True)
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        found = Durable().load_checkpoint(file)
    except Exception as error:  # noqa: BLE001  (whatever is wrong with the file, a fresh fit is right)
        log.warning("the checkpoint %s cannot be read (%s): fitting from the start", file, error)
        return None
    return found if found.get(_TOKEN) == token and _WATCH in found.get("callbacks", {}) else None


def seed_all(seed: int) -> None:
    """Seed Python, numpy and torch."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class Epochs:
    """The train batches, every pass drawn from (seed, number of the pass) alone: what makes a resumed fit equal to a whole one.

    Batches that shuffle by torch's global generator need nothing; those with a count or a generator of their own take
    `set_epoch(n)`, as torch's samplers do, or else are brought to the same pass by starting the earlier ones. The last pass
    ends with the step budget. It has no length on purpose: Lightning then sees each pass's end for itself and validates there,
    whereas of a sized one it would drop the validation of a pass that the budget cuts short.
    """

    def __init__(self, batches: Iterable[Any], seed: int, *, done: int, steps: int) -> None:
        """`done` passes lie behind; `steps` batches are still to come."""
        self._batches, self._seed, self._done, self._steps = batches, seed, done, steps
        if done and not hasattr(batches, "set_epoch"):
            for epoch in range(done):
                seed_all(self._seed_of(epoch))
                next(iter(batches), None)

    def _seed_of(self, epoch: int) -> int:
        return (self._seed * 1_000_003 + epoch) % 2**63

    def __iter__(self) -> Iterator[Any]:
        epoch, self._done = self._done, self._done + 1
        seed_all(self._seed_of(epoch))
        if hasattr(self._batches, "set_epoch"):
            self._batches.set_epoch(epoch)  # pyright: ignore[reportAttributeAccessIssue]
        for batch in islice(self._batches, self._steps):
            self._steps -= 1
            yield batch


class Watch(Checkpoint):
    """Once per epoch: a row of history, the best weights kept, a checkpoint where the last one is `every` seconds old.

    A `Checkpoint` by type, because Lightning calls those last, after the module has logged and early stopping has judged.
    """

    def __init__(
        self, *, folder: Path, token: str, monitor: str, every: float, progress: Callable[[dict[str, Any]], None] | None
    ) -> None:
        self.folder, self.token, self.monitor, self.every, self.progress = folder, token, monitor, every, progress
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.best_epoch, self.best_loss = -1, float("inf")
        self._saved = time.monotonic()

    @property
    def state_key(self) -> str:
        return _WATCH

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.history and time.monotonic() - self._saved >= self.every:
            # Lightning resets this itself a moment later; saved before, it would say that this epoch's batches are all done
            trainer.fit_loop.epoch_loop.batch_progress.reset_on_run()
            try:
                trainer.save_checkpoint(self.folder / FILE)
            except OSError as error:
                raise UserError(
                    f"the checkpoint cannot be written: {error.strerror}",
                    where=str(self.folder),
                    next_step="make room and run again",
                ) from error
            self._saved = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = trainer.callback_metrics
        loss = float(metrics[self.monitor])
        row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "train_loss": float(metrics["train_loss"]),
            "valid_loss": loss,
        }
        self.history.append(row)
        if loss < self.best_loss:
            self.best_epoch, self.best_loss = trainer.current_epoch, loss
            self.best = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}
        if self.progress is not None:
            self.progress(row)
        failpoint("during-training", str(row["epoch"]))

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "best": self.best, "best_epoch": self.best_epoch, "best_loss": self.best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history, self.best = state_dict["history"], state_dict["best"]
        self.best_epoch, self.best_loss = state_dict["best_epoch"], state_dict["best_loss"]

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[_TOKEN] = self.token
