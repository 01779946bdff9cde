"""`GET /` and `GET /models/NAME` for a browser, `GET /models/NAME` as JSON for a client, a version's card at
`/models/NAME/versions/VERSION` (for a client its bill of materials), and Evidently's pages at `/drift/NAME/FILE`.

Everything is read and drawn in a thread: the way of a prediction is not held up. Writes nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args
from urllib.parse import unquote, urlsplit

import orjson
from aiohttp import web

from data.errors import UserError
from serving.cards import Card, bom_file
from serving.freshness import fresh
from serving.gateway.pages import card, model, overview
from serving.gateway.pages.markup import HEADERS
from serving.gateway.pages.recent import SHOWN
from serving.gateway.refusal import Refusal
from serving.gateway.routing import Pointer
from serving.ledger import Kind, Ledger
from serving.standing import Standing, briefly, known, plain, read
from serving.vouching import who_vouches

if TYPE_CHECKING:
    from serving.gateway.completion import Completion
    from serving.records import Records

T = TypeVar("T")
_ASKED = ("GET", "HEAD")
_MODEL = re.compile(r"/models/([^/]+)/?")
_VERSION = re.compile(r"/models/([a-z][a-z0-9_]{0,40})/versions/([0-9]{1,10})/?")
_DRIFT = re.compile(r"/drift/([a-z][a-z0-9_]*)/([A-Za-z0-9][A-Za-z0-9._-]*\.html)")
# Evidently's page is one file with its scripts, styles, font and pictures inside. It runs as nobody's: it can ask no host for anything,
# this gateway included, for the names of columns are other people's text.
_ALONE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; font-src data:; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts allow-downloads",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


_DECIDED: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind not in {"window", "replay"})
_KEPT = 2_000  # decisions of a workload that a version's page looks through


class Pages:
    """The pages of one AIPRIME_HOME."""

    def __init__(self, home: Path, records: Records, pointer: Pointer, completion: Completion) -> None:
        self._home, self._records, self._pointer, self._completion = home, records, pointer, completion
        self._ledger = Ledger.at(home)
        self._turn = asyncio.Lock()  # one page at a time: drawing holds the interpreter for some milliseconds

    def find(self, request: web.BaseRequest) -> Awaitable[web.Response] | None:
        """The answer to come; None where the URL is none of these, or where it is `/` and no browser asks. Refusal 405 but for GET."""
        path = request.rel_url.raw_path
        if path == "/":
            return self._overview(request) if _browser(request) and request.method in _ASKED else None
        if path.startswith(("/models/", "/drift/")) and request.method not in _ASKED:
            raise Refusal(405, f"{request.method} is not offered at {path[:200]}; use GET", allow="GET")
        if asked := _MODEL.fullmatch(path):
            return self._model(request, unquote(asked[1]))
        if asked := _VERSION.fullmatch(path):
            return self._version(request, asked[1], asked[2])
        if path.startswith("/drift/"):
            return self._drift(unquote(path))
        return None

    async def _overview(self, request: web.BaseRequest) -> web.Response:
        served = set(self._pointer.routes)

        def drawn() -> str:
            names = sorted(served | set(self._ledger.workloads()))
            return overview.page(
                [briefly(self._ledger, self._records, name, home=self._home) for name in names], every_s=_every(request)
            )

        return _html(await self._read(drawn))

    async def _model(self, request: web.BaseRequest, workload: str) -> web.Response:
        from serving.gateway.page import curl_line

        route = self._pointer.routes.get(workload)
        curl = curl_line(route, f"http://{request.host}", self._completion) if route else ""

        def found() -> Standing:
            if route is None and not known(self._ledger, workload):
                raise Refusal(404, f"no workload {workload[:100]!r}")
            return read(self._ledger, self._records, workload, home=self._home)

        if not _browser(request):
            return web.Response(body=orjson.dumps(plain(await self._read(found))), content_type="application/json")

        def drawn() -> str:
            standing = moved(found(), self._home)
            docs = (self._home / "quality" / workload / "docs").is_dir()
            latest = list(self._records.predictions(workload, after=self._records.newest(workload, back=SHOWN)))
            return model.page(standing, curl=curl, docs=docs, answers=latest, every_s=_every(request))

        return _html(await self._read(drawn))

    async def _version(self, request: web.BaseRequest, workload: str, version: str) -> web.Response:
        try:
            if not _browser(request):
                body = await self._read(bom_file(self._home, workload, version).read_bytes)
                return web.Response(body=body, content_type="application/vnd.cyclonedx+json")
            return _html(await self._read(lambda: version_page(self._home, self._ledger, workload, version)))
        except OSError as error:
            raise Refusal(
                404, f"no card of {workload} {version}; aiprime run {workload} makes it where it is missing"
            ) from error

    async def _drift(self, path: str) -> web.Response:
        asked = _DRIFT.fullmatch(path)
        if asked is None:
            raise Refusal(404, "no such page")
        body = await self._read(lambda: drift_page(self._home, asked[1], asked[2]))
        return web.Response(body=body, headers={"Content-Type": "text/html; charset=utf-8", **_ALONE})

    async def _read(self, read_: Callable[[], T]) -> T:
        async with self._turn:
            try:
                return await asyncio.to_thread(read_)
            except UserError as error:
                raise Refusal(503, "the ledger or the records cannot be read now; try again", retry_after_s=1) from error


def moved(standing: Standing, home: Path) -> Standing:
    """The same with the link to MLflow where it answers now: its port may be another one than when the version was registered."""
    try:
        now = json.loads((home / "services.json").read_bytes()).get("mlflow")
    except (OSError, ValueError):
        now = None
    if not now or not standing.run_url:
        return standing
    was = urlsplit(standing.run_url)
    if was.hostname not in {"127.0.0.1", "localhost"}:  # a server that somebody else runs
        return standing
    return replace(standing, run_url=f"{now.rstrip('/')}{was.path or '/'}#{was.fragment}")


def version_page(home: Path, ledger: Ledger, workload: str, version: str) -> str:
    """The card with what was decided since; FileNotFoundError where there is none, Refusal where it is damaged."""
    try:
        found = Card.read(bom_file(home, workload, version))
    except UserError as error:
        raise Refusal(503, f"{error.what}; {error.next_step}") from error
    release = ledger.release(workload)
    places = {release.previous: "previous", release.challenger: "challenger", release.champion: "champion"}
    decided = [one for one in ledger.latest(workload, _KEPT, _DECIDED) if one.version == version]
    trusted = who_vouches(home, ledger, workload, version, files=True)
    return card.page(found, decided, state=places.get(version, ""), vouched=trusted, stored=fresh(home, workload, version))


def drift_page(home: Path, workload: str, name: str) -> bytes:
    """Evidently's page; Refusal 404 for anything but a plain file of that folder."""
    folder = (home / "monitor" / workload / "drift").resolve()
    try:
        file = (folder / name).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise Refusal(404, f"no such page of {workload}")
        return file.read_bytes()
    except (ValueError, OSError) as error:
        raise Refusal(404, f"no such page of {workload}") from error


def _browser(request: web.BaseRequest) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _every(request: web.BaseRequest) -> int | None:
    """`?every=5`: seconds after which a browser asks again."""
    asked = request.rel_url.query.get("every", "")
    return min(3600, max(2, int(asked))) if re.fullmatch("[0-9]{1,4}", asked) else None


def _html(text: str) -> web.Response:
    body = text.encode("utf-8", "replace")
    return web.Response(body=body, headers={"Content-Type": "text/html; charset=utf-8", **HEADERS})
