"""What `dvc repro` did in a terminal is fresh in the UI too."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sensors"), pytest.mark.timeout(300)]

LOOK = """
import json, os, sys
import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from data.places import Places
from orchestration import instance
from orchestration.definitions import defs
from orchestration.sensors import outside_repro

places = Places.find()
opened = instance.get(places)
definitions = defs()
told = []
if sys.argv[1] == "sense":
    context = dg.build_sensor_context(instance=opened, cursor=sys.argv[2] or None)
    result = outside_repro(places)(context)
    if isinstance(result, dg.SensorResult):
        for event in result.asset_events:
            opened.report_runless_asset_event(event)
            told.append(event.asset_key.to_user_string())
graph = definitions.resolve_asset_graph()
from dagster._core.loader import LoadingContextForTest
resolver = CachingStaleStatusResolver(opened, graph, LoadingContextForTest(opened))
keys = [dg.AssetKey(["digits", name]) for name in ("dataset", "features", "model", "evaluation")]
print(json.dumps({"told": told, "status": {key.path[-1]: resolver.get_status(key).value for key in keys}}))
"""


def look(project: Project, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *arguments],
        cwd=project.places.root,
        env=project.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_an_outside_repro_is_fresh_in_the_ui(project: Project, tmp_path: Path):
    """After a run all is fresh; an edit makes model and evaluation stale; `dvc repro` and one tick of the sensor make them fresh."""
    project.aiprime("run", "digits", "--until", "model")
    first = look(project, "look", "")
    assert [first["status"][name] for name in ("dataset", "features", "model")] == ["FRESH"] * 3
    defs = project.places.defs("digits")
    defs.write_text(defs.read_text().replace("size: tiny", "size: tiny\n    seed: 3"))
    assert look(project, "look", "")["status"]["model"] == "STALE"
    project.python("-m", "dvc", "repro", "evaluation@digits")
    sensed = look(project, "sense", "")
    assert set(sensed["told"]) >= {"digits/model", "digits/evaluation"}
    assert sensed["status"] == dict.fromkeys(("dataset", "features", "model", "evaluation"), "FRESH")
