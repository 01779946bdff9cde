"""Who is given the challenger: by an even hash, the same one each time, and more of them as the share grows."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.ids import kept, new_id
from serving.gateway.traffic import challenged, drawn, to_challenger
from serving.routes import Arm, Route

ARM = Arm(version="2", server="w-v2", url="http://127.0.0.1:2", grpc_url="", model="/m/2", share=0.1)
ROUTE = Route(workload="w", version="1", url="http://127.0.0.1:1", model="/m/1", challenger=ARM)
SHARES = st.floats(0, 1)


@given(st.text(), SHARES, SHARES, st.text())
def test_a_growing_share_keeps_those_it_had(key: str, one: float, other: float, salt: str) -> None:
    """Whoever is in the smaller share is in the larger one; nobody is in none of it, all are in all of it."""
    small, large = sorted((one, other))
    assert drawn(key, large, salt) or not drawn(key, small, salt)
    assert not drawn(key, 0.0, salt)
    assert drawn(key, 1.0, salt)


def test_the_split_is_the_share() -> None:
    """Of 20,000 ids a share of 10 % goes to the challenger, within four standard deviations; a sample is drawn apart from it."""
    ids = [new_id() for _ in range(20_000)]
    taken = [one for one in ids if challenged(ROUTE, one)]
    assert abs(len(taken) - 2000) < 4 * math.sqrt(20_000 * 0.1 * 0.9)
    sampled = sum(kept(one, 0.1) for one in taken)
    assert abs(sampled - len(taken) / 10) < 4 * math.sqrt(len(taken) * 0.1 * 0.9)


def test_an_entity_keeps_its_arm() -> None:
    """Sticky: an entity has the same arm with every id, about a tenth have the challenger, and not the same ones for the next version."""
    sticky = replace(ROUTE, sticky=True)
    following = replace(sticky, challenger=replace(ARM, version="3"))
    stations = [f"station {n}" for n in range(2000)]
    arms = {s: {challenged(sticky, new_id(), s) for _ in range(3)} for s in stations}
    assert {len(found) for found in arms.values()} == {1}
    taken = {s for s, found in arms.items() if True in found}
    assert 140 < len(taken) < 260
    assert taken != {s for s in stations if challenged(following, "x", s)}
    assert challenged(sticky, "x", None) == challenged(ROUTE, "x")


def test_without_a_share_the_champion_answers() -> None:
    """No challenger, a shadow, and a share of nothing take no request."""
    for arm in (None, replace(ARM, share=0.0), replace(ARM, share=0.0, shadow=True)):
        assert not any(challenged(replace(ROUTE, challenger=arm), new_id()) for _ in range(100))


def test_the_challenger_s_route() -> None:
    """It leads to the challenger's server and model under the same name, and to no further challenger."""
    found = to_challenger(ROUTE)
    assert found == replace(ROUTE, version="2", server="w-v2", url=ARM.url, grpc_url="", model="/m/2", challenger=None)
    assert to_challenger(replace(ROUTE, challenger=None)) is None
