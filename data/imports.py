"""What libraries do at their first import that nobody here asks for and that costs seconds of each process: left out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_GRAMMAR = "rfc3987_syntax"


@contextmanager
def without_grammar() -> Iterator[None]:
    """jsonschema left without its grammar of IRIs while it is first imported: building that takes 1.2 s of CPU, each time, and only
    says whether a link is well formed."""
    if "jsonschema" in sys.modules or _GRAMMAR in sys.modules:
        yield
        return
    sys.modules[_GRAMMAR] = None  # pyright: ignore[reportArgumentType]  (how Python is told that a module is not there)
    try:
        yield
    finally:
        del sys.modules[_GRAMMAR]


@contextmanager
def without_type_checks() -> Iterator[None]:
    """typeguard left out while Feast is first imported: it parses and compiles each decorated class anew, 2.6 of 4.6 s, each time."""
    import typeguard

    original = typeguard.typechecked

    def untouched(target: Any = None, **_: Any) -> Any:
        return (lambda decorated: decorated) if target is None else target

    typeguard.typechecked = untouched  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        typeguard.typechecked = original
