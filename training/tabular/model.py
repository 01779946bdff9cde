"""The packed MLPs and how they are fitted.

Shapes: N rows, C numbers, B intervals, D numbers a column becomes, M signs of missing values, J codes, K members, W width,
H horizons, Q quantiles, O outputs of a horizon (Q, or the classes).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import lightning.pytorch as L  # noqa: TID253  (only FAMILY.prepare and export import this module)
import numpy as np
import torch  # noqa: TID253
from torch import nn  # noqa: TID253
from torch.nn import functional as F  # noqa: TID253

from data.schema import TableSchema
from training.blocks.batches import Batches
from training.family import Prepared
from training.tabular.columns import Recipe
from training.tabular.data import LeftOut, Target, edges, rows_of

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
MEDIAN = 3
EPOCH = 25  # steps at least, however few the rows
FORGOTTEN = 0.02  # share of codes that are hidden while training, so that 0 (never seen) is learnt
AVERAGE = 0.99  # how much of the averaged weights a step keeps
# What the six gaps between quantiles add to each quantile: minus outwards below the median, plus above.
SPREAD = np.array([[-(q <= g) if g < MEDIAN else (q > g) for q in range(7)] for g in range(6)], dtype="float32")


class Net(nn.Module):
    """K small MLPs on one embedding of the row, packed into batched products."""

    lower_CB: torch.Tensor
    inverse_CB: torch.Tensor
    offset_J: torch.Tensor

    def __init__(
        self,
        borders: list[np.ndarray],
        missing: int,
        cardinalities: tuple[int, ...],
        outputs: tuple[int, int],
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__()
        columns, members, width = len(borders), int(settings["members"]), int(settings["width"])
        bins = max((len(border) - 1 for border in borders), default=1)
        lower, inverse = torch.zeros(columns, max(bins, 1)), torch.zeros(columns, max(bins, 1))
        for i, border in enumerate(borders):
            if len(border) > 1:
                lower[i, : len(border) - 1] = torch.from_numpy(border[:-1])
                inverse[i, : len(border) - 1] = torch.from_numpy(1 / np.diff(border))
        self.register_buffer("lower_CB", lower)
        self.register_buffer("inverse_CB", inverse)
        embedding = int(settings["embedding"])
        self.bins_CBD = nn.Parameter(torch.randn(columns, max(bins, 1), embedding) * 0.3 * max(bins, 1) ** -0.5)
        self.slope_CD = nn.Parameter(torch.randn(columns, embedding) * 0.3)
        self.offset_CD = nn.Parameter(torch.zeros(columns, embedding))
        largest = max(cardinalities, default=0)
        class_width = min(8, round(1.6 * largest**0.56)) if largest else 1
        self.register_buffer(
            "offset_J", torch.tensor([0, *np.cumsum(cardinalities)[:-1]][: len(cardinalities)], dtype=torch.long)
        )
        self.codes = nn.Parameter(torch.randn(max(1, sum(cardinalities)), class_width) * 0.3)
        ins = columns * embedding + missing + len(cardinalities) * class_width
        self.outputs, self.members, self.dropout = outputs, members, float(settings["dropout"])
        sizes = (ins, width, width, outputs[0] * outputs[1])
        self.weights = nn.ParameterList((torch.rand(members, a, b) * 2 - 1) * a**-0.5 for a, b in pairwise(sizes))
        self.biases = nn.ParameterList((torch.rand(members, 1, b) * 2 - 1) * a**-0.5 for a, b in pairwise(sizes))

    def forward(
        self, x_NC: torch.Tensor, missing_NM: torch.Tensor, code_NJ: torch.Tensor, *, own_rows: bool = False
    ) -> torch.Tensor:
        """[K, N, H, O]: every member on every row; with `own_rows` the rows are K equal parts, one for each member."""
        share_NCB = ((x_NC[:, :, None] - self.lower_CB) * self.inverse_CB).clamp(0, 1)
        number_NCD = torch.einsum("ncb,cbd->ncd", share_NCB, self.bins_CBD) + x_NC[:, :, None] * self.slope_CD + self.offset_CD
        parts = [number_NCD.flatten(1), missing_NM, self.codes[code_NJ + self.offset_J].flatten(1)]
        row_ND = torch.cat(parts, dim=1)
        h = row_ND.view(self.members, -1, row_ND.shape[1]) if own_rows else row_ND.expand(self.members, *row_ND.shape)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h, weight)
            if i < len(self.weights) - 1:
                h = F.relu(h)
                h = F.dropout(h, self.dropout, self.training) if self.dropout else h
        return h.view(self.members, -1, *self.outputs)


class Pack(L.LightningModule):
    """Fits the net by pinball loss or cross-entropy; what is validated, exported and loaded is the running mean of its weights."""

    temperature: torch.Tensor
    shift_HQ: torch.Tensor
    averaged: torch.Tensor
    levels_Q: torch.Tensor
    spread_GQ: torch.Tensor
    centre_H1: torch.Tensor
    unit_H1: torch.Tensor

    def __init__(self, net: Net, recipe: Recipe, target: Target, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.net, self.recipe, self.target, self.settings = net, recipe, target, dict(settings)
        self.mean = copy.deepcopy(net).requires_grad_(False).eval()
        self.register_buffer("averaged", torch.tensor(0))
        self.register_buffer("temperature", torch.tensor(1.0))
        horizons = max(1, len(target.centre))
        self.register_buffer("shift_HQ", torch.zeros(horizons, len(QUANTILES)))
        self.register_buffer("levels_Q", torch.tensor(QUANTILES), persistent=False)
        self.register_buffer("spread_GQ", torch.from_numpy(SPREAD), persistent=False)
        self.register_buffer("centre_H1", torch.tensor(target.centre)[:, None], persistent=False)
        self.register_buffer("unit_H1", torch.tensor(target.spread)[:, None], persistent=False)

    def quantiles(self, out_KNHO: torch.Tensor) -> torch.Tensor:
        """Outputs to quantiles that rise, in the level-free unit of the truth."""
        middle = out_KNHO[..., MEDIAN : MEDIAN + 1]
        gaps = torch.cat([out_KNHO[..., :MEDIAN], out_KNHO[..., MEDIAN + 1 :]], dim=-1)
        unit = (middle + F.softplus(gaps) @ self.spread_GQ) * self.unit_H1 + self.centre_H1
        return torch.expm1(unit.clamp(max=self.target.highest)) if self.target.log else unit

    def loss_KN(self, out_KNHO: torch.Tensor, y: torch.Tensor, weight_NH: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, or pinball loss (mean over quantiles and horizons), of each member on each row."""
        if not self.target.centre:
            logits = out_KNHO.flatten(2)
            y_KN = y.expand(len(logits), -1) if y.dim() == 1 else y
            return F.cross_entropy(logits.flatten(0, 1), y_KN.reshape(-1), reduction="none").view(y_KN.shape)
        error = y[..., None] - self.quantiles(out_KNHO)
        pinball = torch.maximum(self.levels_Q * error, (self.levels_Q - 1) * error).mean(dim=-1)
        return (pinball * weight_NH).mean(dim=-1)

    def on_train_epoch_start(self) -> None:
        self._loss, self._batches = torch.zeros((), device=self.device), 0

    def training_step(self, batch: tuple[torch.Tensor, ...], _: int) -> torch.Tensor:
        x, missing, code, y, weight, keep, _level = batch
        self._average()
        if code.shape[1]:
            code = code * (torch.rand(code.shape, device=code.device) >= FORGOTTEN)
        loss = (self.loss_KN(self.net(x, missing, code), y, weight) * keep.T).sum() / keep.sum().clamp(min=1)
        self._loss += loss.detach()
        self._batches += 1
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("train_loss", self._loss / self._batches)

    def validation_step(self, batch: tuple[torch.Tensor, ...], _: int) -> None:
        loss = self.loss_KN(*self.left_out(batch)[:3]).mean()
        self.log("valid_loss", loss, on_epoch=True, batch_size=len(batch[0]))

    def left_out(self, batch: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Outputs, truth, weight and recency [K, N/K, ...]: each member on its own part of a batch of `LeftOut`."""
        x, missing, code, y, weight, _, level_N3 = batch
        parts = (y, weight, level_N3[:, 2])
        own = (part.view(self.net.members, -1, *part.shape[1:]) for part in parts)
        return self.mean(x, missing, code, own_rows=True), *own

    def predict_step(self, batch: Any, _: int = 0) -> dict[str, torch.Tensor]:
        """What the exported graph answers, float64: calibrated once the module is."""
        x, missing, code, level_N3 = *batch[:3], batch[-1]
        out_KNHO = self.mean(x, missing, code)
        if not self.target.centre:
            return {"probabilities": torch.softmax(out_KNHO.flatten(2).double() / self.temperature, dim=-1).mean(dim=0)}
        q_NHQ = rising(self.quantiles(out_KNHO).mean(dim=0).double() + self.shift_HQ)
        q_NHQ = level_N3[:, :1, None] + q_NHQ * level_N3[:, 1:2, None]
        q_NHQ = q_NHQ if self.target.low is None else q_NHQ.clamp(min=self.target.low)
        if not self.settings["horizons"]:
            q_NHQ = q_NHQ[:, 0]
        return {"prediction": q_NHQ[..., MEDIAN], "quantiles": q_NHQ}

    def configure_optimizers(self) -> Any:
        settings, steps = self.settings, int(self.settings["max_steps"])
        optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=settings["lr"], betas=(0.9, 0.95), weight_decay=settings["weight_decay"], fused=True
        )

        def part(step: int) -> float:
            return min(1.0, (step + 1) / (0.03 * steps)) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, part)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0, foreach=True)

    def on_validation_start(self) -> None:
        self._average()

    def _average(self) -> None:
        """Move the running mean towards the weights as the last step left them."""
        done = int(self.averaged)
        keep = min(AVERAGE, done / (10 + done))
        with torch.no_grad():
            for mean, weight in zip(self.mean.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(weight, 1 - keep)
        self.averaged += 1


def rising(q: torch.Tensor) -> torch.Tensor:
    """Quantiles kept in order outwards from the median."""
    above = torch.cummax(q[..., MEDIAN:], dim=-1).values
    below = torch.cummin(q[..., : MEDIAN + 1].flip(-1), dim=-1).values.flip(-1)
    return torch.cat([below, above[..., 1:]], dim=-1)


def prepared(table: pd.DataFrame, schema: TableSchema, settings: Mapping[str, Any], seed: int) -> Prepared:
    """The module, initialised from `seed`, and its batches."""
    rows = rows_of(table, schema, int(settings["members"]), seed)
    chosen = dict(settings) | {"horizons": list(schema.horizons)}
    module = pack(rows.recipe, rows.target, edges(rows.tensors[0], int(settings["bins"])), len(schema.classes), chosen, seed)
    count = len(rows.tensors[0])
    batch = int(settings["batch"]) or int(np.clip(2 ** round(math.log2(max(1, count / 90))), 32, 512))
    return Prepared(
        module=module,
        train=Batches(*rows.tensors, size=batch, shuffle=True, least=EPOCH),
        valid=LeftOut(rows),
        max_steps=int(settings["max_steps"]),
    )


def pack(
    recipe: Recipe, target: Target, borders: list[np.ndarray], classes: int, settings: Mapping[str, Any], seed: int
) -> Pack:
    """A net that is initialised from `seed`."""
    outputs = (len(target.centre), len(QUANTILES)) if target.centre else (1, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Net(borders, len(recipe.missing), recipe.cardinalities, outputs, settings)
    return Pack(net, recipe, target, settings)
