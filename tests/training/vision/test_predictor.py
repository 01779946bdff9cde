import json

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open

from tests.training.vision.digits import bars, digits
from training.evaluate import evaluate
from training.family import TrainSection, family, settings
from training.fit import fit
from training.predictor import OnnxPredictor
from training.promote import PromoteSection
from training.vision.predictor import calibrate

FAMILY = family("vision")


def fitted(folder, table, schema, **section):
    given = FAMILY.prepare(table, schema, settings(FAMILY, TrainSection(**section)), 0)
    result = fit(given, folder=folder / "checkpoints", seed=0, patience=12)
    FAMILY.export(given, schema, "pictures", folder / "model")
    return given, result


@pytest.mark.parametrize("shape", [(8, 8), (3, 9, 13)])
def test_the_graph_answers_as_the_net(tmp_path, shape):
    """The hand-made ONNX graph gives the net's own probabilities, for any size and number of channels."""
    table, schema = bars(60, shape)
    given, _ = fitted(tmp_path, table, schema, max_steps=40)
    onnx.checker.check_model(onnx.load(tmp_path / "model" / "model.onnx"), full_check=True)
    found = OnnxPredictor(tmp_path / "model").predict(table)["probabilities"]
    x = torch.from_numpy(np.stack(table["image"].to_list())).reshape(len(table), *(shape if len(shape) == 3 else (1, *shape)))
    with torch.no_grad():
        expected = given.module.predict_step((x,))["probabilities"].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


def test_the_signature_is_the_column_and_its_shape(tmp_path):
    """The endpoint's one input is the column under its own name, FP32 in the image's shape; the weights carry the settings."""
    table, schema = bars(40)
    fitted(tmp_path, table, schema, max_steps=20)
    (column,) = OnnxPredictor(tmp_path / "model").signature.inputs
    assert (column.name, column.datatype, column.shape) == ("image", "FP32", (8, 8))
    with safe_open(tmp_path / "model" / "model.safetensors", "pt") as weights:
        assert json.loads(weights.metadata()["settings"])["max_steps"] == 20
        assert "head.weight" in weights.keys()  # noqa: SIM118  (not a dict)


def test_calibration_tempers_a_braggart():
    """A net whose logits are far too large for its accuracy gets a temperature above one."""

    class Braggart(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("temperature", torch.tensor(1.0))

        def forward(self, x):
            return torch.stack([x, -x], dim=1) * 4

    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2000, generator=rng)
    y = (torch.rand(2000, generator=rng) > torch.sigmoid(4 * x)).long()
    net = Braggart()
    calibrate(net, [(x[:1000], y[:1000]), (x[1000:], y[1000:])])
    assert float(net.temperature) == pytest.approx(2, abs=0.15)


@pytest.mark.slow
def test_digits_are_read(tmp_path):
    """On held-out handwritten digits the tiny size is right on at least 97 %, knows how sure it is, and beats the classes' shares."""
    table, schema = digits()
    _, result = fitted(tmp_path, table[table["__split"] == "train"], schema)
    scores = evaluate(tmp_path / "model", table, schema, PromoteSection(), tmp_path / "out", pictures=False)
    assert scores.tree["holdout"]["candidate"]["accuracy"] >= 0.97
    assert scores.tree["holdout"]["candidate"]["ece"] < 0.04
    assert scores.comparison.high < 0
    assert result.parameters < 10_000
