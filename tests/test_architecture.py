"""The structure that a machine holds: layers, lazy imports, sizes, and no code in what is loaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("orchestration", "assets", "serving", "training", "data")
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
HEAVY = ("torch", "lightning", "mlflow", "feast", "great_expectations", "kserve", "dvc", "pandas", "dagster")


def test_imports_point_down():
    """Every import contract of pyproject.toml is kept."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_too_long(path: Path):
    """No source file is over 400 lines."""
    assert len(path.read_text().splitlines()) <= 400


def test_most_files_are_short():
    """Four of five source files are under 200 lines, and the median is at most 150."""
    sizes = sorted(len(path.read_text().splitlines()) for path in SOURCES)
    assert sizes[len(sizes) // 2] <= 150
    assert sizes[int(len(sizes) * 0.8)] <= 200


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path):
    """Each module opens with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_nothing_that_is_loaded_can_run_code():
    """No pickle, joblib or unrestricted torch.load stands on any path of the product."""
    forbidden = (
        "import pickle",
        "import joblib",
        "import cloudpickle",
        "weights_only=False",
        "allow_pickle=True",
        "import dill",
    )
    found = [f"{path}: {word}" for path in SOURCES for word in forbidden if word in path.read_text()]
    assert found == []


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `code`."""
    script = f"import sys\n{code}\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "may"),
    [
        ("orchestration.cli", ()),
        ("assets.spec", ()),
        ("assets.stages", ()),
        ("serving.ledger", ()),
        ("serving.deploy", ()),
        ("serving.gateway.app", ()),
        ("training.promote", ()),
        ("training.family", ()),
        ("assets.workload", ("dagster",)),
    ],
)
def test_importing_loads_nothing_heavy(module: str, may: tuple[str, ...]):
    """Definitions, commands and the gateway start light."""
    assert modules_after(f"import {module}") & set(HEAVY) - set(may) == set()
