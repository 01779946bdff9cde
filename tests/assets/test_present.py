"""What the online store is brought to: the newest values, whatever a retrain was cut off at."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from assets import lease, loop, present
from assets.spec import Spec, load
from data import cutoff as cutoffs
from data import examples, prepare, sources
from data.cutoff import Cutoff
from data.files import write_atomically
from data.places import Places
from data.schema import TIME
from tests.conftest import copy_tree

CUT = Cutoff(until=datetime(1975, 1, 1, tzinfo=UTC), window_s=3 * 365 * 86_400)


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Spec, Places]:
    """co2_raw as a retrain of 1975 left it: a view that ends there, and the cutoff."""
    places = Places(root=copy_tree(tmp_path / "project"), home=tmp_path / "home")
    spec = load(places, "co2_raw")
    spec = spec.model_copy(update={"data": spec.data.model_copy(update={"until": None})})
    table = prepare.prepare(sources.read(spec.data, places), spec.data, CUT)
    made = examples.make(table, spec.task, spec.data, spec.features, CUT)
    folder = places.store(spec.name) / "features"
    folder.mkdir(parents=True)
    assert made.stored is not None
    made.stored.to_parquet(folder / "view.parquet", index=False)
    write_atomically(folder / "schema.json", made.schema.model_dump_json())
    cutoffs.write(places, spec.name, CUT)
    return spec, places


def newest(folder: Path) -> pd.Timestamp:
    return pd.read_parquet(folder / "view.parquet")[TIME].max()


def test_rows_behind_the_cutoff_are_served(trained: tuple[Spec, Places]) -> None:
    """A request that names the entity is answered from today's values, though the model was fitted on those up to 1975."""
    spec, places = trained
    assert newest(places.store(spec.name) / "features").year == 1974
    assert newest(present.folder(spec, places)).year == 2001


def test_a_replays_present_is_its_own(trained: tuple[Spec, Places]) -> None:
    """While a replay turns the loop nothing later than its time is published."""
    spec, places = trained
    with lease.within(places.home, loop.lock_name(spec.name), "replay"):
        assert present.folder(spec, places) == places.store(spec.name) / "features"


def test_without_a_cutoff_the_stores_own_rows_are_published(trained: tuple[Spec, Places]) -> None:
    """Where no retrain cut anything off, what was built is what is served."""
    spec, places = trained
    cutoffs.file(places, spec.name).unlink()
    assert present.folder(spec, places) == places.store(spec.name) / "features"
