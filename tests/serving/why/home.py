"""A home with one small registered version that adds three numbers, and its answers: all that a walk needs, made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from data.files import tree_digest, write_json
from serving.gateway.ids import new_id
from serving.ledger import Ledger
from serving.records import Prediction, Records
from serving.trust import keys, signature, statement
from serving.trust.statement import Statement
from serving.why import Walk, Why
from tests.serving.model_folders import numbers

WORKLOAD = "hand"
RUN = "0123456789abcdef0123456789abcdef"
EVIL = "<script>alert(1)</script>\"'&\u202e"


class Home:
    """`answered` keeps an answer; `walk` walks back from it."""

    def __init__(self, home: Path, *, registered: bool = True) -> None:
        self.home = home
        self.ledger, self.records = Ledger.at(home), Records.at(home)
        self.folder = numbers(home / "models" / WORKLOAD / "1")
        kept = home / "monitor" / WORKLOAD / "1"
        kept.mkdir(parents=True)
        pd.DataFrame({f"n{i}": [0.0, 1.0, 2.0, 3.0] for i in range(3)}).to_parquet(kept / "background.parquet")
        results = [{"column": "n0", "expected": f"is below {EVIL}", "passed": True}]
        write_json(kept / "checks.json", {"data_version": "d1", "quality": {"passed": True, "rows": 40, "results": results}})
        if registered:
            self.register("1", tree_digest(self.folder))
            self.ledger.promote(WORKLOAD, "1", expected=None, reason=f"it passed {EVIL}")

    def sign(self) -> Home:
        """Sign the version's files as they are, so that it may be explained."""
        from training.signing import sign

        signature.beside(self.folder).write_bytes(sign(self.folder, keys.signing(self.home).file))
        return self

    def clear(self) -> Home:
        """Clear the version to serve, on record and by a release statement."""
        digest, key = tree_digest(self.folder), keys.signing(self.home)
        facts = {"digest": digest, "key": key.public.id, "reason": "it passed", "by": "gate"}
        cleared = self.ledger.record("cleared", WORKLOAD, "1", facts)
        said = Statement(workload=WORKLOAD, version="1", digest=digest, sequence=cleared.sequence)
        statement.write(statement.beside(self.folder), said, key)
        return self

    def register(self, version: str, digest: str, **more: Any) -> None:
        """The ledger's record of a version."""
        facts = {"model_digest": digest, "verdict": "passed: it is better", "passed": True, "judged": "k1", "against": None}
        facts |= {"run_id": RUN, "url": "http://127.0.0.1:5000/#/models/hand/versions/1", "data_version": "d1"}
        facts |= {"git_commit": "c" * 40, "git_changes": "clean", "dvc_lock": "l" * 64}
        self.ledger.record("registered", WORKLOAD, version, facts | more)

    def answered(self, *rows: tuple[float, float, float], role: Any = "champion", version: str = "1", **more: Any) -> str:
        """The id of a kept answer."""
        prediction_id = more.pop("id", None) or new_id()
        instances = [dict(zip(("n0", "n1", "n2"), row, strict=True)) for row in rows]
        stated: dict[str, Any] = {
            "id": prediction_id,
            "workload": WORKLOAD,
            "version": version,
            "role": role,
            "at": 4_000_000_000.25,  # after all decisions
            "rows": len(rows),
            "form": "v1",
            "request": json.dumps({"instances": instances}).encode(),
            "answer": json.dumps({"predictions": [{"prediction": sum(row)} for row in rows]}).encode(),
            "entities": (),
            "status": 200,
            "latency_ms": 1.5,
        }
        self.records.append([Prediction(**stated | more)])
        return prediction_id

    def walk(self, prediction_id: str, role: str | None = None) -> Walk:
        return Why.at(self.home).walk(prediction_id, role)
