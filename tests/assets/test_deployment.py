"""The endpoint: what passed the gate is on its way to serve, what did not leaves the champion serving."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from assets import aliases, deployment
from data.errors import UserError
from serving import routes
from serving.records import Prediction, Records
from serving.release import Release
from serving.supervision import Supervisor
from tests.assets.judged import Workload

pytestmark = pytest.mark.slow


@pytest.fixture
def hand(judged: Workload, tmp_path: Path) -> Iterator[Workload]:
    made = judged.copied(tmp_path)
    yield made
    Supervisor(made.here.places.home).shutdown()


def release(hand: Workload) -> dict[str, Any]:
    return deployment.release(hand.spec, hand.here)  # pyright: ignore[reportArgumentType]


def traffic(hand: Workload, version: str, count: int = 100, row: Any = None) -> None:
    """The champion answered so many requests just now."""
    body = json.dumps({"instances": [row or {"x": 1.0}]}).encode()
    named: dict[str, Any] = {
        "workload": "hand",
        "version": version,
        "role": "champion",
        "rows": 1,
        "form": "v1",
        "request": body,
    }
    named |= {"answer": b'{"predictions": [{"prediction": 1.5}]}', "entities": (), "status": 200, "latency_ms": 1.0}
    start = Records.at(hand.here.places.home).newest("hand")
    ids = [f"0190a000-0000-7000-8000-{start + n:012x}" for n in range(count)]
    Records.at(hand.here.places.home).append([Prediction(id=one, at=time.time(), **named) for one in ids])


def test_a_first_version_serves_at_once(hand: Workload) -> None:
    """The first version that passed is the champion with nobody waiting; one that was refused is an error, for nothing would serve."""
    hand.fit(0.5)
    hand.write(promote="{size_mb: 0.0001}")
    hand.fit(1.5)
    with pytest.raises(UserError, match="there is no champion to serve"):
        release(hand)
    hand.write()
    hand.fit(1.5)
    shown = release(hand)
    assert shown["rollout of the newest"].startswith("promoted at once: there is no champion")
    assert routes.read(hand.here.places.home)["hand"].version == shown["version"]


def test_without_traffic_the_verdict_alone_decides(hand: Workload) -> None:
    """Where the champion answered nobody there is nothing to try a version on: it is promoted at once, and the record says so."""
    hand.fit(1.4)
    first = release(hand)["version"]
    hand.fit(1.5)
    shown = release(hand)
    assert shown["version"] != first
    promotion = hand.here.ledger.champion("hand")
    assert promotion is not None
    assert "the champion answered 0 of 100 requests in the last 24 hours" in promotion.payload["reason"]
    assert (promotion.version, promotion.payload["replaces"]) == (shown["version"], first)


def test_a_worse_candidate_is_refused(hand: Workload) -> None:
    """A planted worse model is registered with its refusal and never exposed, also where there is traffic; the champion serves on."""
    hand.fit(1.5)
    first = release(hand)["version"]
    traffic(hand, first)
    hand.fit(1.3)
    shown = release(hand)
    assert (shown["version"], shown["rollout of the newest"]) == (first, "refused by the gate")
    assert shown["newest version"] != first
    assert hand.here.ledger.release("hand").challenger is None


def test_with_traffic_a_version_is_exposed_first(hand: Workload) -> None:
    """A better version is replayed the logged requests and becomes a shadow while the champion serves; doing it again changes nothing."""
    hand.fit(1.4)
    first = release(hand)["version"]
    traffic(hand, first)
    hand.fit(1.5)
    shown = release(hand)
    assert shown["version"] == first
    assert shown["rollout of the newest"] == "exposed at step 0 (shadow); 64 logged requests were replayed before"
    arm = routes.read(hand.here.places.home)["hand"].challenger
    assert arm is not None
    assert (arm.version, arm.shadow, arm.share) == (shown["newest version"], True, 0.0)
    before = hand.here.ledger.newest()
    assert release(hand)["rollout of the newest"] == "its rollout is under way, at step 0 (shadow)"
    assert hand.here.ledger.newest() == before
    assert hand.here.ledger.release("hand").begun == 100

    held = hand.here.ledger.release("hand")
    hand.here.deployment().roll_back("hand", arm.version, expected=held.fence, reason="test")
    assert release(hand)["rollout of the newest"].startswith("held: it was rolled back")
    assert hand.here.ledger.release("hand").challenger is None


def test_a_version_that_cannot_answer_what_was_asked_is_not_exposed(hand: Workload) -> None:
    """One logged request that the candidate does not answer refuses its exposure, on record, once."""
    hand.fit(1.4)
    first = release(hand)["version"]
    traffic(hand, first)
    traffic(hand, first, count=1, row={"x": "no number"})
    hand.fit(1.5)
    for _ in range(2):
        shown = release(hand)
        assert shown["version"] == first
        assert shown["rollout of the newest"].startswith("refused: it does not answer 1 of the last 64 logged requests: 4")
    assert hand.here.ledger.release("hand").challenger is None
    assert [one.version for one in hand.here.ledger.history("hand", "refused")] == [shown["newest version"]]


def test_a_pause_leaves_the_champion(hand: Workload) -> None:
    """While a person has paused the release nothing is exposed or promoted by itself."""
    hand.fit(1.4)
    first = release(hand)["version"]
    hand.here.ledger.change("paused", "hand", first, {"reason": "a holiday"}, expected=hand.here.ledger.release("hand").fence)
    hand.fit(1.5)
    shown = release(hand)
    assert shown["version"] == first
    assert shown["rollout of the newest"].startswith("not exposed: paused by a person")


@dataclass
class Aliased:
    """A tracking server's aliases."""

    have: dict[str, str] = field(default_factory=dict)

    def aliases(self, workload: str) -> dict[str, str]:
        return dict(self.have)

    def alias(self, workload: str, name: str, version: str) -> None:
        self.have[name] = version

    def drop_alias(self, workload: str, name: str) -> None:
        del self.have[name]


def test_aliases_say_who_is_who() -> None:
    """MLflow's aliases are the champion's, and the challenger's as what it is: a shadow, or one that answers."""
    champion = Release(workload="hand", champion="1")
    assert aliases.wanted(champion) == {"champion": "1"}
    shadow = Release(workload="hand", champion="1", challenger="2", shadow=True)
    assert aliases.wanted(shadow) == {"champion": "1", "shadow": "2"}
    canary = Release(workload="hand", champion="1", challenger="2", share=0.1)
    assert aliases.wanted(canary) == {"champion": "1", "challenger": "2"}


def test_aliases_follow_the_ledger(hand: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the ledger no longer says is taken away; a tracking server that fails stops nothing."""
    tracking = Aliased({"champion": "7", "shadow": "8", "mine": "3"})
    monkeypatch.setattr("training.tracking.Tracking", lambda url: tracking)
    monkeypatch.setattr(type(hand.here.places), "service", lambda self, name: "http://127.0.0.1:1")
    ledger = hand.here.ledger
    ledger.promote("hand", 1, expected=None, reason="x")
    ledger.change("exposed", "hand", 2, {"step": 1, "share": 0.1, "after": 0}, expected=1)
    aliases.mirror(hand.here.places, "hand")
    assert tracking.have == {"champion": "1", "challenger": "2", "mine": "3"}
    monkeypatch.setattr("training.tracking.Tracking", lambda url: None)
    aliases.mirror(hand.here.places, "hand")
