"""A model's years as records, written through the ledger's own door: no training, no server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from serving.ledger import Ledger
from serving.records import Prediction, Records

WEEK = 7 * 86_400.0
START = 946_684_800.0  # 2000-01-01
RULES = {"enabled": True, "on": ["quality", "estimate"], "k": 2, "n": 3, "cooldown": None, "budget_cpu_s": 600.0, "breaker": 3}


def signal(
    state: str = "ok", said: str = "well", value: float | None = None, limit: float | None = None, **detail: Any
) -> dict:
    """A signal as a window's record has it."""
    return {"state": state, "said": said, "value": value, "limit": limit, "detail": detail}


def window(number: int, error: float | None = 0.5, *, rows: int = 40, **signals: dict) -> dict[str, Any]:
    """The payload of window `number`: a week, with an error whose limit is 1."""
    start, end = START + number * WEEK, START + (number + 1) * WEEK
    beyond = error is not None and error > 1
    drifted = {"temp": {"scaled": 1.4, "effect": 0.8, "drifted": True, "trending": False}}
    quiet = {f"column_{n}": {"scaled": 0.1 * n, "effect": 0.1, "drifted": False, "trending": n % 3 == 0} for n in range(8)}
    found = {
        "quality": signal("unknown", "no truth is due yet")
        if error is None
        else signal(
            "alarm" if beyond else "ok", f"mae mean loss {error:.3g} {'exceeds' if beyond else 'is within'} 1", error, 1.0
        ),
        "estimate": signal("ok", "expected mae is within 0.9", 0.4 + 0.1 * math.sin(number), 0.9),
        "drift": signal("ok", "none drifted", 0.7, 1.0, features=drifted | quiet if beyond else quiet, page=None),
        "truth": signal("ok", "the truths look measured", 0.0),
        "volume": signal("ok" if rows else "no data", f"{rows} rows were answered", float(rows)),
    } | signals
    return {
        "start": start,
        "end": end,
        "labels_from": start,
        "labels_to": end,
        "sequence": number,
        "rows": rows,
        "labelled": rows,
        "sampled": rows,
        "seed": 0,
        "signals": found,
        "rules": RULES,
    }


class Story:
    """Tells a workload's decisions one after the other."""

    def __init__(self, home: Path, workload: str = "co2") -> None:
        self.home, self.workload = home, workload
        self.ledger, self.records = Ledger.at(home), Records.at(home)
        self._windows = 0

    def registered(self, version: str, *, passed: bool = True) -> None:
        verdict = "passed: mae 0.5, persistence 1.0" if passed else "refused: it does not beat the naive baseline"
        url = f"http://127.0.0.1:5000/#/models/{self.workload}/versions/{version}"
        payload = {"passed": passed, "verdict": verdict, "url": url, "comparisons": [{"metric": "mae"}]}
        self.ledger.record("registered", self.workload, version, payload)

    def promoted(self, version: str, reason: str = "it passed the gate") -> None:
        champion = self.ledger.champion(self.workload)
        expected = champion.version if champion else None
        self.ledger.promote(self.workload, version, expected=expected, reason=reason)

    def exposed(self, version: str, step: int, share: float, *, shadow: bool = False) -> None:
        payload = {"step": step, "share": share, "shadow": shadow, "after": 0, "reason": "no errors"}
        self.ledger.change("exposed", self.workload, version, payload, expected=self.ledger.release(self.workload).fence)

    def window(
        self, error: float | None = 0.5, *, version: str | None = None, payload: Mapping | None = None, **more: Any
    ) -> int:
        champion = self.ledger.champion(self.workload)
        by = version or (champion.version if champion else "")
        told = payload or window(self._windows, error, **more)
        self._windows += 1
        return self.ledger.record("window", self.workload, by, told).sequence

    def retrained(self, by: int, version: str, state: str = "passed", cpu_s: float = 30.0) -> None:
        cutoff = {"until": "2000-06-01T00:00:00Z", "sequence": by}
        asked = {"state": "running", "reason": f"window {by}: 2 of the last 3", "cutoff": cutoff, "by_person": False}
        first = self.ledger.record("retrain", self.workload, "", asked)
        ended = {"of": first.sequence, "state": state, "failed": None, "run_id": "r", "cpu_s": cpu_s}
        self.ledger.record("retrain", self.workload, version, ended)

    def called(self, said: str) -> None:
        self.ledger.record("called", self.workload, "", {"said": said, "reasons": [said], "window": 1})

    def answered(self, count: int = 20, *, version: str = "1", role: Any = "champion", status: int = 200) -> None:
        made = [
            Prediction(
                id=str(uuid4()),
                workload=self.workload,
                version=version,
                role=role,
                at=START + n,
                rows=1,
                form="v1",
                request=b"{}",
                answer=b"{}",
                entities=(),
                status=status,
                latency_ms=2.0 + n / 10,
            )
            for n in range(count)
        ]
        self.records.append(made)


def years(home: Path, workload: str = "co2", windows: int = 40) -> Story:
    """A whole story: version 1 ages, a retrain is refused, the next one passes, is tried, and takes over; version 3 is on its way."""
    told = Story(home, workload)
    told.registered("1")
    told.promoted("1", "there is no champion to try it beside")
    ageing = windows * 2 // 3
    for n in range(ageing):
        told.window(0.35 + 0.1 * math.sin(n) + (1.1 * n / ageing) ** 3, rows=40 + n % 7)
    told.registered("2", passed=False)
    told.retrained(told.window(1.5), "2", "refused")
    told.registered("3")
    told.retrained(told.window(1.6), "3")
    told.exposed("3", 0, 0.0, shadow=True)
    told.window(1.7)
    told.exposed("3", 1, 0.5)
    told.promoted("3", "0 errors in 60 requests; mae 0.4, champion 1.6")
    told.window(None)
    for n in range(windows - ageing - 4):
        told.window(0.4 + 0.08 * math.cos(n), rows=44)
    told.registered("4")
    told.exposed("4", 1, 0.1)
    told.answered(60, version="3")
    told.answered(6, version="4", role="challenger")
    return told
