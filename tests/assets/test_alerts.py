"""A person is called by log and webhook, and a webhook that fails ends nothing."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from assets import alerts
from data.places import Places
from tests.conftest import ROOT


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(root=ROOT, home=tmp_path)


def test_a_webhook_gets_the_workload_and_what_happened(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address of AIPRIME_WEBHOOK is posted one JSON object."""
    got: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    monkeypatch.setenv("AIPRIME_WEBHOOK", f"http://127.0.0.1:{server.server_port}/hook")
    assert alerts.call(places, "co2", "the labels look wrong")
    thread.join(10)
    server.server_close()
    assert got[0]["workload"] == "co2"
    assert "the labels look wrong" in got[0]["text"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/secret-token",
        "http://127.0.0.1:9/secret-token with a space",
        "http://127.0.0.1:port/secret-token",
        "http://[secret-token",
        "file:///etc/passwd",
        "not an address",
    ],
)
def test_a_webhook_that_cannot_be_used_is_logged_without_its_address(
    places: Places, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    """Nothing is raised, the call is in the log, and an address that may hold a token is not."""
    monkeypatch.setattr(logging.getLogger("aiprime"), "propagate", True)
    monkeypatch.setenv("AIPRIME_WEBHOOK", url)
    with caplog.at_level(logging.WARNING):
        assert not alerts.call(places, "co2", "look")
    assert "A PERSON IS NEEDED" in caplog.text
    assert "secret-token" not in caplog.text
