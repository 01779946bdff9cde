"""Recipes: what decides a stage's output, read from the files as DVC reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import recipe, versions, yamls
from tests.data import project
from tests.data.door import STAGES, Door


def test_recipes_agree_with_the_lock(door: Door):
    """What is computed from the files is what DVC noted, for every stage, and before a stage ran there is none."""
    assert recipe.recipe_locked(door.root, "model", "w") is None
    door.up()
    for stage in STAGES:
        assert versions.recipe(door.root, stage, "w") == versions.recipe_locked(door.root, stage, "w")
    door.edit("seed: 0", "seed: 1")
    differing = [s for s in STAGES if versions.recipe(door.root, s, "w") != versions.recipe_locked(door.root, s, "w")]
    assert differing == ["model"]


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Co", "Cn"), max_codepoint=0xFFFF), max_size=8),
    st.sampled_from(["yes", "off", "1e-4", "010", "1_000", "0x1F", "~", "1:30", "y", "=", "<<"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        PLAIN,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)),
    )
)
def test_yaml_is_read_as_dvc_reads_it(value: Any):
    """Whatever a section holds, the fast reader gives what DVC's does, and DVC reads what the fast writer wrote."""
    from dvc.utils.serialize import dumps_yaml, loads_yaml

    written = dumps_yaml({"attributes": value})
    ours = yamls.load(written)
    assert recipe._plain(ours) == recipe._plain(loads_yaml(written))
    assert recipe._plain(ours) == recipe._plain({"attributes": value})
    again = yamls.dump({"attributes": value})
    assert recipe._plain(loads_yaml(again)) == recipe._plain({"attributes": value})
    assert recipe._plain(yamls.load(again)) == recipe._plain({"attributes": value})


def test_plain_values_are_those_of_yaml_12():
    """`off` and `yes` are text and `1e-4` is a number, as DVC has them and unlike YAML 1.1."""
    from dvc.utils.serialize import loads_yaml

    text = "[off, yes, 1e-4, 010, 1_000, true, 1.5, -3, .inf, null, ~, 2020-01-01x, '1']"
    assert yamls.load(text) == loads_yaml(text)


def test_recipes_of_100_workloads_take_half_a_second(tmp_path: Path):
    """Definitions ask for 100 workloads x 6 stages at each load: in a fresh process, without dvc or pandas."""
    names = tuple(f"w{i}" for i in range(100))
    root = project.make(tmp_path / "project", names)
    code = (
        "import sys, time; from pathlib import Path; from data import versions\n"
        "root, began = Path(sys.argv[1]), time.process_time()\n"
        "found = {versions.recipe(root, s, w) for w in versions.workloads(root) for s in versions.stages(root)}\n"
        "assert len(found) == 600 and not {'dvc', 'pandas', 'ruamel.yaml'} & set(sys.modules)\n"
        "print(time.process_time() - began)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True, cwd=project.ROOT)
    assert float(done.stdout) < 0.5


ENTRY = {
    "source": ["data.sources"],
    "dataset": ["data.prepare", "data.sources"],
    "quality": ["data.quality"],
    "features": ["data.features"],
    "model": ["training.fit", "training.family", "training.search", "training.tabular"],
    "evaluation": ["training.evaluate"],
}
# Modules that decide no byte of an output: how errors read, where files lie, how a write survives a crash, how pages look.
NO_MATTER = {
    "data",
    "training",
    "data.errors",
    "data.failpoints",
    "data.files",
    "data.imports",
    "data.places",
    "data.quality_pages",
    "data.section",
    "data.schema",
    "data.spreadsheets",
    "data.versions",
    "data.recipe",
}
NO_MATTER |= {"training.checkpoint", "training.tracking"}


def imported(module: str, seen: set[str]) -> set[str]:
    """The project's modules that `module` imports, directly or not."""
    import ast

    path = project.ROOT / Path(*module.split("."))
    files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [f"{n}.{a.name}" for n in names for a in node.names] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                where = project.ROOT / Path(*name.split("."))
                if (
                    name.startswith(("data.", "training."))
                    and name not in seen
                    and (where.is_dir() or where.with_suffix(".py").is_file())
                ):
                    seen.add(name)
                    imported(name, seen)
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_of_a_stage_is_its_dependency(stage: str):
    """Every module that a stage's functions reach is listed in dvc.yaml (an edit reruns the stage), and what is listed is there."""
    deps = [path for path in recipe.declared(project.ROOT, stage, "co2").deps if not path.startswith("data/store/")]
    assert [path for path in deps if not (project.ROOT / path).exists()] == []
    reached = {name for entry in ENTRY[stage] for name in {entry, *imported(entry, set())}} - NO_MATTER
    listed = {path.removesuffix(".py").replace("/", ".") for path in deps}
    assert {name for name in reached if not any(name == one or name.startswith(one + ".") for one in listed)} == set()
