"""The campaigns against the servers, small: what they count must be nought on any machine; times are only held to be sane here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from benchmarks import malformed, overload, reference, rivals, slow_clients
from benchmarks.malformed import gateway
from tests.oip.target import Target


def test_nothing_malformed_gets_in(tmp_path: Path, track: Callable[..., None]) -> None:
    """The corpus and made-up tensors, to the model server and through the gateway: no 5xx, nothing accepted or reset, our error's shape."""
    with rivals.running([rivals.ours(reference.FOLDER)]) as (server,):
        direct = Target(url=f"http://127.0.0.1:{server.port}", model="reference")
        with gateway(direct.url, tmp_path, "reference", reference.FOLDER) as through:
            for name, target in (("the model server", direct), ("the gateway", through)):
                made = malformed.fuzz.from_tensors(target, 60, 5)
                wrong = [w for one in made if (w := malformed.fuzz.verdict(one, malformed.fuzz.send(one, target), target))]
                cases = [case for case in malformed.corpus.cases() if case.applies(target)]
                wrong += [f"{case.name}: {w}" for case in cases if (w := malformed.judged(case, case.send(target)))]
                assert wrong == []
                sent = {"seeds": 5, "injections": len(made) + len(cases), "lost": 0}
                track(row=58, what=f"made-up tensors and the corpus, to {name}", said="0 5xx, accepted or reset", **sent)


@pytest.mark.slow
def test_an_overload_is_refused_soon() -> None:
    """Ten times what a model can do: all are answered or told when to come back, and the memory does not grow."""
    options = overload._options(["--seconds", "1.5", "--predict", "0.05"])
    found = overload.run(options)
    for one in found.values():
        assert set(one.statuses) == {200, 429}
        assert one.statuses[429] > one.statuses[200] > 0
        assert one.told == {"1"}
        assert one.grew < 50


@pytest.mark.slow
def test_slow_clients_are_closed() -> None:
    """Some of each kind, each closed within ten seconds; a client that behaves has no failure."""
    with rivals.running([rivals.ours(reference.FOLDER)]) as (server,):
        found = uvloop.run(slow_clients.measure(server, f"http://127.0.0.1:{server.port}", 60, 12))
    assert found.failed == 0
    assert {kind: len(took) for kind, took in found.closed.items()} == {
        "silent": 14,
        "headers": 15,
        "body": 14,
        "chunks": 15,
        "reader": 2,
    }
    assert max(took for all_ in found.closed.values() for took in all_) < 10


def test_the_campaign_can_fail() -> None:
    """A server that answers everything with 200 is found out: the campaign can fail."""
    from tests.serving.gateway.model_server import ModelServer, says

    stated = {"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 20]}], "outputs": [{"name": "y"}]}
    with ModelServer(says('{"model_name":"m","outputs":[]}')) as server:
        target = Target(url=server.url, model="m", told=stated)
        asked = malformed.fuzz.from_tensors(target, 40, 1)
        verdicts = [malformed.fuzz.verdict(one, malformed.fuzz.send(one, target), target) for one in asked]
    assert "accepted" in verdicts
