"""What the gateway answers when it answers no: always JSON, `{"error": ...}`, as the Open Inference Protocol has it."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

_SQLITE_FULL = 13
_DISK_FULL = "53100"  # PostgreSQL's
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Refusal(Exception):
    """An HTTP status and what a client should know; `retry_after_s` where asking again may help, `allow` where another method does.

    `more` stands beside the error, where one line is not enough. `closes` where the connection must end with it.
    """

    def __init__(
        self,
        status: int,
        what: str,
        *,
        retry_after_s: int | None = None,
        allow: str | None = None,
        more: Mapping[str, Any] | None = None,
        closes: bool = False,
    ) -> None:
        super().__init__(what)
        self.status, self.what, self.retry_after_s, self._more = status, what, retry_after_s, more or {}
        self._closes = closes
        given = {"Retry-After": retry_after_s, "Allow": allow}
        self.headers = {name: str(value) for name, value in given.items() if value is not None}

    def response(self) -> web.Response:
        """The answer to send."""
        from aiohttp import web  # who only tells of a refusal serves nothing

        text = json.dumps({"error": self.what, **self._more}, ensure_ascii=False)
        response = web.Response(status=self.status, text=text, content_type="application/json", headers=self.headers)
        if self._closes:
            response.force_close()
        return response


def of_store(error: BaseException) -> Refusal | None:
    """What a client is told where the store as a whole cannot be written; None where the fault lies with what was to be kept."""
    if isinstance(error, Refusal):
        return Refusal(error.status, error.what, retry_after_s=error.retry_after_s)
    for cause in _causes(error):
        full = isinstance(cause, OSError) and cause.errno in _FULL
        if full or _code(cause) == _SQLITE_FULL or getattr(cause, "sqlstate", None) == _DISK_FULL:
            return Refusal(507, "the disk is full: the prediction cannot be kept, so it is not given", retry_after_s=5)
    if any(isinstance(cause, OSError) or type(cause).__name__ == "OperationalError" for cause in _causes(error)):
        return Refusal(503, "the prediction log cannot be written now; the gateway's log says why", retry_after_s=1)
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came from, and what SQLAlchemy wrapped in it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = getattr(seen, "orig", None) or seen.__cause__


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code, SQLite's documentation has it
