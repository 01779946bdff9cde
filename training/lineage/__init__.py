"""A walk (the plain values of `serving.why`, which this layer does not know) as a document of another standard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.errors import UserError

KINDS = ("prov-json", "prov-n", "openlineage")


def document(walk: Mapping[str, Any], kind: str) -> str:
    """The document's text; `kind` is one of KINDS, else UserError."""
    if kind == "openlineage":
        from training.lineage import openlineage

        return openlineage.text(walk)
    if kind in {"prov-json", "prov-n"}:
        from training.lineage import prov

        return prov.text(walk, "json" if kind == "prov-json" else "provn")
    raise UserError(f"no kind of document {kind!r}", next_step=f"one of: {', '.join(KINDS)}")
