"""What a request may be and how long its sender may take: the bounds of the gateway and of the model servers, with their defaults.

docs/guide/limits.md says what a client sees at each of them. Imports nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """One server's bounds. A time is stretched by a second for each `rate` bytes that moved, as Apache's mod_reqtimeout does."""

    connections: int = 1000  # at once; a request on one more is a 503
    pipelined: int = 32  # unanswered requests of one connection: more end it
    headers: int = 100  # of one request: more are a 431
    head_bytes: int = 32 << 10  # request line and headers together: 431
    seconds: float = 6.0  # for the headers, for the body (408), for the answer to be read
    rate: int = 16 << 10  # bytes per second: the slowest that a body or an answer may move for longer
    held_bytes: int = 256 << 20  # of unfinished bodies, all together: a sender of more is a 503
    linger_s: float = 2.5  # how long an unread body is thrown away after its refusal, so that its sender sees that


DEPTH = 32  # of a JSON body: 400
