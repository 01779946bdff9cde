"""v1's friendly answers per task, and the raw form of tensors."""

from __future__ import annotations

import numpy as np
import pytest

from serving.inference.answers import Answers, content
from serving.inference.batch import Batch
from training.signature import MISSING_TIME, Input, Output, Signature

X = Input(name="x", kind="number", tensor="x0")
AT = Input(name="at", kind="time", nullable=True, tensor="x1")
PREDICTION = Output(name="prediction", datatype="FP64", tensor="y0")


def signature(task: str, *outputs: Output, inputs: tuple[Input, ...] = (X,), **more: object) -> Signature:
    return Signature(workload="w", family="tabular", task=task, target="y", inputs=inputs, outputs=outputs, **more)  # pyright: ignore[reportArgumentType]


def test_regression_gives_a_number_and_its_quantiles():
    """`prediction`, and `quantiles` by level where the model has them; the version where there is one."""
    plain = Answers(signature("regression", PREDICTION), "w", None)
    assert plain.v1([np.array([1.5, 2.0])], Batch(2)) == {"predictions": [{"prediction": 1.5}, {"prediction": 2.0}]}
    quantiles = Output(name="quantiles", datatype="FP64", shape=(2,), tensor="y1")
    sure = Answers(signature("regression", PREDICTION, quantiles, quantile_levels=(0.05, 0.95)), "w", "3")
    assert sure.v1([np.array([1.5]), np.array([[1.0, 2.0]])], Batch(1)) == {
        "predictions": [{"prediction": 1.5, "quantiles": {"0.05": 1.0, "0.95": 2.0}}],
        "model_version": "3",
    }


def test_a_forecast_without_a_time_has_none():
    """Where the row's time is missing, horizons stand without a time."""
    forecast = signature(
        "forecasting",
        Output(name="prediction", datatype="FP64", shape=(1,), tensor="y0"),
        inputs=(X, AT),
        time="at",
        horizons=(2,),
        step_seconds=60,
    )
    answers = Answers(forecast, "w", None)
    expected = [
        {"forecast": [{"horizon": 2, "time": None, "prediction": 5.0}]},
        {"forecast": [{"horizon": 2, "time": "1970-01-01T00:02:00Z", "prediction": 6.0}]},
    ]
    batch = Batch(2, {"x1": np.array([MISSING_TIME, 0])})
    assert answers.v1([np.array([[5.0], [6.0]])], batch) == {"predictions": expected}
    assert answers.v1([np.array([[6.0]])], Batch(1, row=[1.0, 0])) == {"predictions": expected[1:]}


def test_the_first_of_equal_classes_is_the_label():
    """v1 and v2 choose the same label, also where two classes are equally probable."""
    output = Output(name="probabilities", datatype="FP64", shape=(2,), tensor="y0")
    answers = Answers(signature("classification", output, classes=("no", "yes")), "w", None)
    probabilities = np.array([[0.5, 0.5], [0.2, 0.8]])
    v1 = [p["label"] for p in answers.v1([probabilities], Batch(2))["predictions"]]
    v2 = next(array.tolist() for name, _, array, _ in answers.tensors([probabilities], Batch(2)) if name == "label")
    assert v1 == v2 == ["no", "yes"]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([1.5]), b"\x00\x00\x00\x00\x00\x00\xf8?"),
        (np.array([[1], [2]], np.int64), b"\x01" + b"\x00" * 7 + b"\x02" + b"\x00" * 7),
        (np.array(["a", "ü"], object), b"\x01\x00\x00\x00a\x02\x00\x00\x00\xc3\xbc"),
    ],
)
def test_raw_content_is_the_protocols(array: np.ndarray, expected: bytes):
    """Little-endian numbers; texts with 4 bytes of length before each."""
    assert content(array) == expected
