"""One answer of a model explained: every input with its value, the usual one, and how far it moved this answer; twice, with agreement."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from training.explain import wording
from training.explain.agreement import Agreement, agreement
from training.predictor import OnnxPredictor, as_tensor
from training.signature import Input

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from training.explain.game import Game

MOST_ANSWERS = 4  # horizons that are explained at once
_BUDGET = 250_000  # rows that the model may be asked: fewer usual rows are taken where there are many inputs


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One input: `shap` and `lime` are what it added to the answer, in the answer's own unit."""

    name: str  # the column
    label: str  # as a person reads it
    value: str
    usual: str
    shap: float
    lime: float


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture's pixels [H][W] and what each added; parts of one patch share its value."""

    name: str
    pixels: list[list[float]]
    shap: list[list[float]]
    lime: list[list[float]]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One answer: `base` + the sum of all `shap` = `answer`, but for `left` (rounding). `inputs` are in order of weight."""

    name: str
    horizon: int | None
    label: str | None
    base: float
    answer: float
    left: float
    inputs: tuple[Weight, ...]
    pictures: tuple[Picture, ...]
    agreement: Agreement


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """All that was explained of one row, and how."""

    answers: tuple[Explained, ...]
    usual_rows: int
    model_rows: int  # that the model was asked in all
    method: str
    second: str
    seconds: float


class Explainer:
    """One version, loaded to be asked again and again. The folder must have been verified by whoever gives it."""

    def __init__(self, folder: Any, usual: pd.DataFrame) -> None:
        """`usual` are rows of its inputs. FileNotFoundError where `folder` holds no model."""
        self._predictor = OnnxPredictor(folder)
        self.signature = self._predictor.signature
        self._usual = [as_tensor(usual[column.name], column) for column in self.signature.inputs]

    def explain(self, row: Mapping[str, Any], *, wanted: str | None = None) -> Explanation:
        """Explain the answer to a row (JSON values by column). `wanted`: a horizon or a class; else the first horizons, or the class
        that was answered. UserError where the row or what is wanted is none of this model's."""
        import numpy as np
        import pandas as pd

        from training.explain.game import Game, parts_of
        from training.explain.second import SAMPLES, lime
        from training.explain.shapley import EXACT, ROUNDS, shapley

        began = time.perf_counter()
        columns = self.signature.inputs
        if missing := [column.name for column in columns if column.name not in row]:
            raise UserError(f"the row lacks {', '.join(missing)}")
        table = pd.DataFrame({column.name: pd.Series([row[column.name]], dtype=object) for column in columns})
        tensors = [as_tensor(table[column.name], column) for column in columns]
        asked = [np.asarray(tensor[0], dtype=tensor.dtype) for tensor in tensors]
        parts = parts_of([column.shape for column in columns])
        chosen = self._chosen(asked, wanted)
        players = 1 + int(parts[-1].max())
        rows = max(10, min(len(self._usual[0]), _BUDGET // (ROUNDS * (2 * players + 1))))
        game = Game(
            ask=lambda columns: self._ask(columns, [one.place for one in chosen]),
            asked=asked,
            background=[values[:rows] for values in self._usual],
            parts=parts,
        )
        values, base = shapley(game)
        opinion = lime(game)
        answer = game.worth(np.ones((1, players)))[0]
        answers = tuple(
            Explained(
                name=wording.answer_name(self.signature, one.horizon, one.label),
                horizon=one.horizon,
                label=one.label,
                base=float(base[k]),
                answer=float(answer[k]),
                left=float(answer[k] - base[k] - values[:, k].sum()),
                inputs=self._weights(game, values[:, k], opinion[:, k]),
                pictures=self._pictures(game, values[:, k], opinion[:, k]),
                agreement=agreement(values[:, k], opinion[:, k]),
            )
            for k, one in enumerate(chosen)
        )
        how = "exact" if players <= EXACT else f"{ROUNDS} orders of the inputs, each there and back"
        return Explanation(
            answers=answers,
            usual_rows=rows,
            model_rows=game.rows,
            method=f"Shapley values (shap {_version('shap')}, {how})",
            second=f"LIME (captum {_version('captum')}, {max(SAMPLES, 6 * players):,} samples)",
            seconds=round(time.perf_counter() - began, 3),
        )

    def _ask(self, columns: list[np.ndarray], places: list[int]) -> np.ndarray:
        tensors = {column.tensor: values for column, values in zip(self.signature.inputs, columns, strict=True)}
        found = self._predictor.ask(tensors)
        name = "probabilities" if self.signature.task == "classification" else "prediction"
        return found[name].reshape(len(columns[0]), -1)[:, places]

    def _chosen(self, asked: list[np.ndarray], wanted: str | None) -> list[_Chosen]:

        signature = self.signature
        if signature.task == "classification":
            if wanted is not None:
                return [_Chosen(_place(signature.classes, wanted, "class"), None, wanted)]
            every = list(range(len(signature.classes)))
            place = int(self._ask([value[None] for value in asked], every)[0].argmax())
            return [_Chosen(place, None, signature.classes[place])]
        horizons = signature.horizons
        if wanted is not None:
            place = _place(tuple(map(str, horizons)), wanted, "horizon")
            return [_Chosen(place, horizons[place], None)]
        return [_Chosen(place, horizon, None) for place, horizon in enumerate(horizons[:MOST_ANSWERS])] or [
            _Chosen(0, None, None)
        ]

    def _weights(self, game: Game, shap: np.ndarray, lime: np.ndarray) -> tuple[Weight, ...]:
        found = [
            Weight(
                name=column.name,
                label=wording.readable(column.name, self.signature),
                value=wording.said(value.item(), column),
                usual=_usual(usual, column),
                shap=float(shap[int(part)]),
                lime=float(lime[int(part)]),
            )
            for column, value, usual, part in zip(self.signature.inputs, game.asked, game.background, game.parts, strict=True)
            if prod(column.shape) == 1
        ]
        return tuple(sorted(found, key=lambda one: -abs(one.shap)))

    def _pictures(self, game: Game, shap: np.ndarray, lime: np.ndarray) -> tuple[Picture, ...]:
        return tuple(
            Picture(name=column.name, pixels=_flat(value), shap=_flat(shap[part]), lime=_flat(lime[part]))
            for column, value, part in zip(self.signature.inputs, game.asked, game.parts, strict=True)
            if prod(column.shape) > 1
        )


@dataclass(frozen=True)
class _Chosen:
    place: int
    horizon: int | None
    label: str | None


def _place(known: tuple[str, ...], wanted: str, what: str) -> int:
    if wanted not in known:
        raise UserError(f"no {what} {wanted[:60]!r}", next_step=f"one of: {', '.join(known[:20])}")
    return known.index(wanted)


def _usual(values: np.ndarray, column: Input) -> str:
    """The middle of the usual values, or the one that comes most."""
    import numpy as np

    if column.kind in {"category", "boolean"}:
        found, counts = np.unique(values, return_counts=True)
        return wording.said(found[counts.argmax()].item() if column.kind == "boolean" else found[counts.argmax()], column)
    if column.kind == "time":
        return wording.said(int(np.median(values)), column)
    known = values[np.isfinite(values.astype(float))]
    return wording.said(float(np.median(known)), column) if len(known) else "missing"


def _flat(values: np.ndarray) -> list[list[float]]:
    """A picture [H, W], its channels added up: mean for what is seen, for a pixel is one place."""
    import numpy as np

    grid = np.asarray(values, dtype=float)
    grid = grid.mean(axis=tuple(range(2, grid.ndim))) if grid.ndim > 2 else np.atleast_2d(grid)
    return grid.tolist()


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
