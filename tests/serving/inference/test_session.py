"""The session: only a folder that can serve is loaded, and its outputs are what the signature declares."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import UserError
from serving.inference.session import ModelFailure, Session
from tests.serving import model_folders


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda m: (m / "model.json").unlink(), "model.json"),
        (lambda m: (m / "model.json").write_text("{}"), "model.json"),
        (lambda m: (m / "model.onnx").write_bytes(b"not ONNX"), "model.onnx"),
        (lambda m: (m / "model.json").write_text((m / "model.json").read_text().replace('"x1"', '"x9"')), "disagree"),
    ],
    ids=["no signature", "empty signature", "no ONNX", "another graph"],
)
def test_a_broken_folder_is_refused(broken: Any, said: str, tmp_path: Path):
    """What cannot serve does not start, and the message says which file and what to do."""
    broken(model_folders.numbers(tmp_path / "m"))
    with pytest.raises(UserError) as error:
        Session(tmp_path / "m")
    assert said in error.value.what
    assert error.value.next_step


def test_a_model_that_fails_on_a_neutral_row_is_refused(tmp_path: Path):
    """A graph that cannot answer anything never becomes ready."""
    folder = model_folders.treacherous(tmp_path / "m", table=())
    with pytest.raises(UserError, match="neutral row"):
        Session(folder)


def test_one_row_is_the_first_of_many(tmp_path: Path):
    """The bound buffers of a single row give what a batch gives, whatever ran before."""
    session = Session(model_folders.numbers(tmp_path / "m"))
    draw = np.random.default_rng(0)
    for row in draw.normal(size=(20, 3)):
        (alone,) = session.run_row(row.tolist())
        (among,) = session.run({f"x{i}": np.array([v, 0.0]) for i, v in enumerate(row)})
        assert alone.tolist() == among[:1].tolist()


def test_results_are_not_overwritten_by_the_next_row(tmp_path: Path):
    """An answer that is still being written keeps its numbers."""
    session = Session(model_folders.numbers(tmp_path / "m"))
    (first,) = session.run_row([1.0, 2.0, 3.0])
    session.run_row([10.0, 20.0, 30.0])
    assert first.tolist() == [6.0]


def test_an_answer_that_is_no_number_is_a_failure(tmp_path: Path):
    """NaN never reaches a client as null; large finite numbers are no failure."""
    session = Session(model_folders.numbers(tmp_path / "m", width=1))
    assert session.run({"x0": np.full(2, 1.7e308)})[0].tolist() == [1.7e308, 1.7e308]
    assert len(session.run({"x0": np.full(200, 1.7e308)})[0]) == 200
    with pytest.raises(ModelFailure):
        session.run({"x0": np.array([np.nan])})


def test_a_slow_model_is_left_to_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where one row takes long, nothing is run inline; a quick model runs thousands of rows so."""
    folder = model_folders.numbers(tmp_path / "m")
    assert Session(folder).inline_rows > 1000
    monkeypatch.setattr("serving.inference.session.ROW_SECONDS", 0.0)
    assert Session(folder).inline_rows == 0
