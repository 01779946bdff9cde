"""What a version's answers are explained by is kept with it: usual rows that it was trained on, and the checks of its data."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from assets import grounds
from data.places import Places
from data.schema import SPLIT
from tests.serving.model_folders import numbers
from training.explain import background
from training.signature import Signature


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Places]:
    """A workload's store with a model, its examples and its checks."""
    places = Places(root=tmp_path, home=tmp_path / "home")
    store = places.store("hand")
    numbers(store / "model")
    (store / "quality.json").write_text('{"passed": true, "results": []}')
    table = pd.DataFrame({f"n{i}": range(400) for i in range(3)} | {SPLIT: ["train"] * 300 + ["holdout"] * 100})
    monkeypatch.setattr(grounds, "read_features", lambda *_: (table, None))
    monkeypatch.setattr(grounds.versions, "locked", lambda *_: {"dataset": "d1"})
    return SimpleNamespace(name="hand"), places


def test_usual_rows_are_train_rows(made: tuple[Any, Places]) -> None:
    """A bounded sample of what it learnt from, never of what it was judged on; the same one each time."""
    spec, places = made
    grounds.keep(spec, places, "1")
    kept = background.read(
        places.home / "monitor" / "hand" / "1" / background.NAME, Signature.read(places.store("hand") / "model")
    )
    assert len(kept) == background.ROWS
    assert kept["n0"].max() < 300
    grounds.keep(spec, places, "2")
    assert kept.equals(pd.read_parquet(places.home / "monitor" / "hand" / "2" / background.NAME))


def test_the_checks_name_their_data(made: tuple[Any, Places]) -> None:
    """quality.json as it was, and DVC's revision of what it is about."""
    spec, places = made
    grounds.keep(spec, places, "1")
    kept = json.loads((places.home / "monitor" / "hand" / "1" / grounds.CHECKS).read_text())
    assert kept == {"data_version": "d1", "quality": {"passed": True, "results": []}}


def test_what_is_there_stays(made: tuple[Any, Places]) -> None:
    """A version is explained by what it was made with: later data changes nothing of it."""
    spec, places = made
    grounds.keep(spec, places, "1")
    file = places.home / "monitor" / "hand" / "1" / background.NAME
    before = file.read_bytes()
    (places.store("hand") / "quality.json").write_text('{"passed": true, "results": [{}]}')
    grounds.keep(spec, places, "1")
    assert file.read_bytes() == before
    assert "[{}]" not in (file.parent / grounds.CHECKS).read_text()


def test_the_entity_is_kept_where_there_is_one() -> None:
    """So that a person who is forgotten can be found in the sample; it is no input."""
    signature = Signature.model_validate(
        {"workload": "w", "family": "tabular", "task": "regression", "target": "y", "outputs": (), "entity": "who"}
        | {"inputs": [{"name": "x", "kind": "number", "tensor": "x0"}]}
    )
    table = pd.DataFrame({"x": [1.0, 2.0], "who": ["a", "b"], "y": [0.0, 0.0]})
    assert list(background.sample(table, signature).columns) == ["x", "who"]
