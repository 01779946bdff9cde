"""Rows that look planted: labels that everything else contradicts, values that lie far out, a rare value that always has one label. Pure.

Three looks, each on a bounded sample and each with a stated rate of false alarms (docs/log.md): it notices, it does not prove. Labels: confident
learning (Northcutt et al. 2021, JAIR 70) over predictions of folds that did not see the row. Numbers: Tukey's fence, wide, and for a
series the same fence on what its neighbours in time do not explain (Hampel 1974). Triggers: purity of a label given one exact value
(as backdoors leave it, Gu et al. 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from data.cells import pixels
from data.schema import Task
from data.section import DataSection

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Kind = Literal["label", "outlier", "trigger"]

SAMPLE = 6_000  # rows that are looked at
_FOLDS = 4
_LEAST = 100  # rows, and of a class 2 per fold, below which labels are not looked at
_SURE = 0.9  # of what a class's own labels usually get: another class that gets that much contradicts
_SKILL = 0.1  # of the area under the curve, beyond a half: less, and nothing predicts the labels
_FENCES = 6.0, 1.5  # interquartile ranges beyond the quartiles, of the values and of their sizes' logarithms
_NEAR = 3  # rows before and after that a series' value is compared with
_RARE = (0.004, 0.15)  # the share of rows that a trigger is looked for in
_PURE, _USUAL, _SUPPORT = 0.97, 0.7, 12  # of one label among them; of it elsewhere, at the most; rows at the least
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """Rows under one suspicion: their places in the table, ascending, and the share that they are of the rows looked at."""

    kind: Kind
    column: str
    rows: np.ndarray
    share: float
    of: int
    said: str


def find(df: pd.DataFrame, task: Task, data: DataSection) -> list[Suspect]:
    """The suspects of a canonical table (data/prepare.py), the largest share first; `ignore`d columns are left out.

    Numbers are looked at in all rows, labels and triggers in at most 6,000 of them, which are drawn with a fixed seed.
    """
    import numpy as np

    kinds = {column.name: column.kind for column in data.schema_columns if column.name not in {*data.ignore, data.entity}}
    found = [*_outliers(df, kinds, data)]
    if task == "classification":
        known = np.flatnonzero(df[data.target].notna().to_numpy())
        rows = np.sort(np.random.default_rng(_SEED).permutation(known)[:SAMPLE])
        names = [name for name in kinds if name != data.target]
        if len(rows) >= _LEAST and names:
            x, images = _inputs(df.iloc[rows], names, kinds)
            labels = _codes(df[data.target].iloc[rows])
            found += [*_labels(x, labels, rows, data.target, linear=images), *_triggers(x, labels, rows, names, kinds)]
    return sorted(found, key=lambda one: -one.share)


def _codes(values: pd.Series) -> np.ndarray:
    import pandas as pd

    return pd.factorize(values, sort=True)[0].astype("int64")


def _inputs(df: pd.DataFrame, names: list[str], kinds: dict[str, str]) -> tuple[np.ndarray, bool]:
    """All inputs as numbers, a row each; whether they are pixels."""
    import numpy as np

    parts = []
    for name in names:
        if kinds[name] == "image":
            parts.append(pixels(df[name].to_numpy()))
        elif kinds[name] == "category":
            parts.append(_codes(df[name]).astype("float64")[:, None])
        elif kinds[name] == "time":
            parts.append((df[name].astype("int64") / 1e6).to_numpy("float64")[:, None])
        else:
            parts.append(df[name].to_numpy("float64")[:, None])
    return np.hstack(parts), any(kinds[name] == "image" for name in names)


def _labels(x: np.ndarray, labels: np.ndarray, rows: np.ndarray, target: str, *, linear: bool) -> list[Suspect]:
    """Labels that the rest contradicts: another class is about as likely as where it is the label, and more likely than this one."""
    import numpy as np

    counts = np.bincount(labels)
    if len(counts) < 2 or counts.min() < 2 * _FOLDS:
        return []
    probabilities = _out_of_fold(x, labels, linear=linear)
    if not _predicts(probabilities, labels):
        said = "nothing predicts the labels, so wrong ones cannot be seen"
        return [Suspect(kind="label", column=target, rows=rows[:0], share=0.0, of=len(rows), said=said)]
    usual = np.array([probabilities[labels == one, one].mean() for one in range(len(counts))])
    surely = np.where(probabilities >= _SURE * usual, probabilities, -1.0)
    other = surely.argmax(axis=1)
    wrong = (surely.max(axis=1) >= 0) & (other != labels)
    if not wrong.any():
        return []
    share = float(wrong.mean())
    said = f"{share:.1%} of the labels are contradicted by the other columns"
    return [Suspect(kind="label", column=target, rows=rows[wrong], share=share, of=len(rows), said=said)]


def _out_of_fold(x: np.ndarray, labels: np.ndarray, *, linear: bool) -> np.ndarray:
    """Each row's class probabilities by a model that did not see it."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    found = np.zeros((len(labels), int(labels.max()) + 1))
    for train, rest in StratifiedKFold(_FOLDS, shuffle=True, random_state=_SEED).split(x, labels):
        model: Any = (
            LogisticRegression(C=0.1, max_iter=200)
            if linear
            else HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=15, min_samples_leaf=20, random_state=_SEED)
        )
        found[rest] = model.fit(x[train], labels[train]).predict_proba(x[rest])
    return found


def _predicts(probabilities: np.ndarray, labels: np.ndarray) -> bool:
    """Whether rows of a class get more of it than other rows do: the area under the curve (Mann-Whitney), each class by its rows."""
    import numpy as np
    from scipy.stats import rankdata

    counts = np.bincount(labels)
    rest = len(labels) - counts
    ranks = rankdata(probabilities, axis=0)
    sums = np.array([ranks[labels == one, one].sum() for one in range(len(counts))])
    areas = (sums - counts * (counts + 1) / 2) / (counts * rest)
    by_chance = np.sqrt((len(labels) + 1) / (12.0 * counts * rest))
    shares = counts / len(labels)
    return float(shares @ areas) > 0.5 + max(_SKILL, 3 * float(shares @ by_chance))


def _outliers(df: pd.DataFrame, kinds: dict[str, str], data: DataSection) -> list[Suspect]:
    """Numbers beyond a wide fence: by themselves, and in a series by what their neighbours in time leave of them."""
    import numpy as np

    order = _order(df, data)
    found = []
    for name, kind in kinds.items():
        if kind not in {"number", "integer"}:
            continue
        values = df[name].to_numpy("float64")
        far = _beyond(values)
        if order is not None and name == data.target:
            far |= _spikes(values, order)
        rows = np.flatnonzero(far)
        if len(rows):
            known = int(np.isfinite(values).sum())
            share = len(rows) / known
            said = f"{len(rows):,} of its {known:,} values lie far from all others"
            found.append(Suspect(kind="outlier", column=name, rows=rows, share=share, of=known, said=said))
    return found


def _order(df: pd.DataFrame, data: DataSection) -> np.ndarray | None:
    import numpy as np

    if data.time is None or data.step is None:
        return None
    entity = _codes(df[data.entity]) if data.entity else np.zeros(len(df))
    return np.lexsort((df[data.time].astype("int64").to_numpy(), entity))


def _beyond(values: np.ndarray) -> np.ndarray:
    """Beyond the fence both as they are and by their size's logarithm: a long tail is no outlier."""
    import numpy as np

    known = np.isfinite(values)
    if known.sum() < _LEAST:
        return np.zeros(len(values), dtype=bool)
    centre = np.median(values[known])
    scale = np.median(np.abs(values[known] - centre)) or np.std(values[known]) or 1.0
    shifted = (values - centre) / scale
    logarithms = np.sign(shifted) * np.log1p(np.abs(shifted))
    return _outside(shifted, known, _FENCES[0]) & _outside(logarithms, known, _FENCES[1])


def _outside(values: np.ndarray, known: np.ndarray, fence: float) -> np.ndarray:
    import numpy as np

    low, high = np.quantile(values[known], [0.25, 0.75])
    width = high - low
    if width <= 0:
        return np.zeros(len(values), dtype=bool)
    with np.errstate(invalid="ignore"):
        return known & ((values < low - fence * width) | (values > high + fence * width))


def _spikes(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """What differs from the median of its neighbours in time more than such differences ever do."""
    import numpy as np

    ordered = values[order]
    around = np.full((2 * _NEAR, len(ordered)), np.nan)
    for i, n in enumerate([*range(-_NEAR, 0), *range(1, _NEAR + 1)]):
        if abs(n) < len(ordered):
            around[i, max(0, -n) : len(ordered) - max(0, n)] = ordered[max(0, n) : len(ordered) + min(0, n)]
    some = np.isfinite(around).sum(axis=0) >= _NEAR
    middle = np.full(len(ordered), np.nan)
    middle[some] = np.nanmedian(around[:, some], axis=0)
    found = np.zeros(len(values), dtype=bool)
    found[order] = _beyond(ordered - middle)
    return found


def _triggers(x: np.ndarray, labels: np.ndarray, rows: np.ndarray, names: list[str], kinds: dict[str, str]) -> list[Suspect]:
    """Exact values that few rows have and that nearly always come with one label, while values beside them do not."""
    import numpy as np

    usual = np.bincount(labels) / len(labels)
    hits = np.zeros(len(labels), dtype=np.int64)
    of = [name for name in names if kinds[name] != "image"] or ["image"]
    pixels = x.shape[1] != len(names)
    column_of: dict[int, int] = {}
    for at in range(x.shape[1]):
        values, counts = np.unique(x[:, at][np.isfinite(x[:, at])], return_counts=True)
        rare = (counts >= max(_SUPPORT, _RARE[0] * len(labels))) & (counts <= _RARE[1] * len(labels))
        if len(values) < 3 or rare.sum() > len(values) / 2 > 32:
            continue
        for value in values[rare]:
            inside = x[:, at] == value
            share = np.bincount(labels[inside], minlength=len(usual)) / inside.sum()
            best = int(share.argmax())
            if share[best] >= _PURE and usual[best] <= _USUAL and not _smooth(x[:, at], values, value, labels, best):
                hits[inside] += 1
                column_of[at] = column_of.get(at, 0) + int(inside.sum())
    needed = 3 if pixels else 1
    planted = hits >= needed
    if planted.sum() < _SUPPORT:
        return []
    share = float(planted.mean())
    worst = max(column_of, key=column_of.__getitem__)
    name = of[0] if pixels else names[worst]
    said = f"{int(planted.sum()):,} rows have a value that nearly always comes with one label, as a planted trigger does"
    return [Suspect(kind="trigger", column=name, rows=rows[planted], share=share, of=len(labels), said=said)]


def _smooth(column: np.ndarray, values: np.ndarray, value: float, labels: np.ndarray, best: int) -> bool:
    """Whether the nearest other values come with that label too: then it is no single value that decides."""
    import numpy as np

    at = int(np.searchsorted(values, value))
    near = [values[i] for i in (at - 1, at + 1) if 0 <= i < len(values)]
    inside = np.isin(column, near)
    return bool(inside.any()) and float((labels[inside] == best).mean()) >= _USUAL
