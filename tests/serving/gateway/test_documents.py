"""Data Docs through the gateway: the pages, and nothing else of the disk."""

from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from serving.gateway.documents import document
from serving.gateway.refusal import Refusal


@pytest.fixture
def home(tmp_path: Path) -> Path:
    docs = tmp_path / "quality" / "co2" / "docs"
    (docs / "static").mkdir(parents=True)
    (docs / "index.html").write_text("<h1>docs</h1>")
    (docs / "static" / "a.css").write_text("h1 {}")
    (tmp_path / "secret.txt").write_text("secret")
    (docs / "link.txt").symlink_to(tmp_path / "secret.txt")
    return tmp_path


def test_the_front_is_the_newest_results(home: Path):
    """Where there are results, the front leads to the newest of them."""
    page = home / "quality" / "co2" / "docs" / "validations" / "run" / "a.html"
    page.parent.mkdir(parents=True)
    page.write_text("results")
    front = document(make_mocked_request("GET", "/docs/co2/"), home)
    assert front is not None
    assert (front.status, front.headers["Location"]) == (302, "/docs/co2/validations/run/a.html")


def test_pages_are_served_with_their_kind(home: Path):
    """The front page and its files come with their content type."""
    front = document(make_mocked_request("GET", "/docs/co2/"), home)
    style = document(make_mocked_request("GET", "/docs/co2/static/a.css"), home)
    assert front is not None
    assert style is not None
    assert (front.body, front.content_type, style.content_type) == (b"<h1>docs</h1>", "text/html", "text/css")


@pytest.mark.parametrize(
    "path",
    [
        "/docs/co2/../../../secret.txt",
        "/docs/co2/..%2f..%2f..%2fsecret.txt",
        "/docs/co2/link.txt",
        "/docs/co2/%00",
        "/docs/bikes/",
        "/docs/co2//etc/passwd",
    ],
)
def test_nothing_else_is(home: Path, path: str):
    """A path that leads outside, through a link, or nowhere is a 404."""
    with pytest.raises(Refusal) as refused:
        document(make_mocked_request("GET", path), home)
    assert refused.value.response().status == 404


def test_other_paths_are_left_to_others(home: Path):
    """Only /docs/WORKLOAD/... is answered here."""
    assert document(make_mocked_request("GET", "/docs/"), home) is None
