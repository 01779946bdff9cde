"""The campaigns against the servers, small: what they count must be nought on any machine; times are only held to be sane here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from benchmarks import malformed, overload, reference, rivals, slow_clients
from benchmarks.malformed import gateway
from benchmarks.open_loop import Load
from benchmarks.rivals import Rival
from tests.oip.target import Target


@pytest.fixture(scope="module")
def server() -> Iterator[Rival]:
    """The reference model's server."""
    with rivals.running([rivals.ours(reference.FOLDER)]) as (one,):
        yield one


@pytest.mark.xdist_group("hardening")  # one server
def test_nothing_malformed_gets_in(server: Rival, tmp_path: Path, track: Callable[..., None]) -> None:
    """The corpus and made-up tensors, to the model server and through the gateway: no 5xx, nothing accepted or reset, our error's shape."""
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
@pytest.mark.xdist_group("hardening")
def test_slow_clients_are_closed(server: Rival) -> None:
    """Some of each kind, each closed within ten seconds; a client that behaves has no failure."""
    url = f"http://127.0.0.1:{server.port}"
    fast = Load(url, server.path, server.body(server.row))
    closed, answers = uvloop.run(slow_clients.beside(fast, url, 60, 10))
    assert {one.status for one in answers} == {200}
    assert {kind: len(took) for kind, took in closed.items()} == {
        "silent": 14,
        "headers": 15,
        "body": 14,
        "chunks": 15,
        "reader": 2,
    }
    assert [took for all_ in closed.values() for took in all_ if not took < 10] == []  # nor NaN: not closed


def test_the_campaign_can_fail() -> None:
    """A server that answers everything with 200 is found out: the campaign can fail."""
    from tests.serving.gateway.model_server import ModelServer, says

    stated = {"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 20]}], "outputs": [{"name": "y"}]}
    with ModelServer(says('{"model_name":"m","outputs":[]}')) as server:
        target = Target(url=server.url, model="m", told=stated)
        asked = malformed.fuzz.from_tensors(target, 40, 1)
        verdicts = [malformed.fuzz.verdict(one, malformed.fuzz.send(one, target), target) for one in asked]
    assert "accepted" in verdicts
