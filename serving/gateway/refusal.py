"""What the gateway answers when it answers no: always JSON, `{"error": ...}`, as the Open Inference Protocol has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web


class Refusal(Exception):
    """An HTTP status and what a client should know; `retry_after_s` where asking again may help, `allow` where another method does.

    `more` stands beside the error, where one line is not enough.
    """

    def __init__(
        self,
        status: int,
        what: str,
        *,
        retry_after_s: int | None = None,
        allow: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(what)
        self.status, self.what, self.retry_after_s, self._more = status, what, retry_after_s, more or {}
        given = {"Retry-After": retry_after_s, "Allow": allow}
        self._headers = {name: str(value) for name, value in given.items() if value is not None}

    def response(self) -> web.Response:
        """The answer to send."""
        from aiohttp import web  # who only tells of a refusal serves nothing

        text = json.dumps({"error": self.what, **self._more}, ensure_ascii=False)
        return web.Response(status=self.status, text=text, content_type="application/json", headers=self._headers)
