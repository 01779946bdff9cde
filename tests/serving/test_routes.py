"""The routes' file: what is written is what is read, and a late change does not overtake a newer one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from serving import routes
from serving.routes import Arm, Route

ARM = Arm(version="2", server="co2-v2", url="http://127.0.0.1:2", grpc_url="127.0.0.1:3", model="/m/2", share=0.1)
ROUTE = Route(
    workload="co2", fence=7, version="1", server="co2-v1", url="http://127.0.0.1:1", challenger=ARM, sticky=True, sample=0.5
)


def test_a_route_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Champion, challenger, stickiness and sample come back; a workload that is forgotten is gone."""
    assert routes.read(tmp_path) == {}
    assert routes.point(tmp_path, ROUTE, newest=7)
    assert routes.read(tmp_path) == {"co2": ROUTE}
    routes.forget(tmp_path, "co2")
    assert routes.read(tmp_path) == {}


def test_a_file_from_before_rollouts_is_read(tmp_path: Path) -> None:
    """A route that names no challenger has none, and every request of it is kept."""
    routes.path(tmp_path).parent.mkdir(parents=True)
    old = {"workload": "co2", "fence": 3, "version": "1", "server": "co2-v1", "url": "http://127.0.0.1:1"}
    routes.path(tmp_path).write_text(json.dumps({"routes": [old]}))
    route = routes.read(tmp_path)["co2"]
    assert (route.version, route.challenger, route.sticky, route.sample) == ("1", None, False, 1.0)


def test_a_late_change_is_not_written(tmp_path: Path) -> None:
    """A route behind a newer decision is refused; one that follows decisions that no longer exist stands in nobody's way."""
    routes.point(tmp_path, ROUTE, newest=7)
    late = replace(ROUTE, fence=6, challenger=None)
    assert not routes.point(tmp_path, late, newest=7)
    assert routes.read(tmp_path)["co2"] == ROUTE
    assert routes.point(tmp_path, late, newest=6)
