"""The gateway's URLs. It binds to loopback: identity and limits come with a later issue, and until then nobody else may reach it.

aiohttp's low-level server: its router, its middlewares and asyncio.timeout took a quarter of a request's time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion11, web

from data.files import write_json
from serving import routes
from serving.gateway import page
from serving.gateway.answered import Answered
from serving.gateway.bodies import Bodies
from serving.gateway.completion import Completion
from serving.gateway.connection import Server
from serving.gateway.documents import document
from serving.gateway.explaining import Explaining
from serving.gateway.inference import Call, Inference
from serving.gateway.journal import Journal
from serving.gateway.labels import Labels
from serving.gateway.lookups import Lookups
from serving.gateway.pages.doors import Pages
from serving.gateway.refusal import Refusal
from serving.gateway.routing import Pointer
from serving.gateway.telemetry import CONTENT_TYPE, Telemetry
from serving.inference.address import bound
from serving.limits import Limits

if TYPE_CHECKING:
    from serving.gateway.scribe import Scribe
    from serving.records import Records

log = logging.getLogger("aiprime.gateway")
_DRAIN_S = 10  # for requests in flight after SIGTERM
_MODEL = re.compile(r"/(v1|v2)/models/([^/:]+)(|:predict|/infer|/ready)")

# What of a model server may be asked from outside. Loading and unloading are not: KServe leaves both open to anyone.
CALLS = {
    ("v1", ":predict"): Call("POST /v1/models/{}:predict", "v1"),
    ("v2", "/infer"): Call("POST /v2/models/{}/infer", "v2"),
    ("v1", ""): Call("GET /v1/models/{}"),
    ("v2", ""): Call("GET /v2/models/{}"),
    ("v2", "/ready"): Call("GET /v2/models/{}/ready"),
}


class Gateway:
    """Answers every request of one AIPRIME_HOME."""

    def __init__(self, home: Path, records: Records, scribe: Scribe, limits: Limits) -> None:
        self._home, self.pointer = home, Pointer(home)
        self._completion, self._telemetry = Completion(home), Telemetry()
        self.journal = Journal(scribe, self._telemetry)
        bodies = Bodies(limits)
        self._inference = Inference(self.pointer, self._completion, self.journal, self._telemetry, bodies)
        self._labels = Labels(records, scribe, self.pointer, self._completion, bodies, self._telemetry)
        self._lookups = Lookups(records, self.pointer)
        self._pages = Pages(home, records, self.pointer, self._completion)
        self._explaining = Explaining(home, records, self._inference)
        self._own: dict[str, tuple[str, Callable[[web.BaseRequest], web.Response]]] = {
            "/": ("GET", lambda request: page.front(request, self.pointer, self._completion)),
            "/v2/health/live": ("GET", lambda _: _json({"live": True})),
            "/v2/health/ready": ("GET", lambda _: _json({"ready": True})),
            "/-/routes": ("GET", lambda _: _json(self.pointer.shown())),
            "/-/reload": ("POST", self._reload),
            "/metrics": ("GET", lambda _: web.Response(body=self._telemetry.text(), headers={"Content-Type": CONTENT_TYPE})),
        }

    async def __call__(self, request: web.BaseRequest) -> web.Response | Answered:
        """One request; all errors are `{"error": ...}`."""
        try:
            return await self._answer(request)
        except Refusal as refusal:
            return refusal.response()
        except Exception:
            log.exception("a request failed")
            return Refusal(500, "the gateway failed on this request; its log says why").response()

    def _answer(self, request: web.BaseRequest) -> Awaitable[web.Response | Answered]:
        path = request.rel_url.raw_path
        connection: Any = request.protocol
        if connection.surplus:
            raise Refusal(503, "there are too many connections; ask again", retry_after_s=1, closes=True)
        if "Host" not in request.headers and request.version == HttpVersion11:
            raise Refusal(400, "the header Host is missing", closes=True)  # RFC 9112, 3.2
        if request.method == "POST" and (origin := request.headers.get("Origin")) is not None:
            _refuse_foreign(origin, request.host)
        asked = _MODEL.fullmatch(path)
        call = CALLS.get((asked[1], asked[3])) if asked else None
        if asked and call:
            _allow(request, call.line.partition(" ")[0])
            return self._inference.handle(request, call, asked[2])
        if path == "/v1/labels":
            _allow(request, "POST")
            return self._labels.handle(request)
        if (looked_up := self._lookups.find(path)) is not None:
            _allow(request, "GET")
            return looked_up
        if (explained := self._explaining.find(request)) is not None:
            return explained
        if (paged := self._pages.find(request)) is not None:
            return paged
        if path.startswith("/docs/") and (found := document(request, self._home)) is not None:
            _allow(request, "GET")
            return _at_once(found)
        if path not in self._own:
            raise Refusal(404, f"nothing is offered at {path[:200]}")
        method, answer = self._own[path]
        _allow(request, method)
        return _at_once(answer(request))

    async def drain(self) -> None:
        """After the last request: finish the shadow copies, then the log; end the process that explains."""
        await self._explaining.close()
        await self._inference.shadow.drain()
        await self.journal.close()

    def _reload(self, request: web.BaseRequest) -> web.Response:
        if request.remote not in {"127.0.0.1", "::1"}:
            raise Refusal(403, "only from this machine")
        self.pointer.refresh()
        return _json(self.pointer.shown())


async def serve(home: Path, port: int, records: Records, scribe: Scribe) -> None:
    """Answer on 127.0.0.1 until SIGTERM, then finish what was begun. OSError where the port is taken."""
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    limits = Limits()
    gateway = Gateway(home, records, scribe, limits)
    server = Server(gateway, limits)
    runner = web.ServerRunner(server, shutdown_timeout=_DRAIN_S)
    await runner.setup()
    await web.SockSite(runner, bound("127.0.0.1", port, "--port"), backlog=1024).start()
    write_json(routes.address_file(home), {"url": f"http://127.0.0.1:{port}", "pid": os.getpid()})
    log.info("the gateway answers at http://127.0.0.1:%d", port)
    await scribe.open()
    watchers = [asyncio.create_task(watch) for watch in (gateway.pointer.watch(), server.watch())]
    await told_to_end.wait()
    for watcher in watchers:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
    await runner.cleanup()
    await gateway.drain()
    await scribe.close()


async def _at_once(response: web.Response) -> web.Response:
    return response


def _refuse_foreign(origin: str, host: str) -> None:
    """A page of another site that is open in somebody's browser may not write labels here, nor have predictions kept.

    Browsers state the Origin of every POST (RFC 6454, section 7); other clients state none.
    """
    if origin.partition("://")[2] != host:
        raise Refusal(403, "a page of another site may not post here")


def _allow(request: web.BaseRequest, method: str) -> None:
    if request.method != method and (request.method, method) != ("HEAD", "GET"):
        raise Refusal(405, f"{request.method} is not offered at {request.rel_url.raw_path[:200]}; use {method}", allow=method)


def _json(value: Any) -> web.Response:
    return web.Response(text=json.dumps(value, ensure_ascii=False), content_type="application/json")
