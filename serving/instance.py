"""Whose server answers at an address: each server of a home is told a token of its own, and proves that it knows it.

A port outlives its server, and whoever takes it meanwhile would answer for the model. The token is an HMAC of the server's name (which is its
workload's and version's) under the home's secret; the proof is an HMAC of the server's port and of a number that the asker makes up, so none
serves twice, and a stranger that passes the number on to the server gets the proof of another port. A home without a secret started no server: in a cluster the Service vouches for its pods, and nobody is asked.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from data.files import make_once

SETTING = "AIPRIME_INSTANCE"  # the token, in the environment of the server alone: a command line can be read by everybody
PATH = "/-/instance/"  # and the number: GET answers the proof as text


def told(home: Path, name: str) -> str:
    """The token of the server `name`; the home's secret is made where there is none yet."""
    if not _secret(home).exists():
        make_once(_secret(home), os.urandom(32))
    return _mac(_secret(home).read_bytes(), name)


def expected(home: Path, name: str) -> str | None:
    """The token that the server `name` must know; None where this home started no server."""
    try:
        return _mac(_secret(home).read_bytes(), name)
    except FileNotFoundError:
        return None


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


def _secret(home: Path) -> Path:
    return home / "servers" / "secret"
