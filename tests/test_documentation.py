"""The documents are true: what they name is there."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from assets.spec import Spec
from orchestration.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCHEMA = ROOT / "docs" / "guide" / "workload.schema.json"


def test_the_readme_is_short():
    """The README has under 200 lines."""
    assert len(README.splitlines()) < 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    """Every relative link and picture of every page exists."""
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_tree_in_the_readme_is_the_real_one():
    """Every path in the README's tree exists, and every top-level folder is in it."""
    block = re.search(r"```\n(orchestration/.*?)```", README, re.S)
    assert block
    named = [line.split()[0] for line in block[1].splitlines() if line and not line.startswith(" ")]
    assert [name for name in named if not (ROOT / name).exists()] == []
    folders = {
        f"{path.name}/" for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".") and "egg" not in path.name
    }
    assert folders <= set(named)


def test_commands_in_the_documents_exist():
    """Each `aiprime WORD` and `make WORD` that a page shows is one, with the options it shows."""
    commands = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    words = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        for line in re.findall(r"^(?:\$ )?((?:aiprime|make) [a-z].*)$", page.read_text(), re.M):
            parts = shlex.split(line.split("#")[0].replace("[", "").replace("]", ""))
            if parts[0] == "make":
                assert parts[1] in words, f"{page}: {line}"
                continue
            assert parts[1] in commands, f"{page}: {line}"
            command = commands[parts[1]]
            command = getattr(command, "commands", {}).get(parts[2] if len(parts) > 2 else "", command)  # a group's
            options = {option for parameter in command.params for option in parameter.opts}
            assert {part for part in parts[2:] if part.startswith("--")} <= options, f"{page}: {line}"


def test_the_schema_of_the_yaml_is_the_generated_one():
    """docs/guide/workload.schema.json equals what the code says; `make format` writes it."""
    assert json.loads(SCHEMA.read_text()) == Spec.model_json_schema()


def test_every_key_of_the_yaml_is_explained():
    """docs/guide/workloads.md names every key of every section."""
    text = (ROOT / "docs" / "guide" / "workloads.md").read_text()
    schema = Spec.model_json_schema()
    keys = set(schema["properties"]) | {key for part in schema["$defs"].values() for key in part.get("properties", {})}
    assert sorted(key for key in keys if f"`{key}`" not in text) == []
