"""Clients' bodies as they come: whole, or refused: too large (413), too slow (408), broken (400), packed (415), too many at once (503)."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from serving.gateway.refusal import Refusal
from serving.limits import Limits
from serving.patience import Patience


class Bodies:
    """Reads the bodies of one gateway; its bounds are on all of them together."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._patience = limits, Patience(limits)
        self._held = 0

    async def read(self, request: web.BaseRequest, limit: int) -> bytes:
        """The whole body, at most `limit` bytes; Refusal where it may not come in."""
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise Refusal(415, "content-encoding is not supported; send the body as it is")
        if (request.content_length or 0) > limit:
            raise Refusal(413, f"the body is larger than {limit >> 20} MB", closes=True)
        try:
            if request.content.is_eof() and request.content_length is not None:
                return await request.content.read()
            return await self._coming(request, limit)
        except TimeoutError:
            slow = (
                f"the body did not come within {self._limits.seconds:g} s, and a second for each {self._limits.rate >> 10} kB"
            )
            raise Refusal(408, slow, closes=True) from None
        except RequestPayloadError as error:
            raise Refusal(400, f"the body is broken: {str(error)[:200]}", closes=True) from None
        except ConnectionError:  # nobody will read this
            raise Refusal(400, "the client left before its body came", closes=True) from None

    async def _coming(self, request: web.BaseRequest, limit: int) -> bytes:
        parts, size = [], 0
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(began + self._limits.seconds) as allowed:
                while part := await request.content.readany():
                    parts.append(part)
                    size += len(part)
                    self._held += len(part)
                    if size > limit:
                        raise Refusal(413, f"the body is larger than {limit >> 20} MB", closes=True)
                    if self._held > self._limits.held_bytes:
                        raise Refusal(503, "too many large bodies are coming in; ask again", retry_after_s=1, closes=True)
                    allowed.reschedule(min(loop.time() + self._limits.seconds, began + self._patience.allowed_s(size)))
        finally:
            self._held -= size
        return b"".join(parts)
