"""A little net and its batches: what the loop's tests fit, so that they hold for any family."""

import math
from collections.abc import Iterator

import lightning.pytorch as L
import torch

from training.family import Prepared


class Slices:
    """Batches cut from tensors; shuffled by torch's global generator."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, size: int, *, shuffle: bool) -> None:
        self.x, self.y, self.size, self.shuffle = x, y, size, shuffle

    def __len__(self) -> int:
        return math.ceil(len(self.x) / self.size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.randperm(len(self.x)) if self.shuffle else torch.arange(len(self.x))
        for rows in order.split(self.size):
            yield self.x[rows], self.y[rows]


class Little(L.LightningModule):
    def __init__(self, lr: float = 0.01, width: int = 16) -> None:
        super().__init__()
        self.lr = lr
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(width, 1), torch.nn.Flatten(0)
        )

    def on_train_epoch_start(self) -> None:
        self.total, self.batches = torch.zeros((), device=self.device), 0

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        loss = (self.net(batch[0]) - batch[1]).square().mean()
        self.total += loss.detach()
        self.batches += 1
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("train_loss", self.total / self.batches)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        self.log("valid_loss", (self.net(batch[0]) - batch[1]).square().mean(), on_epoch=True, batch_size=len(batch[0]))

    def configure_optimizers(self) -> dict[str, object]:
        optimiser = torch.optim.AdamW(self.parameters(), lr=self.lr, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.99**step)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def prepared(*, seed: int = 0, rows: int = 200, max_steps: int = 120, lr: float = 0.01, noise: float = 0.1) -> Prepared:
    """A regression of 4 numbers, drawn and initialised from `seed`."""
    torch.manual_seed(seed)
    x = torch.randn(rows, 4)
    y = x[:, 0] * x[:, 1] + x[:, 2] + noise * torch.randn(rows)
    cut = rows * 4 // 5
    return Prepared(
        module=Little(lr),
        train=Slices(x[:cut], y[:cut], 32, shuffle=True),
        valid=Slices(x[cut:], y[cut:], 500, shuffle=False),
        max_steps=max_steps,
    )
