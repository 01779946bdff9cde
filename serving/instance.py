"""Whose server answers at an address: each server of a home is told a token of its own, and proves that it knows it.

A port outlives its server, and whoever takes it meanwhile would answer for the model. The token is an HMAC of the server's name (which is its
workload's and version's) under the home's secret; the server's program is told it (supervisor/conf.d, its owner's alone), its record does
not hold it. The proof is an HMAC of the server's port and of a number that the asker makes up, so none serves twice, and a stranger that passes the
number on to the server gets the proof of another port. In a home without a secret nobody is asked: in a cluster the Service vouches for its
pods, and on a machine `aiprime up` makes the secret before it starts the gateway.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from data.files import make_once

SETTING = "AIPRIME_INSTANCE"  # the token, in the environment of the server alone: a command line can be read by everybody
PATH = "/-/instance/"  # and the number: GET answers the proof as text


def begin(home: Path) -> None:
    """Make the home's secret where there is none yet: its gateway asks from then on."""
    if not secret(home).exists():
        make_once(secret(home), os.urandom(32))


def told(home: Path, name: str) -> str:
    """The token of the server `name`; the home's secret is made where there is none yet."""
    begin(home)
    return _mac(secret(home).read_bytes(), name)


def expected(home: Path, name: str) -> str | None:
    """The token that the server `name` must know; None where the home has no secret."""
    try:
        return _mac(secret(home).read_bytes(), name)
    except FileNotFoundError:
        return None


def secret(home: Path) -> Path:
    """The file of the home's secret."""
    return home / "servers" / "secret"


def number() -> str:
    """What is to be proven over, new each time."""
    return os.urandom(16).hex()


def proof(token: str, port: int, number: str) -> bytes:
    """What the server that was told the token, and listens at the port, answers to the number."""
    return _mac(token.encode(), f"{port}/{number}").encode()


def proven(token: str, port: int, number: str, answer: bytes) -> bool:
    """Whether the answer is the proof of who was asked at the port."""
    return hmac.compare_digest(proof(token, port, number), answer)


def _mac(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode("utf-8", "replace"), "sha256").hexdigest()
