"""A version's card at the gateway: drawn from its document, beside what was decided since, and nothing but that file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from data.files import write_json
from serving.cards import Card, bom_file
from serving.ledger import Ledger
from tests.serving.gateway.conftest import Reply, Running, started

DOCUMENT: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "metadata": {
        "timestamp": "2026-01-02T03:04:05+00:00",
        "component": {
            "type": "machine-learning-model",
            "name": "co2",
            "version": "1",
            "modelCard": {"considerations": {"technicalLimitations": ["Not for <script>alert(1)</script>"]}},
        },
    },
    "components": [],
}


@dataclass
class Shown:
    gateway: Running
    ledger: Ledger
    file: Path

    def page(self, path: str = "/models/co2/versions/1") -> Reply:
        return self.gateway.ask("GET", path, headers={"Accept": "text/html"})


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    home = tmp_path_factory.mktemp("cards")
    file = bom_file(home, "co2", "1")
    write_json(file, DOCUMENT)
    ledger = Ledger.at(home)
    payload = {"model_digest": "d", "card": Card(DOCUMENT).digest, "passed": True, "verdict": "passed: at first", "serve": {}}
    ledger.record("registered", "co2", "1", payload)
    running = started(home)
    yield Shown(running, ledger, file)
    running.end()


def test_a_browser_gets_a_page_without_scripts(shown: Shown):
    """The card is HTML with nothing that runs: text stays text, and the policy allows no script, no form, no frame, no other host."""
    found = shown.page()
    assert (found.status, found.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = found.body.decode()
    assert "Not for &lt;script&gt;" in text
    assert "<script" not in text
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert "script-src" not in found.headers["content-security-policy"]


def test_a_client_gets_the_document(shown: Shown):
    """Who asks for no HTML gets the bill of materials, byte for byte."""
    found = shown.gateway.ask("GET", "/models/co2/versions/1")
    assert found.headers["content-type"] == "application/vnd.cyclonedx+json"
    assert found.body == shown.file.read_bytes()


def test_the_page_shows_the_newest_verdict(shown: Shown):
    """Where a version was judged again, the verdict that counts now stands above the card."""
    assert "passed: at first" in shown.page().body.decode()
    payload = {"model_digest": "d", "card": Card(DOCUMENT).digest, "passed": False, "verdict": "refused: <later>", "serve": {}}
    shown.ledger.record("registered", "co2", "1", payload)
    text = shown.page().body.decode()
    assert "refused: &lt;later&gt;" in text
    assert "judged 2 times" in text


def test_an_edited_card_is_called_so(shown: Shown):
    """A document that is not the one whose digest the ledger keeps says so itself; one made again at another time does not."""
    later = json.loads(shown.file.read_text())
    later["metadata"]["timestamp"] = "2027-01-01T00:00:00+00:00"
    edited = json.loads(shown.file.read_text())
    edited["metadata"]["component"]["description"] = "the best model"
    try:
        write_json(shown.file, later)
        assert "is the one whose digest the ledger keeps" in shown.page().body.decode()
        write_json(shown.file, edited)
        assert "is not the one that was registered" in shown.page().body.decode()
    finally:
        write_json(shown.file, DOCUMENT)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models/co2/versions/2", 404),
        ("/models/other/versions/1", 404),
        ("/models/co2/versions/1.yaml", 404),
        ("/models/..%2f..%2f/versions/1", 404),
        ("/models/co2/versions/..%2f1", 404),
        ("/models/co2/versions/" + "1" * 400, 404),
        ("/models/co2/versions/%00", 404),
    ],
)
def test_nothing_but_a_card_is_found(shown: Shown, path: str, status: int):
    """A version without a card, and a path that would leave the folder, is a 404 in the gateway's own shape."""
    found = shown.page(path)
    assert (found.status, list(found.json)) == (status, ["error"])


def test_a_damaged_document_is_no_page(shown: Shown):
    """What does not parse is said as such, without a traceback, and is not shown."""
    try:
        shown.file.write_text('{"bomFormat": "CycloneDX"')
        found = shown.page()
        assert found.status == 503
        assert "aiprime run makes it again" in found.json["error"]
    finally:
        write_json(shown.file, DOCUMENT)


def test_only_get_is_offered(shown: Shown):
    """A card cannot be written over HTTP."""
    assert shown.gateway.ask("POST", "/models/co2/versions/1", "{}").status == 405
    assert shown.gateway.ask("DELETE", "/models/co2/versions/1").status == 405
