"""One policy on one workload, as a job for another process."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from assets.spec import Spec, load
from benchmarks.policies.past import Past
from benchmarks.policies.playing import Played, Player
from data.places import Places

ROOT = Path(__file__).resolve().parents[2]


def changed(spec: Spec, settings: tuple[str, ...]) -> Spec:
    """The spec at size tiny, with `section.key=value` for each setting."""
    tree = spec.model_dump(mode="json")
    tree["train"]["size"] = "tiny"
    for one in settings:
        key, _, value = one.partition("=")
        section, _, name = key.partition(".")
        tree[section][name] = yaml.safe_load(value)
    return Spec.model_validate(tree)


@cache
def player(name: str, settings: tuple[str, ...], fits: str, waits: bool) -> Player:
    """One per process: the policies of a workload share what was computed."""
    places = Places.find(ROOT)
    return Player(Past(changed(load(places, name), settings), places, Path(fits)), waits=waits)


def play(job: tuple[str, str, tuple[str, ...], str, bool]) -> Played:
    name, policy, settings, fits, waits = job
    return player(name, settings, fits, waits).play(policy)
