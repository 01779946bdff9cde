import io
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.schema import TableSchema
from training import pictures

CLASSES = tuple("0123456789")


def series(entities: int = 1, rows: int = 500) -> pd.DataFrame:
    rng, parts = np.random.default_rng(0), []
    for entity in range(entities):
        for horizon in (4, 52):
            truth = np.sin(np.arange(rows) / 9) + entity
            guess = truth + 0.1 * rng.normal(size=rows)
            time = pd.date_range("2020", periods=rows, freq="7D", tz="UTC")
            figures = {"truth": truth, "prediction": guess, "baseline": truth + 0.3, "low": guess - 0.1, "high": guess + 0.1}
            parts.append(pd.DataFrame({"time": time, "entity": f"e{entity}", "horizon": horizon, **figures}))
    return pd.concat(parts, ignore_index=True)


def rows() -> pd.DataFrame:
    truth = np.random.default_rng(0).normal(size=3000)
    return pd.DataFrame({"horizon": 0, "truth": truth, "prediction": truth + 0.2, "baseline": 0.0})


def labels(names: tuple[str, ...]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    truth = rng.choice(names, 1000)
    label = np.where(rng.random(1000) < 0.9, truth, rng.choice(names, 1000))
    return pd.DataFrame({"truth": truth, "label": label, "probability": rng.uniform(0.4, 1, 1000)})


FORECAST = TableSchema(task="forecasting", target="CO₂ 浓度", inputs=(), horizons=(4, 52), step_seconds=604800)
REGRESSION = TableSchema(task="regression", target="price", inputs=())


def of_classes(names: tuple[str, ...]) -> TableSchema:
    return TableSchema(task="classification", target="digit", inputs=(), classes=names)


CASES = [
    (series(), FORECAST, {"forecast", "errors"}),
    (series(entities=3), FORECAST, {"forecast", "errors"}),
    (rows(), REGRESSION, {"predictions"}),
    (labels(CLASSES), of_classes(CLASSES), {"classes"}),
    (
        labels(tuple(f"a long name of class {i}" for i in range(40))),
        of_classes(tuple(f"a long name of class {i}" for i in range(40))),
        {"classes"},
    ),
]


@pytest.mark.parametrize(("drawn", "schema", "names"), CASES)
def test_each_task_has_its_pictures(drawn, schema, names):
    """Every task's evaluation is drawn as small, valid PNGs, with many entities, many classes and any script in the names."""
    found = pictures.of_predictions(drawn, schema, "seasonal-drift")
    assert set(found) == names
    for content in found.values():
        assert len(content) < 100_000
        image = Image.open(io.BytesIO(content))
        assert image.format == "PNG"
        assert image.width >= 400
        assert len(image.convert("RGB").getcolors(100_000)) > 5


def test_the_same_figures_give_the_same_bytes():
    """A picture is a function of its figures, so that an unchanged stage has unchanged files."""
    drawn = labels(CLASSES)
    assert pictures.classes(drawn, of_classes(CLASSES)) == pictures.classes(drawn, of_classes(CLASSES))


@pytest.mark.parametrize("history", [1, 60])
def test_training_curves_are_drawn_from_one_epoch_on(history):
    """A fit of a single epoch has a picture too."""
    curve = [{"epoch": i, "step": 8 * i, "train_loss": 9 / (i + 1), "valid_loss": 10 / (i + 1)} for i in range(history)]
    assert Image.open(io.BytesIO(pictures.curves(curve))).format == "PNG"


def test_pyplot_is_never_needed():
    """Drawing leaves no global figure behind: pyplot is not even imported."""
    before = "matplotlib.pyplot" in sys.modules
    pictures.predictions(rows(), "price")
    assert ("matplotlib.pyplot" in sys.modules) == before
