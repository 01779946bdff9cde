"""The pictures that a person looks at after a run, as PNG bytes: curves, forecasts, errors, confusion, calibration.

Drawn without a display and without pyplot's global state. The same figures give the same bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data.schema import TableSchema

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MODEL, OTHER, FAINT = "#333333", "#1f6fb2", "#d1762b", "#b5b5b5"
SHOWN = 240  # steps of a forecast's picture: the newest
_LABELS = 24  # more classes than this are drawn without names


def curves(history: Sequence[dict[str, Any]]) -> bytes:
    """The losses per step, with the epoch whose weights were kept."""
    figure, (axes,) = _figure(1, width=7)
    steps = [row["step"] for row in history]
    axes.plot(steps, [row["train_loss"] for row in history], color=OTHER, label="train")
    axes.plot(steps, [row["valid_loss"] for row in history], color=MODEL, label="validation")
    best = min(history, key=lambda row: row["valid_loss"])
    axes.plot(
        best["step"], best["valid_loss"], "o", color=MODEL, label=f"kept: epoch {best['epoch']}, {best['valid_loss']:.4g}"
    )
    if min(row["valid_loss"] for row in history) > 0 and max(row["train_loss"] for row in history) > 10 * best["valid_loss"]:
        axes.set_yscale("log")
    _finish(axes, "training curves", "step", "loss")
    return _png(figure)


def of_predictions(drawn: pd.DataFrame, schema: TableSchema, baseline: str) -> dict[str, bytes]:
    """The pictures of an evaluation by name, from its predictions.parquet."""
    if schema.task == "classification":
        return {"classes": classes(drawn, schema)}
    found = (
        {"forecast": forecast(drawn, schema, baseline)}
        if schema.horizons
        else {"predictions": predictions(drawn, schema.target)}
    )
    if "time" in drawn.columns:
        found["errors"] = errors(drawn, schema, baseline)
    return found


def forecast(drawn: pd.DataFrame, schema: TableSchema, baseline: str) -> bytes:
    """Truth, prediction and its central 80 % over the newest part of the holdout; a panel per horizon, of one entity."""
    one, entity = _one_entity(drawn)
    horizons = sorted(one["horizon"].unique())[:4]
    figure, panels = _figure(len(horizons), width=10, stacked=True)
    for axes, horizon in zip(panels, horizons, strict=True):
        part = one.loc[one["horizon"] == horizon].sort_values(by="time").tail(SHOWN)
        if "low" in part.columns:
            axes.fill_between(part["time"], part["low"], part["high"], color=MODEL, alpha=0.18, lw=0, label="80 % interval")
        axes.plot(part["time"], part["baseline"], color=FAINT, lw=1.2, label=baseline)
        axes.plot(part["time"], part["truth"], color=INK, lw=1.2, label="truth")
        axes.plot(part["time"], part["prediction"], color=MODEL, lw=1.2, label="prediction")
        title = f"{schema.target}{f', {horizon} steps ahead' if horizon else ''}{f', {entity}' if entity else ''}"
        _finish(axes, title, "", schema.target, legend=axes is panels[0])
    return _png(figure)


def errors(drawn: pd.DataFrame, schema: TableSchema, baseline: str) -> bytes:
    """Mean absolute error by horizon beside the baseline's, and over the holdout's time."""
    import numpy as np

    horizons = sorted(drawn["horizon"].unique())
    error = (drawn["truth"] - drawn["prediction"]).abs()
    naive = (drawn["truth"] - drawn["baseline"]).abs()
    figure, (bars, lines) = _figure(2, width=10, ratios=(1, 2))
    place = np.arange(len(horizons))
    by = drawn["horizon"]
    bars.bar(place - 0.2, error.groupby(by).mean(), 0.4, color=MODEL, label="model")
    bars.bar(place + 0.2, naive.groupby(by).mean(), 0.4, color=FAINT, label=baseline)
    bars.set_xticks(place, [str(h) if h else "all" for h in horizons])
    bars.margins(y=0.2)
    _finish(bars, "mean absolute error", "steps ahead", schema.target)
    slot = _slots(drawn["time"])
    for series, colour, label in ((naive, FAINT, baseline), (error, MODEL, "model")):
        mean = series.groupby(slot).mean()
        lines.plot(mean.index, mean, color=colour, label=label)
    lines.set_ylim(bottom=0)
    _finish(lines, "error over the holdout", "", "mean absolute error", legend=False)
    return _png(figure)


def predictions(drawn: pd.DataFrame, target: str) -> bytes:
    """Predicted against true values."""
    figure, (axes,) = _figure(1, width=5, height=4.6)
    part = drawn.tail(2000)
    axes.plot(part["truth"], part["prediction"], ".", color=MODEL, alpha=0.35, ms=4, mew=0)
    ends = [part[["truth", "prediction"]].min().min(), part[["truth", "prediction"]].max().max()]
    axes.plot(ends, ends, color=INK, lw=0.8)
    _finish(axes, f"{target}: predicted and true", "true", "predicted", legend=False)
    return _png(figure)


def classes(drawn: pd.DataFrame, schema: TableSchema) -> bytes:
    """The confusion matrix as shares of each true class, and how often a stated probability is right."""
    figure, (matrix, diagram) = _figure(2, width=10, height=4.6)
    _confusion(matrix, drawn, schema.classes)
    _reliability(diagram, drawn)
    return _png(figure)


def _confusion(axes: Axes, drawn: pd.DataFrame, names: tuple[str, ...]) -> None:
    import numpy as np
    import pandas as pd

    counts = pd.crosstab(drawn["truth"], drawn["label"]).reindex(index=names, columns=names, fill_value=0).to_numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    if len(names) <= 12:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                dark = shares[row, column] > 0.5
                axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color="white" if dark else INK)
    if len(names) <= _LABELS:
        short = [name if len(name) <= 12 else f"{name[:11]}…" for name in names]
        axes.set_xticks(range(len(names)), short, rotation=90 if max(map(len, short)) > 3 else 0)
        axes.set_yticks(range(len(names)), short)
    _finish(axes, "confusion: rows by truth", "answered", "true", legend=False, grid=False)


def _reliability(axes: Axes, drawn: pd.DataFrame) -> None:
    import numpy as np

    hit = (drawn["truth"] == drawn["label"]).to_numpy(dtype=float)
    stated = drawn["probability"].to_numpy(dtype=float)
    place = np.minimum((stated * 10).astype(int), 9)
    counts = np.bincount(place, minlength=10)
    used = counts > 0
    stated_mean = np.bincount(place, weights=stated, minlength=10)[used] / counts[used]
    share = np.bincount(place, weights=hit, minlength=10)[used] / counts[used]
    axes.plot([0, 1], [0, 1], color=FAINT)
    fill = [MODEL if count >= 10 else "white" for count in counts[used]]
    axes.scatter(stated_mean, share, s=18 + 220 * counts[used] / counts.sum(), color=fill, edgecolors=MODEL, zorder=3)
    axes.set_xlim(0, 1.03)
    axes.set_ylim(0, 1.03)
    _finish(
        axes,
        "calibration: size = share of rows, hollow: under 10",
        "stated probability of the answer",
        "share that was right",
        legend=False,
    )


def _one_entity(drawn: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    if "entity" not in drawn.columns:
        return drawn, ""
    name = drawn["entity"].value_counts(sort=True).index[0]
    return drawn.loc[drawn["entity"] == name], str(name)


def _slots(time: Any) -> Any:
    """The times rounded down to about sixty slots."""
    import pandas as pd

    span = (time.max() - time.min()) / 60
    return time if span <= pd.Timedelta(0) else time.min() + ((time - time.min()) // span) * span


def _figure(
    panels: int, *, width: float, height: float = 3.2, stacked: bool = False, ratios: Any = None
) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height if not stacked else 0.8 + 2.1 * panels), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    shape: dict[str, Any] = {"nrows": panels, "ncols": 1} if stacked else {"nrows": 1, "ncols": panels, "width_ratios": ratios}
    return figure, list(figure.subplots(**shape, squeeze=False).flat)


def _finish(axes: Axes, title: str, x: str, y: str, *, legend: bool = True, grid: bool = True) -> None:
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(color="#eeeeee", lw=0.8)
        axes.set_axisbelow(True)
    if legend:
        axes.legend(fontsize=8, frameon=False, ncols=4 if axes.get_figure().get_figwidth() > 8 else 1)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]


def _png(figure: Figure) -> bytes:
    import numpy as np
    from PIL import Image

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that the font lacks is drawn as boxes
        figure.canvas.draw()
    pixels = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")  # pyright: ignore[reportAttributeAccessIssue]
    content = io.BytesIO()
    pixels.quantize(64).save(content, format="png", optimize=True)  # a quarter of the size in 64 colours
    return content.getvalue()
