"""What every model family promises (`training/family.py`), held for all of them on tiny tables."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open

from data.errors import UserError
from tests.families.tables import CASES, Case
from training.family import FAMILIES, TrainSection, family, settings
from training.fit import FitResult, fit
from training.predictor import OnnxPredictor, point
from training.signature import MODEL_JSON, MODEL_ONNX, WEIGHTS, Signature

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_family = pytest.mark.parametrize("case", {case.family: case for case in CASES}.values(), ids=lambda case: case.family)


def prepared(case: Case, rows: int = 80, *, seed: int = 0, **section):
    chosen, (table, schema) = family(case.family), case.make(rows)
    return chosen, table, schema, chosen.prepare(table, schema, settings(chosen, TrainSection(**section)), seed)


def fitted(case: Case, folder: Path, rows: int = 80, *, patience: int = 10_000, **section):
    chosen, table, schema, given = prepared(case, rows, **section)
    result = fit(given, folder=folder / "checkpoints", seed=0, patience=patience)
    chosen.export(given, schema, "a_workload", folder / "model")
    return table, schema, given, result


def test_every_family_is_held_to_the_contract():
    """No family is without a table here, and each calls itself by its folder's name."""
    assert {case.family for case in CASES} == set(FAMILIES)
    assert [family(name).name for name in FAMILIES] == list(FAMILIES)


def test_an_unknown_family_is_refused():
    """A name that is no family is an error that lists those that are."""
    with pytest.raises(UserError, match="unknown family 'tabluar'") as error:
        family("tabluar")
    assert "vision" in str(error.value)


@every_family
def test_sizes_know_the_same_settings(case):
    """Each size has every setting, the step budget among them, and the search space names settings that exist."""
    chosen = family(case.family)
    keys = [set(chosen.defaults(size)) for size in ("tiny", "small", "base")]
    assert keys[0] == keys[1] == keys[2]
    assert "max_steps" in keys[0]
    for size in ("tiny", "small", "base"):
        assert set(chosen.search_space(size)) <= keys[0]


@every_family
def test_an_unknown_setting_is_refused(case):
    """A key under `train.model` that the family does not know is an error that names it and those it knows."""
    with pytest.raises(UserError, match="wdith") as error:
        settings(family(case.family), TrainSection(model={"wdith": 3}))
    assert all(key in str(error.value) for key in family(case.family).defaults("tiny"))


@every_case
def test_it_builds_fits_and_exports_at_tiny(case, tmp_path):
    """A tiny table becomes a folder of ONNX, safetensors and JSON whose signature names the workload, the columns and the task."""
    table, schema, _, result = fitted(case, tmp_path, max_steps=30)
    assert result.steps == 30
    signature = Signature.read(tmp_path / "model")
    assert (signature.workload, signature.family, signature.task) == ("a_workload", case.family, case.task)
    assert (signature.target, signature.classes, signature.horizons) == (schema.target, schema.classes, schema.horizons)
    assert {column.name for column in signature.inputs} <= {column.name for column in schema.inputs}
    names = {"probabilities"} if case.task == "classification" else {"prediction", "quantiles"}
    assert {output.name for output in signature.outputs} == names
    assert len(point(OnnxPredictor(tmp_path / "model").predict(table), signature)) == len(table)


def test_classes_of_a_series_state_their_horizon(tmp_path):
    """Whose truth lies a step ahead says so: else labels are joined a step too early, and the gate finds no champion to ask."""
    ahead = replace(CASES[1], make=lambda rows: one_ahead(rows, CASES[1].make))
    fitted(ahead, tmp_path, max_steps=3)
    assert Signature.read(tmp_path / "model").horizons == (1,)


def one_ahead(rows: int, make):
    """The case's table as a series of half-hours, each to be answered one step ahead."""
    table, schema = make(rows)
    return table, schema.model_copy(update={"horizons": (1,), "step_seconds": 1800})


@every_case
def test_it_overfits_a_handful(case, tmp_path):
    """On a handful of rows the training loss falls to a fraction: gradients reach what they must."""
    _, _, _, result = fitted(case, tmp_path, rows=24, max_steps=400, **_still(case))
    losses = [row["train_loss"] for row in result.history]
    assert min(losses) < 0.35 * losses[0]


def _still(case: Case) -> dict:
    """What would keep a net from learning rows by heart, turned off."""
    known = family(case.family).defaults("tiny")
    return {"model": {key: 0 for key in ("dropout", "shift", "weight_decay") if key in known}}


@every_case
def test_what_is_exported_answers_as_what_was_fitted(case, tmp_path):
    """The folder's answers are the module's own, to rounding: every validation row's is found among those to the whole table."""
    table, _, given, _ = fitted(case, tmp_path, max_steps=30)
    outputs = OnnxPredictor(tmp_path / "model").predict(table)
    with torch.no_grad():
        answers = [given.module.predict_step(batch, i) for i, batch in enumerate(given.valid)]
    for name in set(outputs) & set(answers[0]):
        served = outputs[name].reshape(len(table), -1)
        for own in np.concatenate([np.asarray(answer[name], dtype=float).reshape(len(answer[name]), -1) for answer in answers]):
            nearest = np.abs(served - own).max(axis=1).min()
            assert nearest <= 1e-4 * max(1.0, np.abs(own).max())
    assert set(answers[0]) <= set(outputs)


@every_case
def test_nothing_in_the_folder_can_run_code(case, tmp_path):
    """The folder holds the three files of the contract, each of which is what it says: ONNX, safetensors, JSON. No pickle."""
    fitted(case, tmp_path, max_steps=10)
    folder = tmp_path / "model"
    assert {file.name for file in folder.rglob("*")} == {MODEL_ONNX, WEIGHTS, MODEL_JSON}
    onnx.checker.check_model(onnx.load(folder / MODEL_ONNX))
    assert {domain.domain for domain in onnx.load(folder / MODEL_ONNX).opset_import} <= {"", "ai.onnx.ml"}
    with safe_open(folder / WEIGHTS, "pt") as weights:
        assert len(list(weights.keys())) > 0
    json.loads((folder / MODEL_JSON).read_text())


@every_case
def test_the_same_seed_gives_the_same_model(case, tmp_path):
    """Two fits from one seed export the same bytes of weights; another seed's differ."""

    def weights(seed: int, name: str) -> bytes:
        chosen, _, schema, given = prepared(case, seed=seed, max_steps=15)
        fit(given, folder=tmp_path / name / "checkpoints", seed=seed, patience=99)
        chosen.export(given, schema, "w", tmp_path / name / "model")
        return (tmp_path / name / "model" / WEIGHTS).read_bytes()

    assert weights(0, "a") == weights(0, "b")
    assert weights(0, "a") != weights(1, "c")


@every_case
def test_an_interrupted_fit_ends_as_a_whole_one(case, tmp_path):
    """A fit that was cut off and taken up again ends with the weights of one that was not: the batches resume too."""

    def run(folder: Path, **how) -> tuple[FitResult, dict[str, torch.Tensor]]:
        _, _, _, given = prepared(case, max_steps=60)
        return fit(given, folder=folder, seed=0, patience=99, token="t", **how), given.module.state_dict()

    def cut(row) -> None:
        if row["epoch"] == 1:
            raise InterruptedError

    whole, expected = run(tmp_path / "whole")
    assert len(whole.history) > 2
    with pytest.raises(InterruptedError):
        run(tmp_path / "cut", checkpoint_every=0, progress=cut)
    result, weights = run(tmp_path / "cut")
    assert result.resumed_from == 1
    assert all(torch.equal(expected[name], weights[name]) for name in expected)


@every_case
def test_an_empty_table_is_refused(case):
    """No rows are an error for a person, not a crash."""
    chosen, (table, schema) = family(case.family), case.make(20)
    with pytest.raises(UserError):
        chosen.prepare(table.iloc[:0], schema, settings(chosen, TrainSection()), 0)


@pytest.mark.parametrize("case", [case for case in CASES if case.task == "classification"], ids=str)
def test_a_single_class_is_refused(case):
    """Rows of one class only cannot be learnt, and the message says which class."""
    chosen, (table, schema) = family(case.family), case.make(40)
    only = schema.classes[0]
    with pytest.raises(UserError, match=only):
        chosen.prepare(table[table["__target"] == only], schema, settings(chosen, TrainSection()), 0)
