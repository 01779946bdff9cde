"""The net and how it is fitted. Shapes: N images, C channels, H x W pixels, K classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L  # noqa: TID253  (only FAMILY.prepare and export import this module)
import torch  # noqa: TID253
from torch import nn  # noqa: TID253
from torch.nn import functional as F  # noqa: TID253

from data.schema import TableSchema
from training.blocks.batches import Batches
from training.family import Prepared
from training.vision.data import Pictures

EPOCH = 20  # steps at least, however few the images
STAGES = 4  # at most; each halves the image while its shorter side stays at 2 or more


class Net(nn.Module):
    """Stages of convolution, batch normalisation and ReLU, the image halved between them; a linear layer on what is left."""

    mean: torch.Tensor
    deviation: torch.Tensor
    temperature: torch.Tensor

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *, width: int, dropout: float, mean: float, deviation: float
    ) -> None:
        super().__init__()
        channels, height, broad = shape
        self.stages, self.halved = nn.ModuleList(), []
        for stage in range(STAGES):
            out = width * 2**stage
            self.stages.append(nn.Sequential(nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)))
            channels = out
            self.halved.append(min(height, broad) >= 4)
            if not self.halved[-1]:
                break
            height, broad = height // 2, broad // 2
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels * height * broad, classes)
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))
        self.register_buffer("temperature", torch.tensor(1.0))  # set when the fitted net is calibrated

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Logits [N, K], before the temperature."""
        x = (x_NCHW - self.mean) / self.deviation
        for stage, halve in zip(self.stages, self.halved, strict=True):
            x = F.relu(stage(x))
            x = F.max_pool2d(x, 2) if halve else x
        return self.head(self.dropout(x.flatten(1)))


class Classifier(L.LightningModule):
    """Cross-entropy, AdamW and one cosine cycle; images moved by up to `shift` pixels while training."""

    def __init__(self, net: Net, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.net, self.settings = net, settings

    def on_train_epoch_start(self) -> None:
        self._loss, self._batches = torch.zeros((), device=self.device), 0

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        x_NCHW, y_N = batch
        loss = F.cross_entropy(self.net(moved(x_NCHW, int(self.settings["shift"]))), y_N)
        self._loss += loss.detach()
        self._batches += 1
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("train_loss", self._loss / self._batches)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        x_NCHW, y_N = batch
        self.log("valid_loss", F.cross_entropy(self.net(x_NCHW), y_N), on_epoch=True, batch_size=len(y_N))

    def predict_step(self, batch: tuple[torch.Tensor, ...], _: int = 0) -> dict[str, torch.Tensor]:
        """Probabilities [N, K], calibrated once the net is."""
        return {"probabilities": torch.softmax(self.net(batch[0]).double() / self.net.temperature, dim=1)}

    def configure_optimizers(self) -> Any:
        settings = self.settings
        optimiser = torch.optim.AdamW(self.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"], fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings["lr"], total_steps=int(settings["max_steps"]) + 1)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def moved(x_NCHW: torch.Tensor, by: int) -> torch.Tensor:
    """The batch moved by up to `by` pixels each way, edges filled with zeros; all its images alike, which is quick."""
    if by < 1:
        return x_NCHW
    height, width = x_NCHW.shape[2:]
    down, right = torch.randint(0, 2 * by + 1, (2,)).tolist()
    return F.pad(x_NCHW, (by, by, by, by))[:, :, down : down + height, right : right + width]


def prepared(pictures: Pictures, schema: TableSchema, settings: Mapping[str, Any], seed: int) -> Prepared:
    """The module, initialised from `seed`, and its batches."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        channels, height, broad = pictures.x_train.shape[1:]
        net = Net(
            (channels, height, broad),
            len(schema.classes),
            width=int(settings["width"]),
            dropout=float(settings["dropout"]),
            mean=pictures.mean,
            deviation=pictures.deviation,
        )
    return Prepared(
        module=Classifier(net, dict(settings)),
        train=Batches(pictures.x_train, pictures.y_train, size=int(settings["batch"]), shuffle=True, least=EPOCH),
        valid=Batches(pictures.x_valid, pictures.y_valid, size=1024, shuffle=False),
        max_steps=int(settings["max_steps"]),
    )
