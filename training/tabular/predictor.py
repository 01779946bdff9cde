"""From the fitted pack to the folder that predicts, and back: calibrated, written as ONNX, safetensors and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.schema import TableSchema
from training.signature import MODEL_ONNX, WEIGHTS, Input, Signature
from training.tabular.columns import Recipe
from training.tabular.graph import graph, outputs

if TYPE_CHECKING:
    import torch

    from training.tabular.model import Pack

_COOLEST, _WARMEST = 0.6, 2.0
_FEWEST = 50  # left-out rows below which quantiles are not shifted, and mistakes below which no answer is made surer


def export(module: Pack | Any, valid: Iterable[Any], schema: TableSchema, workload: str, folder: Path) -> None:
    """Calibrate `module` by the rows that its members left out, and write its folder."""
    from safetensors.torch import save_file

    from training.tabular.model import QUANTILES

    module.eval()
    calibrate(module, valid)
    inputs = tuple(Input(**column.model_dump(), tensor=f"x{i}") for i, column in enumerate(schema.inputs))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_ONNX).write_bytes(graph(module, inputs, schema).SerializeToString())
    fitted = {"recipe": module.recipe.model_dump(mode="json"), "target": module.target.model_dump(mode="json")}
    weights = {name: value.contiguous() for name, value in module.state_dict().items() if not name.startswith("net.")}
    about = fitted | {"settings": module.settings, "classes": len(schema.classes)}
    save_file(weights, folder / WEIGHTS, metadata={"tabular": json.dumps(about, sort_keys=True, ensure_ascii=False)})
    Signature(
        workload=workload,
        family="tabular",
        task=schema.task,
        target=schema.target,
        inputs=inputs,
        outputs=outputs(schema, len(QUANTILES)),
        classes=schema.classes,
        horizons=schema.horizons,
        step_seconds=schema.step_seconds,
        quantile_levels=() if schema.task == "classification" else QUANTILES,
        entity=schema.entity,
        time=schema.time,
        stored=schema.stored,
        known=schema.known,
        ttl_seconds=schema.ttl_seconds,
        on_stale=schema.on_stale,
    ).write(folder)


def load(folder: Path) -> Pack:
    """The module of an exported folder, to predict with or to fit further. Reads tensors and JSON only."""
    from safetensors import safe_open

    from training.tabular.data import Target
    from training.tabular.model import pack

    with safe_open(folder / WEIGHTS, "pt") as file:
        about = json.loads(file.metadata()["tabular"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    columns, bins = weights["mean.lower_CB"].shape
    borders = [np.arange(bins + 1.0)] * columns
    module = pack(
        Recipe.model_validate(about["recipe"]),
        Target.model_validate(about["target"]),
        borders,
        about["classes"],
        about["settings"],
        0,
    )
    net = {f"net.{name.removeprefix('mean.')}": value for name, value in weights.items() if name.startswith("mean.")}
    module.load_state_dict(weights | net)
    return module.eval()


def calibrate(module: Pack, valid: Iterable[Any]) -> None:
    """By the rows that each member left out: the temperature of the classes, or how far each quantile is shifted (conformal)."""
    import torch
    from torch.nn import functional as F

    with torch.no_grad():
        parts = [module.left_out(batch) for batch in valid]
        out, y, weight, recency = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
        if not module.target.centre:
            logits, truth = out.flatten(2).flatten(0, 1), y.flatten()
            choices = torch.logspace(np.log10(_COOLEST), np.log10(_WARMEST), 49)
            losses = torch.stack([F.cross_entropy(logits / choice, truth) for choice in choices])
            mistakes = int((logits.argmax(dim=1) != truth).sum())
            chosen = choices[losses.argmin()]
            module.temperature.fill_(chosen if mistakes >= _FEWEST else chosen.clamp(min=1.0))
            return
        q, shift = module.quantiles(out), torch.zeros_like(module.shift_HQ)
        for h in range(q.shape[2]):
            known = weight[..., h] > 0
            if int(known.sum()) >= _FEWEST:
                error = (y[..., h][known][:, None] - q[:, :, h][known]).double()
                shift[h] = _weighted_quantiles(error, recency[known], module.levels_Q)
        module.shift_HQ.copy_(shift)


def _weighted_quantiles(values_NQ: torch.Tensor, weight_N: torch.Tensor, levels_Q: torch.Tensor) -> torch.Tensor:
    """Each column's own quantile [Q]: the value below which that share of the weight lies."""
    ordered, places = values_NQ.sort(dim=0)
    share = weight_N[places].cumsum(dim=0)
    at = (share < share[-1:] * levels_Q.double()).sum(dim=0).clamp(max=len(values_NQ) - 1)
    return ordered.gather(0, at[None])[0].to(levels_Q.dtype)
