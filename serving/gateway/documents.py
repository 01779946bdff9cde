"""`/docs/WORKLOAD/...`: Great Expectations' Data Docs as pages, for a browser follows no link from a page to a file.

The front is the newest results: the vendor's own index makes its table by scripts from other hosts. Only plain files below HOME/quality/WORKLOAD/docs; what a path names outside of it is not there.
"""

from __future__ import annotations

import mimetypes
import re
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web

from serving.gateway.refusal import Refusal

# The vendor's pages ask several other hosts for styles, scripts and a counted logo: nothing here may tell them who looks.
_ALONE = {"Content-Security-Policy": "default-src 'self' 'unsafe-inline' data:"}
_PATH = re.compile(r"/docs/([a-z][a-z0-9_]*)/(.*)")


def document(request: web.BaseRequest, home: Path) -> web.Response | None:
    """The page or file that the path names; None where the path is not of this kind. Refusal 404 where there is none."""
    asked = _PATH.fullmatch(unquote(request.rel_url.raw_path))
    if asked is None:
        return None
    folder = (home / "quality" / asked[1] / "docs").resolve()
    newest = max(folder.glob("validations/**/*.html"), key=lambda page: page.stat().st_mtime_ns, default=None)
    if not asked[2] and newest is not None:
        return web.Response(status=302, headers={"Location": f"/docs/{asked[1]}/{newest.relative_to(folder).as_posix()}"})
    try:
        file = (folder / (asked[2] or "index.html")).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise Refusal(404, f"no such page of {asked[1]}; aiprime run {asked[1]} writes them")
        body = file.read_bytes()
    except (ValueError, OSError) as error:  # a NUL in the path, a file that is just being replaced
        raise Refusal(404, f"no such page of {asked[1]}") from error
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return web.Response(body=body, headers={"Content-Type": kind, "X-Content-Type-Options": "nosniff", **_ALONE})
