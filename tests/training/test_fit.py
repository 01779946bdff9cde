import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.loggers.logger import Logger

from data.errors import UserError
from tests.training.little import Little, prepared
from training import fit as fitting
from training.family import Prepared
from training.fit import FitResult, fit


class Stop(Exception):
    """What a test's progress raises in place of a kill."""


def run(folder: Path, given: Prepared | None = None, **how) -> tuple[FitResult, dict[str, torch.Tensor]]:
    given = given or prepared()
    result = fit(given, folder=folder, **({"seed": 0, "patience": 50, "token": "t"} | how))
    return result, given.module.state_dict()


def interrupted(folder: Path, *, at: int, token: str = "t") -> None:
    def progress(row) -> None:
        if row["epoch"] == at:
            raise Stop

    with pytest.raises(Stop):
        run(folder, progress=progress, token=token, checkpoint_every=0)


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


def test_the_curve_has_a_row_per_epoch(tmp_path):
    """Each epoch gives one row of epoch, step, train_loss and valid_loss, to the caller's progress as it happens and in the result."""
    seen = []
    result, _ = run(tmp_path, progress=seen.append)
    assert seen == result.history
    assert [row["epoch"] for row in seen] == list(range(24))
    assert [row["step"] for row in seen] == list(range(5, 125, 5))
    assert result.steps == 120
    assert set(seen[0]) == {"epoch", "step", "train_loss", "valid_loss"}
    assert seen[-1]["train_loss"] < seen[0]["train_loss"]


@pytest.mark.parametrize(("budget", "steps"), [(3, [3]), (7, [5, 7]), (10, [5, 10])])
def test_a_budget_that_ends_within_an_epoch_is_validated(tmp_path, budget, steps):
    """The step budget is kept to the step, and the weights at its end are validated like any others."""
    result, _ = run(tmp_path, prepared(max_steps=budget))
    assert [row["step"] for row in result.history] == steps
    assert len({row["valid_loss"] for row in result.history}) == len(steps)


def test_the_same_seed_gives_the_same_weights(tmp_path):
    """Two fits from one seed end bit-equal; another seed ends elsewhere."""
    first, again, other = run(tmp_path)[1], run(tmp_path)[1], run(tmp_path, seed=1)[1]
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("epochs", [(1,), (7,), (3, 4, 9)])
def test_an_interrupted_fit_ends_as_a_whole_one(tmp_path, epochs):
    """However often a fit is cut off, the last call ends with the history and the weights of a fit that nobody disturbed."""
    whole, weights = run(tmp_path / "whole")
    for epoch in epochs:
        interrupted(tmp_path / "cut", at=epoch)
    result, resumed = run(tmp_path / "cut")
    assert result.resumed_from == epochs[-1]
    assert result.history == whole.history
    assert same(weights, resumed)


@pytest.mark.slow
def test_a_killed_process_is_taken_up_where_it_was(tmp_path):
    """After kill -9 in the middle of a fit the next process resumes and ends with the weights of an undisturbed one."""
    program = """
import os, signal, sys
from pathlib import Path
from tests.training.little import prepared
from training.fit import fit

def progress(row):
    if row["epoch"] == 11:
        os.kill(os.getpid(), signal.SIGKILL)

fit(prepared(), folder=Path(sys.argv[1]), seed=0, patience=50, token="t", checkpoint_every=0, progress=progress)
"""
    root = Path(__file__).parents[2]
    died = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cut")], cwd=root, env=os.environ | {"PYTHONPATH": "."}, check=False
    )
    assert died.returncode == -signal.SIGKILL
    whole, weights = run(tmp_path / "whole")
    result, resumed = run(tmp_path / "cut")
    assert result.resumed_from == 11
    assert result.history == whole.history
    assert same(weights, resumed)


def test_only_the_same_recipe_resumes(tmp_path):
    """A checkpoint whose token differs is not taken up: what was asked for has changed."""
    interrupted(tmp_path, at=5, token="old recipe")
    result, weights = run(tmp_path, token="new recipe")
    assert result.resumed_from is None
    assert same(weights, run(tmp_path / "fresh")[1])


def test_nothing_is_left_when_the_fit_is_done(tmp_path):
    """A finished fit leaves its folder empty, so that the next one begins anew."""
    run(tmp_path, checkpoint_every=0)
    assert list(tmp_path.iterdir()) == []


def test_patience_ends_the_fit_and_the_best_weights_stay(tmp_path):
    """Training stops after `patience` epochs without a better validation loss, and the module holds the weights of the best one."""
    given = prepared(rows=40, max_steps=4000, lr=0.1, noise=3.0)
    result, _ = run(tmp_path, given, patience=5)
    assert result.steps < 4000
    assert result.history[-1]["epoch"] == result.best_epoch + 5
    assert result.best_loss == min(row["valid_loss"] for row in result.history)
    x, y = next(iter(given.valid))
    with torch.no_grad():
        assert float((given.module.net(x) - y).square().mean()) == pytest.approx(result.best_loss, rel=1e-6)


def test_a_loss_that_is_not_a_number_is_said(tmp_path):
    """A fit that never had a finite validation loss ends in an error that names the next step, not in a model."""
    with pytest.raises(UserError, match="learning rate"):
        run(tmp_path, prepared(lr=1e30))


def test_the_terminal_stays_quiet(tmp_path, capfd):
    """A fit writes nothing to stdout or stderr: no banner, no tip, no progress bar."""
    run(tmp_path)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_the_process_is_left_as_it_was(tmp_path):
    """Root logging, thread count, determinism and the random state are what they were before."""
    root, lightning = logging.getLogger(), logging.getLogger("lightning.pytorch")
    given = prepared()

    def found():
        return (
            root.level,
            list(root.handlers),
            lightning.level,
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
        )

    before, random = found(), torch.get_rng_state()
    run(tmp_path, given)
    assert found() == before
    assert torch.equal(torch.get_rng_state(), random)


def test_an_interrupt_stays_an_interrupt(tmp_path):
    """Ctrl-C during a fit raises KeyboardInterrupt, and a second one is still heard."""
    handler = signal.getsignal(signal.SIGINT)

    def progress(row) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=progress)
    assert signal.getsignal(signal.SIGINT) == handler


@pytest.mark.parametrize(
    ("asked", "width", "used"), [("auto", 16, "32-true"), ("32", 16, "32-true"), ("bf16", 16, "bf16-mixed")]
)
def test_precision_is_what_the_net_deserves(tmp_path, asked, width, used):
    """`auto` keeps a small net in fp32; what is asked for by name is used."""
    given = prepared(max_steps=10)
    assert run(tmp_path, given, precision=asked)[0].precision == used


def test_a_large_net_uses_what_the_hardware_has(monkeypatch):
    """`auto` takes bf16 for a large net exactly where the CPU multiplies it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for able, used in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(fitting, "_cpu_has_bf16", lambda able=able: able)
        assert fitting._resolved("auto", fitting.SMALL) == used


class Remembering(Logger):
    """A logger as Lightning wants it, that keeps what it is told."""

    name, version = "remembering", 0

    def __init__(self) -> None:
        self.told: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics, step=None) -> None:
        self.told.append((step, dict(metrics)))

    def log_hyperparams(self, *_args, **_kwargs) -> None: ...


def test_the_logger_is_told_once_per_epoch(tmp_path):
    """A Lightning logger gets each epoch's losses, and nothing per step."""
    logger = Remembering()
    result, _ = run(tmp_path, logger=logger)
    for name in ("train_loss", "valid_loss"):
        assert [m[name] for _, m in logger.told if name in m] == pytest.approx([row[name] for row in result.history])


def test_batches_with_a_count_of_their_own_resume_too(tmp_path):
    """Batches that shuffle by their own count, or take set_epoch, are brought to the pass at which the fit was cut off."""
    for kind in (Counting, Told):
        whole, weights = run(tmp_path / "whole", counted(kind))
        with pytest.raises(Stop):
            run(tmp_path / "cut", counted(kind), checkpoint_every=0, progress=stop_at_4)
        result, resumed = run(tmp_path / "cut", counted(kind))
        assert (result.resumed_from, result.history) == (4, whole.history)
        assert same(weights, resumed)


def stop_at_4(row) -> None:
    if row["epoch"] == 4:
        raise Stop


class Counting:
    """Shuffles by the number of the pass, which it counts itself."""

    def __init__(self, slices) -> None:
        self.slices, self.passes = slices, 0

    def __len__(self) -> int:
        return len(self.slices)

    def __iter__(self):
        order = torch.randperm(len(self.slices.x), generator=torch.Generator().manual_seed(self.passes))
        self.passes += 1
        for rows in order.split(32):
            yield self.slices.x[rows], self.slices.y[rows]


class Told(Counting):
    """Shuffles by the number of the pass, which it is told."""

    def set_epoch(self, epoch: int) -> None:
        self.passes = epoch


def counted(kind: type[Counting]) -> Prepared:
    given = prepared()
    return Prepared(module=given.module, train=kind(given.train), valid=given.valid, max_steps=given.max_steps)


def test_lightning_really_fits():
    """The little net of these tests is a LightningModule: the loop under test is Lightning's."""
    assert issubclass(Little, L.LightningModule)
