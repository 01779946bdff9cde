"""A request that ends with a refusal. Knows no protocol but HTTP's numbers."""

from __future__ import annotations

Header = tuple[bytes, bytes]

CLOSE: Header = (b"connection", b"close")
FAILED = "the model failed on this request; the server's log says why"


class Refused(Exception):
    """A status, and a message that a client may read; `unread` where the body is still coming, and the connection must end."""

    def __init__(self, status: int, message: str, *headers: Header, unread: bool = False) -> None:
        super().__init__(message)
        self.status, self.headers, self.unread = status, headers, unread


def again(seconds: int) -> Header:
    """When asking again may help (RFC 9110, 10.2.3)."""
    return b"retry-after", b"%d" % seconds
