"""Words that mean something to the platform itself: an entity that is called so cannot be told from them in text.

`version` is a key of schema.json, `default` a mode of Dagster's runs, `main` a branch, a workload's name a folder. Derived, not kept by hand:
from this program's own source, the places' paths, the home's files and the workloads' names and columns. Knows no entity.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from assets import spec as specs
from data.errors import UserError
from data.places import Places

# What Dagster, MLflow, DVC and git write where a status, a mode or a name is meant; our own words are in our source.
_OTHERS = frozenset(
    re.findall(
        r"\w+",
        "active all asset assets branch canceled canceling daemon dagster default deleted dev failed failure false finished git head job "
        "killed latest local main managed master mlflow model none not_started null origin pending pipeline prod production queued ready "
        "run running scheduled sensor skipped staging start started starting step stopped success test testing tests tick train true "
        "unknown user validation workspace",
    )
)
_CODE = ("assets", "data", "orchestration", "serving", "training")
_WORD = re.compile(r"[\w-]+")


def reserved(places: Places) -> frozenset[str]:
    """All of them, letters' case folded."""
    found = {*_OTHERS, *_own()}
    for base in (places.root, places.home):
        found |= {*_pieces(*base.resolve().parts)}
    for path in places.home.rglob("*"):
        inside = path.relative_to(places.home)
        if inside.parts[0] != "dvc":
            found |= {*_pieces(*inside.parts)}
    for name in specs.names(places):
        found |= {*_pieces(name), *_columns(places, name)}
    return frozenset(word.casefold() for word in found)


def _columns(places: Places, workload: str) -> set[str]:
    try:
        data = specs.load(places, workload).data
    except UserError:  # a workload that cannot be read says so elsewhere
        return set()
    return {one for one in (*(data.columns or ()), data.target, data.time, data.entity) if one}


def _pieces(*texts: str) -> Iterator[str]:
    for text in texts:
        yield text
        yield from _WORD.findall(text)


@cache
def _own() -> frozenset[str]:
    """Names and one-word texts of this program's source."""
    root, found = Path(__file__).parents[2], set[str]()
    for file in (file for part in _CODE for file in (root / part).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                    found |= {*_pieces(name)}
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                    found.add(name)
                case ast.Constant(value=str(text)) if text and not re.search(r"\s", text):
                    found |= {*_pieces(text)}
                case _:
                    pass
    return frozenset(found)
