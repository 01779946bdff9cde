"""The only Lightning loop. It takes what a family prepared, fits it, and leaves the module holding its best weights.

It knows nothing of tables, tasks or export. Importing this module is cheap; `fit()` imports torch and Lightning (about 3 s).
"""

from __future__ import annotations

import logging
import os
import random
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from data.errors import UserError

if TYPE_CHECKING:
    import lightning.pytorch as L

    from training.checkpoint import Watch
    from training.family import Prepared

# Below this many parameters bf16 and a second thread cost more than they give (measured on an EPYC with avx512_bf16, batch 256:
# MLPs of 43k, 151k, 564k parameters step 1.05x, 1.45x, 1.82x faster in bf16, transformers of 101k and 399k 1.02x and 1.55x).
SMALL = 300_000
_QUIET = ("lightning.pytorch", "lightning.fabric", "torchmetrics")

Precision = Literal["auto", "32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a fit did. `history` has one row per epoch: epoch, step, train_loss, valid_loss."""

    history: list[dict[str, Any]] = field(repr=False)
    steps: int
    seconds: float  # of this call; what an interrupted one spent before is not in it
    best_epoch: int
    best_loss: float  # the monitored loss of the weights that were kept
    resumed_from: int | None  # the epoch at which an interrupted fit was taken up
    precision: str
    device: str
    parameters: int


def fit(
    prepared: Prepared,
    *,
    folder: Path,
    seed: int,
    patience: int,
    precision: Precision = "auto",
    token: str = "",
    logger: Any = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    checkpoint_every: float = 5.0,
) -> FitResult:
    """Fit `prepared.module` until its step budget, or until `patience` epochs bring no better validation loss; keep the best.

    A checkpoint is written into `folder` at the first epoch end that is `checkpoint_every` seconds after the last; a later call
    with the same `token` takes it up and ends as an uninterrupted one would. It is removed when the fit is done. `logger` is a
    Lightning logger; `progress` gets each row of the history, and what it raises ends the fit. The same seed gives the same
    weights on the same machine. Raises UserError when the loss is not a number from the start.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # without it two busy processes on two cores spin each other to a halt
    with _left_as_found():
        from training import checkpoint

        started = time.perf_counter()
        module, parameters = prepared.module, _parameters(prepared.module)
        precision_used = _resolved(precision, parameters)
        _choose_threads(parameters)
        folder.mkdir(parents=True, exist_ok=True)
        found = checkpoint.usable(folder, token)
        done, spent = (int(found["epoch"]), int(found["global_step"])) if found else (0, 0)
        watch = checkpoint.Watch(
            folder=folder, token=token, monitor=prepared.monitor, every=checkpoint_every, progress=progress
        )
        trainer = _trainer(prepared, watch, patience, precision_used, logger)
        _run(
            trainer,
            module,
            train_dataloaders=checkpoint.Epochs(prepared.train, seed, done=done, steps=prepared.max_steps - spent),
            val_dataloaders=prepared.valid,
            ckpt_path=folder / checkpoint.FILE if found else None,
            weights_only=True,
        )
        if watch.best is None:
            raise UserError(
                f"the validation loss was not a number in {trainer.global_step} steps",
                next_step="set a lower learning rate under train.model, or look for extreme values in the data",
            )
        module.load_state_dict(watch.best)
        module.eval()
        (folder / checkpoint.FILE).unlink(missing_ok=True)
        return FitResult(
            history=watch.history,
            steps=trainer.global_step,
            seconds=time.perf_counter() - started,
            best_epoch=watch.best_epoch,
            best_loss=watch.best_loss,
            resumed_from=done if found else None,
            precision=precision_used,
            device=trainer.strategy.root_device.type,
            parameters=parameters,
        )


def _trainer(prepared: Prepared, watch: Watch, patience: int, precision: str, logger: Any) -> L.Trainer:
    import lightning.pytorch as L
    import torch
    from lightning.pytorch.callbacks import EarlyStopping

    from training.checkpoint import Durable

    cuda = torch.cuda.is_available()
    return L.Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=1,
        precision=precision,  # pyright: ignore[reportArgumentType]  (one of Lightning's own names)
        max_steps=prepared.max_steps,
        max_epochs=-1,
        callbacks=[EarlyStopping(prepared.monitor, patience=patience, mode="min"), watch],
        plugins=[Durable()],
        logger=logger or False,
        log_every_n_steps=2**31,
        deterministic="warn" if cuda else True,  # some CUDA kernels have no deterministic form
        default_root_dir=watch.folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _run(trainer: L.Trainer, module: L.LightningModule, **how: Any) -> None:
    """Trainer.fit, but an interrupt stays one: Lightning turns it into exit code 1 and leaves SIGINT ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, **how)
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stop


def _resolved(precision: Precision, parameters: int) -> str:
    """Lightning's name for the precision: bf16 where it is asked for, or where the hardware has it and the net is large enough."""
    import torch

    able = torch.cuda.is_bf16_supported(including_emulation=False) if torch.cuda.is_available() else _cpu_has_bf16()
    if precision == "bf16" or (precision == "auto" and able and parameters >= SMALL):
        return "bf16-mixed"
    return "32-true"


def _parameters(module: L.LightningModule) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _choose_threads(parameters: int) -> None:
    """One thread for a small net, where two are slower; what torch chose otherwise."""
    if parameters < SMALL:
        import torch

        torch.set_num_threads(1)


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 itself (avx512_bf16 or amx); without, autocast is slower than fp32."""
    import torch

    return any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


@contextmanager
def _left_as_found() -> Iterator[None]:
    """Lightning's notices kept off the terminal, and what a fit or an import changes in the process put back."""
    import numpy as np
    import torch

    root = logging.getLogger()
    quiet = [logging.getLogger(name) for name in _QUIET]
    levels, handlers, root_level = [log.level for log in quiet], list(root.handlers), root.level
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fills = cast("Any", torch.utils.deterministic)  # its attribute is made at run time, unseen by a type checker
    filled = fills.fill_uninitialized_memory
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    with warnings.catch_warnings():
        try:
            import lightning.pytorch  # noqa: F401  (it sets the levels of its loggers when it is first imported)

            for log in quiet:
                log.setLevel(logging.ERROR)
            fills.fill_uninitialized_memory = False  # 4 % of a step, to catch kernels that read what none wrote
            warnings.filterwarnings("ignore", module=r"lightning\.|torch\.")
            yield
        finally:
            for log, level in zip(quiet, levels, strict=True):
                log.setLevel(level)
            root.setLevel(root_level)
            root.handlers[:] = handlers
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)
            fills.fill_uninitialized_memory = filled
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
