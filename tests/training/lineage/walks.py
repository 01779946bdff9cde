"""Walks as plain values, with other people's text wherever it may stand."""

from __future__ import annotations

from typing import Any

NAMES = ("request", "decision", "model", "signature", "run", "code", "data", "features", "checks", "gate", "label")


def walk(*, evil: str = "", gone: bool = False) -> dict[str, Any]:
    """A whole one; with `gone` all that can be gone is."""
    facts: dict[str, dict[str, Any]] = {
        "request": {"inputs": {f"x{evil}": 1.0}},
        "decision": {
            "decision": 3,
            "decided_at": "2026-01-01T00:00:00+00:00",
            "decided_by": f"person{evil}",
            "reason": f"why {evil}",
            "role": "champion",
        },
        "model": {"digest": "d" * 64, "registered_at": "2025-12-31T00:00:00+00:00"},
        "signature": {"key": "k" * 64, "statement": 2},
        "run": {"run_id": "0123456789abcdef0123456789abcdef"},
        "code": {"git_commit": "c" * 40, "git_changes": "clean"},
        "data": {"data_version": "v1"},
        "features": {"entity": f"mauna loa{evil}", "known_at": "2025-12-30T00:00:00Z", "values": {"a": 1.5}},
        "checks": {"checks": 2, "held": 1, "expectations": [f"a is {evil}: holds", "b: broken"]},
        "gate": {"verdict": f"passed {evil}", "passed": True, "judged": "k1", "against": "1"},
        "label": {"labels": [{"about": f"id:x{evil}", "value": 3.5, "told_by": f"client{evil}"}]},
    }
    steps = [
        {"name": name, "title": name.capitalize(), "said": f"{name} {evil}", "source": "ledger", "links": {}}
        | {"facts": {} if gone else facts[name], "gone": f"erased {evil}" if gone else None}
        for name in NAMES
    ]
    return {
        "prediction_id": "01a1ff24-40e4-74ed-bf1d-8e11d9be2f11",
        "row": 0,
        "rows": 1,
        "role": "champion",
        "workload": f"co2{evil}",
        "version": "2",
        "at": "2026-01-02T00:00:00Z",
        "status": 200,
        "predicted": [] if gone else [{"prediction": 1.0}],
        "others": [],
        "steps": steps,
    }
