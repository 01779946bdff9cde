"""The audit: passed only where every package was asked about, of a database that knows something."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from infra.audit import CANARY, FOUND, NOT_RUN, audit, judged
from infra.environment import locked
from serving.supervision import free_port

WANTED = {"honest": "1.0", "torch": "2.13.0+cpu"}
Answer = Callable[[str, str], tuple[int, dict[str, Any]]]


def advice(name: str, version: str) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}]
    about = {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges, "versions": [version]}
    return {"vulns": [{"id": "PYSEC-2026-1", "published": "2026-01-01T00:00:00Z", "details": "bad", "affected": [about]}]}


def honest(name: str, version: str) -> tuple[int, dict[str, Any]]:
    return 200, advice(name, version) if name == CANARY[0] else {}


@contextmanager
def database(answer: Answer) -> Iterator[str]:
    """A server that speaks OSV's protocol (POST /v1/query)."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, found = answer(asked["package"]["name"], asked["version"])
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def asked(answer: Answer) -> Any:
    with database(answer) as url:
        return audit(WANTED, "--vulnerability-service", "osv", "--osv-url", url, timeout_s=60)


@pytest.mark.slow
def test_a_whole_audit_passes():
    """Every package was asked about, torch by its public version, and the database knows the canary."""
    done = asked(honest)
    assert (done.status, done.asked, done.wanted) == (0, 2, 2), str(done)


@pytest.mark.slow
def test_an_advisory_is_found():
    """A package with an advisory is named, with what mends it."""
    done = asked(lambda name, version: (200, advice(name, version)) if name == "honest" else honest(name, version))
    assert (done.status, done.found) == (FOUND, ("honest 1.0: PYSEC-2026-1, mended in 9.9",))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "answer"),
    [("an empty database", lambda *_: (200, {})), ("a database that fails", lambda *_: (500, {}))],
    ids=["empty", "failing"],
)
def test_a_database_that_knows_nothing_is_red(what: str, answer: Answer, track: Callable[..., None]):
    """Silence about everything is not a pass: the canary tells it from health."""
    done = asked(answer)
    assert done.status == NOT_RUN, str(done)
    assert "NOT RUN" in str(done)
    track(row=80, injections=1, lost=0, what=what)


@pytest.mark.slow
def test_a_database_that_cannot_be_reached_is_red(track: Callable[..., None]):
    """No way to the database is `NOT RUN`, never `passed`."""
    done = audit(WANTED, "--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{free_port()}/v1/query")
    assert (done.status, done.asked) == (NOT_RUN, 0)
    assert "cannot be asked" in str(done)
    track(row=80, injections=1, lost=0, what="an unreachable database")


def answered(**skipped: str) -> list[dict[str, Any]]:
    """pip-audit's entries: all asked, but those that were skipped."""
    known = {"honest": "1.0", "torch": "2.13.0"}
    found: list[dict[str, Any]] = [{"name": CANARY[0], "version": CANARY[1], "vulns": [{"id": "x"}]}]
    for name, version in known.items():
        found.append(
            {"name": name, "skip_reason": skipped[name]} if name in skipped else {"name": name, "version": version, "vulns": []}
        )
    return found


def test_a_skipped_package_is_red(track: Callable[..., None]):
    """One that was left out, for whatever reason, makes the whole not whole, and is named; so does one that is not in the answer."""
    public = {"honest": "1.0", "torch": "2.13.0"}
    assert judged(public, answered()).status == 0
    skipped = judged(public, answered(torch="Dependency not found on PyPI and could not be audited"))
    assert (skipped.status, skipped.asked, skipped.not_whole) == (NOT_RUN, 1, ("not asked: torch",))
    assert judged(public, answered()[:-1]).status == NOT_RUN
    assert judged(public, []).status == NOT_RUN
    other = [*answered()[:-1], {"name": "torch", "version": "2.12.0", "vulns": []}]
    assert judged(public, other).not_whole == ("not asked: torch",)
    track(row=80, injections=4, lost=0, what="packages that were skipped")


def test_what_is_not_whole_is_said_before_what_was_found():
    """An advisory does not hide that others were skipped: the status is the worse of the two, and both are said."""
    found = answered(torch="gone")
    found[1]["vulns"] = [{"id": "PYSEC-1", "fix_versions": []}]
    done = judged({"honest": "1.0", "torch": "2.13.0"}, found)
    assert done.status == NOT_RUN
    assert "PYSEC-1" in str(done)


def test_the_canary_is_in_no_lock():
    """It is asked about beside the packages, and must not stand in for one of them."""
    assert CANARY[0] not in locked()
