"""The data's half of the document: dataset, examples, source files and locks as CycloneDX components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.cards.facts import Facts
from assets.cards.plain import Plain, licenses, properties

DATASET, FEATURES = "data:dataset", "data:features"


def dataset(facts: Facts, known: frozenset[str]) -> Plain:
    """The canonical table: hash, licence, origin, rows, period, columns and every check."""
    spec, rows = facts.spec, facts.rows
    time = rows.column(spec.data.time)
    held = sum(bool(check["passed"]) for check in facts.checks)
    about = {
        "rows": rows.rows,
        "period": f"{time.low} to {time.high}" if time and time.low else "none, for its rows have no time",
    }
    about |= {f"column:{one.name}": f"{one.kind}: {one.said}" for one in rows.columns}
    about |= {"checks": f"{held} of {len(facts.checks)} passed"}
    about |= {f"check:{i}": _check(check) for i, check in enumerate(facts.checks, 1)}
    return {
        "type": "data",
        "bom-ref": DATASET,
        "name": f"{spec.name}/dataset",
        "version": rows.dataset_md5,
        "description": spec.card.data_origin,
        "hashes": [{"alg": "MD5", "content": rows.dataset_md5}] if rows.dataset_md5 else None,
        "licenses": licenses(spec.card.data_license, known),
        "data": [{"type": "dataset", "name": rows.source, "contents": {"properties": properties(about)}}],
    }


def features(facts: Facts) -> Plain:
    """The table of examples: hash, and the rows of each side of the split."""
    parts = {
        f"rows:{one.name}": f"{one.rows}{f' from {one.start} to {one.end}' if one.start else ''}" for one in facts.rows.parts
    }
    md5 = facts.rows.features_md5.removesuffix(".dir")
    return {
        "type": "data",
        "bom-ref": FEATURES,
        "name": f"{facts.spec.name}/features",
        "version": facts.rows.features_md5,
        "hashes": [{"alg": "MD5", "content": md5}] if md5 else None,
        "data": [{"type": "dataset", "name": "examples", "contents": {"properties": properties(parts)}}],
    }


def sources(facts: Facts) -> list[Plain]:
    """The files that were read."""
    return [
        {
            "type": "data",
            "bom-ref": f"source:{one['file']}",
            "name": one["file"],
            "hashes": [{"alg": "SHA-256", "content": one["sha256"]}],
            "data": [{"type": "dataset", "name": facts.rows.source}],
            "properties": properties({"bytes": one["bytes"]}),
        }
        for one in facts.rows.sources
    ]


def locks(facts: Facts) -> list[Plain]:
    """The files that the environment is installed from."""
    return [
        {"type": "file", "bom-ref": f"lock:{name}", "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
        for name, digest in facts.environment.locks
    ]


def _check(check: Mapping[str, Any]) -> str:
    subject = check["column"] or "the table"
    return f"{subject}: {check['expected']}: {'held' if check['passed'] else 'broken, a warning'}"
