"""What a replay sends: a server that is busy is asked again when it said so; what it refuses otherwise is said to a person."""

from __future__ import annotations

import asyncio

import pytest

from data.errors import UserError
from orchestration.replay.sending import Client
from tests.serving.gateway.model_server import Asked, ModelServer, response, says


def test_a_busy_model_is_asked_again() -> None:
    """A 429 is waited out for as long as its Retry-After says, and every instance is answered in the end."""
    asked = []

    async def busy_first(one: Asked, writer: asyncio.StreamWriter) -> None:
        asked.append(one)
        crowded = len(asked) <= 3
        writer.write(response(b"{}", 429 if crowded else 200, "Retry-After: 0\r\n" if crowded else ""))

    with ModelServer(busy_first) as server, Client(server.url) as client:
        assert client.predict("co2", [{"x": n} for n in range(6)]) == 6
    assert len(asked) == 9


def test_a_refusal_is_told() -> None:
    """What else the gateway refuses ends the replay with its words."""
    with (
        ModelServer(says('{"error":"x is text"}', status=400)) as server,
        Client(server.url) as client,
        pytest.raises(UserError, match="x is text"),
    ):
        client.predict("co2", [{"x": "a"}])
