"""The asset graph, as Dagster loads it."""

import json
import time
from pathlib import Path

import dagster as dg
import pytest

from assets.spec import names
from data.places import Places
from orchestration.definitions import defs as load
from tests.conftest import ROOT, copy_tree

SNAPSHOT = Path(__file__).with_name("graph.json")


@pytest.fixture(scope="module")
def loaded() -> dg.Definitions:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return load()


def graph(definitions: dg.Definitions) -> dict[str, object]:
    """What a person sees of the graph: keys, dependencies, groups, kinds, checks."""
    assets = definitions.resolve_asset_graph()
    nodes = {
        node.key.to_user_string(): {
            "after": sorted(key.to_user_string() for key in node.parent_keys),
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "checks": sorted(check.name for check in node.check_keys),
        }
        for node in assets.asset_nodes
    }
    jobs = sorted(job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__"))
    return {"assets": nodes, "jobs": jobs}


def test_the_graph_is_the_known_one(loaded: dg.Definitions):
    """The whole graph equals tests/orchestration/graph.json; write it anew with AIPRIME_SNAPSHOT=1 when a change is meant."""
    import os

    found = graph(loaded)
    if os.environ.get("AIPRIME_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    assert found == json.loads(SNAPSHOT.read_text())


def test_every_workload_has_one_group_with_described_assets(loaded: dg.Definitions):
    """Each asset has a description, kinds, a code link and a code version where DVC runs it."""
    for node in loaded.resolve_asset_graph().asset_nodes:
        assert node.description
        assert node.kinds
        assert "dagster/code_references" in node.metadata
        if node.key.path[-1] in {"dataset", "features", "model", "evaluation"}:
            assert node.code_version


def test_schedules_are_off_and_the_watcher_is_on(loaded: dg.Definitions):
    """Nothing runs by itself on a fresh machine but the sensors that look at dvc.lock and at deployed models."""
    schedules = list(loaded.schedules or [])
    assert len(schedules) == len(names(Places.find(ROOT)))
    assert all(one.default_status == dg.DefaultScheduleStatus.STOPPED for one in schedules)
    assert {one.name: one.default_status for one in loaded.sensors or []} == dict.fromkeys(
        ("outside_dvc_repro", "loop"), dg.DefaultSensorStatus.RUNNING
    )


def test_selection_strings_parse():
    """The pinned antlr parses what `dg launch --assets` takes."""
    selection = dg.AssetSelection.from_string('+key:"co2/model" or group:"bikes"')
    assert selection


def test_a_broken_yaml_is_one_red_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One broken YAML does not take the other workloads down."""
    root = copy_tree(tmp_path / "project")
    (root / "orchestration" / "workloads" / "co2" / "defs.yaml").write_text("attributes: {name: co2, colour: red}")
    monkeypatch.chdir(root)
    keys = {node.key.to_user_string() for node in load().resolve_asset_graph().asset_nodes}
    assert "co2/invalid" in keys
    assert "digits/endpoint" in keys


def test_a_hundred_workloads_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A project of a hundred workloads loads, and in far less than the time of loading one by one (bench: 2.5 s)."""
    root = copy_tree(tmp_path / "project")
    hundred(root)
    monkeypatch.chdir(root)
    started = time.perf_counter()
    assert len(load().resolve_asset_graph().asset_nodes) >= 600
    assert time.perf_counter() - started < 30


def hundred(root: Path) -> None:
    """Give a copied project a hundred more workloads."""
    text = (root / "orchestration" / "workloads" / "digits" / "defs.yaml").read_text()
    index = root / "orchestration" / "workloads" / "index.yaml"
    listed = index.read_text()
    for number in range(100):
        folder = root / "orchestration" / "workloads" / f"copy{number}"
        folder.mkdir()
        (folder / "defs.yaml").write_text(text.replace("name: digits", f"name: copy{number}"))
        listed += f"  copy{number}: {{family: vision}}\n"
    index.write_text(listed)
