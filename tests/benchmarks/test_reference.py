"""The reference model that serving's figures are measured on."""

from pathlib import Path

import numpy as np

from benchmarks import load, reference
from data.files import tree_digest
from serving.inference.requests import Requests
from serving.inference.session import Session


def test_the_committed_model_is_the_one_that_the_script_makes(tmp_path: Path):
    """Whoever runs the script gets the committed bytes."""
    reference.make(tmp_path / "m")
    assert tree_digest(tmp_path / "m") == tree_digest(reference.FOLDER)


def test_both_forms_are_the_same_net(tmp_path: Path):
    """The form over 20 columns predicts what the form over one tensor does."""
    reference.make(tmp_path / "columns", columns=True)
    one, many = Session(reference.FOLDER), Session(tmp_path / "columns")
    x = np.random.default_rng(0).normal(size=(7, reference.WIDTH)).astype(np.float32)
    (joined,), (apart,) = one.run({"x0": x}), many.run({f"x{i}": x[:, i].astype(np.float64) for i in range(reference.WIDTH)})
    assert np.allclose(joined, apart)


def test_the_load_is_a_valid_request(tmp_path: Path):
    """What wrk sends is what the model takes, by the short way."""
    reference.make(tmp_path / "columns", columns=True)
    for folder in (reference.FOLDER, tmp_path / "columns"):
        assert Requests(Session(folder).signature).v2(load.v2(load.one_row(folder))).row is not None
