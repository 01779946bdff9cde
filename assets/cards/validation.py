"""The library's door: a document against CycloneDX's own JSON schema, and the licences that the schema knows by an identifier."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data.imports import without_grammar

_SPDX = "spdx.SNAPSHOT.schema.json"


def validate(document: Any) -> None:
    """ValueError where it is not a CycloneDX 1.6 document: the place, and what is wrong there."""
    with without_grammar():
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document, allow_nan=False))
    if wrong is not None:
        raise ValueError(f"this is not a CycloneDX 1.6 document: {wrong}")


@cache
def spdx() -> frozenset[str]:
    """SPDX's identifiers of licences, as the library brings them."""
    found = find_spec("cyclonedx")
    places = found.submodule_search_locations if found else None
    if not places:
        raise ModuleNotFoundError("cyclonedx-python-lib is not installed")
    return frozenset(json.loads((Path(places[0]) / "schema" / "_res" / _SPDX).read_bytes())["enum"])
