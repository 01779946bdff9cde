"""The pages: what they say, that nothing of it runs or loads, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.freshness import Freshness
from serving.gateway.pages import bars, model, overview
from serving.gateway.pages.doors import drift_page, moved
from serving.gateway.pages.markup import figure
from serving.gateway.pages.ticks import ticks
from serving.gateway.pages.timeline import timeline
from serving.gateway.refusal import Refusal
from serving.standing import Feature, Look, Signal, Standing, read
from serving.vouching import Vouched
from tests.serving.gateway.conftest import Running, started
from tests.serving.standing.story import Story, signal, years

HTML = {"Accept": "text/html,application/xhtml+xml"}
EVIL = "<script>alert(1)</script>\"'&\u202e\U0001f600"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("pages")
    years(home)
    aged = Story(home, "aged")
    aged.registered("1")
    aged.promoted("1", EVIL)
    aged.window(0.5)
    aged.window(1.5)
    drift = home / "monitor" / "co2" / "drift"
    drift.mkdir(parents=True)
    (drift / "2000-01-08T000000Z.html").write_text("<script>1</script>")
    (home / "secret.html").write_text("secret")
    (drift / "link.html").symlink_to(home / "secret.html")
    running = started(home)
    yield running
    running.end()


class Tags(HTMLParser):
    """The tags of a page and what they name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        facts = dict(attrs)
        self.loaded += [facts[name] or "" for name in ("src", "srcset", "data", "action", "poster") if name in facts]
        self.loaded += [facts["href"] or ""] if tag == "link" and "href" in facts else []
        assert not [name for name in facts if name.startswith("on") or name == "style"]


def look(number: int, state: str = "ok", value: float | None = 0.5, said: str = "well") -> Look:
    one = Signal(name="quality", state=state, said=said, value=value, limit=1.0)
    return Look(
        sequence=number, version="1", start=number, end=number + 1, rows=3, labelled=3, labels_to=None, signals={"quality": one}
    )


def standing(**more: object) -> Standing:
    stated: dict = {"workload": "co2", "state": "ok", "said": "well", "champion": "1"} | more
    return Standing(**stated)


def test_a_browser_sees_every_model(gateway: Running) -> None:
    """`GET /` for a browser is a card per workload, each with its state as a word, and a link to its page."""
    page = gateway.ask("GET", "/", headers=HTML)
    text = page.body.decode()
    assert page.status == 200
    assert re.findall(r'<article class="card (\w+)">', text) == ["alarm", "ok"]
    assert ("look at it" in text, "healthy" in text) == (True, True)
    assert re.findall(r'<h2><a href="([^"]+)"', text) == ["/models/aged", "/models/co2"]


def test_a_client_still_gets_json(gateway: Running) -> None:
    """Without `text/html` asked for, `/` and a model's URL are JSON."""
    assert gateway.ask("GET", "/").json == {"workloads": []}
    found = gateway.ask("GET", "/models/co2").json
    assert (found["champion"], found["challenger"], len(found["windows"])) == ("3", "4", 40)


def test_a_model_has_its_page(gateway: Running) -> None:
    """The page names champion, challenger and share, and holds the chart, the drift bars, the traffic and the decisions."""
    text = gateway.ask("GET", "/models/co2", headers=HTML).body.decode()
    for said in ("version 3", "version 4", "10% of the requests", "Drift by column", "Traffic", "Last decisions", "in MLflow"):
        assert said in text
    assert text.count("<svg") >= 3


def test_whether_it_is_signed_and_fresh_is_said() -> None:
    """Both pages say which key signed what serves and who cleared it when, and how old its stored values are; what is amiss is loud."""
    trusted = Vouched(
        version="1", key="ab12" * 16, statement=3, cleared=3, at="2026-07-01T12:00:00+00:00", by="gate", reason="ok"
    )
    stored = Freshness(entity="shop", ttl_s=86_400, oldest=1e9, newest=1e9, looked=2)
    well = standing(vouched=trusted, stored=stored)
    amiss = standing(
        vouched=replace(trusted, amiss=("its signature does not hold",)), stored=replace(stored, stale=1, refuses=False)
    )
    for text in (model.page(well), overview.page([well])):
        assert "ab12ab12ab12" in text
        assert "fresh" in text
        assert 'class="loud"' not in text
    assert "cleared to serve on 2026-07-01 12:00 UTC by the gate: ok" in model.page(well)
    for text in (model.page(amiss), overview.page([amiss])):
        assert "its signature does not hold" in text
        assert "those of 1 of 2 (shop) are older than 24 h" in text
        assert text.count('class="loud"') == 2
    assert ("2 models, 1 to look at" in overview.page([well, amiss]), "none to look at" in overview.page([well])) == (
        True,
        True,
    )


def test_nothing_runs_and_nothing_is_loaded(gateway: Running) -> None:
    """No script, no style but the one in the page, nothing loaded from anywhere; the headers forbid it too."""
    for path in ("/", "/models/co2", "/models/aged"):
        page = gateway.ask("GET", path, headers=HTML)
        tags = Tags(page.body.decode())
        assert tags.loaded == ["data:,"]
        assert not {"script", "iframe", "object", "embed", "img", "form"} & set(tags.names)
        assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")


def test_what_others_wrote_is_text(gateway: Running) -> None:
    """A reason with markup in it is shown as it was written, and is no markup."""
    text = gateway.ask("GET", "/models/aged", headers=HTML).body.decode()
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_every_text_is_escaped() -> None:
    """Markup in any field of a view, names included, stays text."""
    one = standing(
        workload=EVIL,
        said=EVIL,
        call=EVIL,
        metric=EVIL,
        champion=EVIL,
        challenger=EVIL,
        previous=EVIL,
        reason=EVIL,
        verdict=EVIL,
        since=EVIL,
        held=(EVIL,),
        run_url=f"http://127.0.0.1/{EVIL}",
        drift_page=EVIL,
        windows=(look(1, said=EVIL), look(2)),
        features=(Feature(name=EVIL, scaled=0.5),),
        replayed=(EVIL, EVIL),
        rules={"k": EVIL, "n": EVIL, "on": [EVIL]},
        vouched=Vouched(version=EVIL, key=EVIL, cleared=1, at=EVIL, by=EVIL, reason=EVIL, amiss=(EVIL,)),
        stored=Freshness(entity=EVIL, ttl_s=1, oldest=0.0, newest=1.0, looked=2, stale=1, amiss=EVIL),
    )
    for text in (model.page(one, curl=EVIL), overview.page([one])):
        assert "<script" not in text
        assert "\"'&" not in text
        assert Tags(text).loaded == ["data:,"]


def test_a_link_is_no_script() -> None:
    """A version's URL that is none of the web is not linked."""
    text = model.page(standing(run_url="javascript:alert(1)"))
    assert "javascript" not in text


@given(
    st.lists(
        st.tuples(st.sampled_from(["ok", "alarm", "unknown", "no data"]), st.none() | st.floats(0, 1e9)),
        min_size=1,
        max_size=30,
    )
)
def test_one_point_per_window(seen: list[tuple[str, float | None]]) -> None:
    """Each panel has one point per window, known or not, and the chart is well-formed."""
    one = standing(windows=tuple(look(n, state, value) for n, (state, value) in enumerate(seen)))
    chart = ElementTree.fromstring(timeline(one))
    points = [child for child in chart.iter() if child.get("class", "").startswith("point")]
    assert len(points) == 3 * len(seen)


def test_a_chart_tells_who_hears_it() -> None:
    """The chart has a title and a description; each window says what was seen in it."""
    chart = ElementTree.fromstring(timeline(standing(windows=(look(1, said="first"), look(2, "alarm", 2.0, said="second")))))
    assert chart.find("title") is not None
    assert "2 windows" in (chart.findtext("desc") or "")
    titles = [child.text or "" for child in chart.iter("title")]
    assert [said for said in ("first", "second") if any(said in title for title in titles)] == ["first", "second"]


def test_an_alarm_has_another_shape() -> None:
    """Colour is never the only sign: beyond the limit is a diamond, well is a disc."""
    chart = ElementTree.fromstring(timeline(standing(windows=(look(1), look(2, "alarm", 2.0)))))
    first = next(child for child in chart.iter("g") if child.get("class") == "first")
    assert [child.tag for child in first if child.get("class", "").startswith("point")] == ["circle", "path"]


def test_bars_mark_what_drifted() -> None:
    """A drifted column says so in words, and so does one that trends; a bar never leaves its track."""
    found = bars.drift(
        [
            Feature(name="a", scaled=99.0, drifted=True),
            Feature(name="b", scaled=1.5, trending=True),
            Feature(name="c", scaled=None),
        ]
    )
    assert ("99 ▲ drifted" in found, "1.5 trending" in found) == (True, True)
    drawn = [bar for bar in ElementTree.fromstring(found).iter("rect") if (bar.get("class") or "").startswith("bar")]
    assert [float(bar.get("width") or 0) for bar in drawn] == [300.0, 225.0, 0.0]


@pytest.mark.parametrize("path", ["/models/nothing", "/models/%3Cscript%3E", "/models/a%00b", "/models/..%2f..%2fsecret"])
def test_an_unknown_model_is_a_404(gateway: Running, path: str) -> None:
    """A workload that nobody heard of is refused, in the gateway's own form."""
    found = gateway.ask("GET", path, headers=HTML)
    assert (found.status, list(found.json)) == (404, ["error"])


def test_evidentlys_page_runs_as_nobody(gateway: Running) -> None:
    """The drift report is served, may run its own script, and can ask no host for anything, this one included."""
    found = gateway.ask("GET", "/drift/co2/2000-01-08T000000Z.html")
    policy = found.headers["content-security-policy"]
    assert (found.status, found.body) == (200, b"<script>1</script>")
    assert policy.startswith("default-src 'none'; script-src 'unsafe-inline';")
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/drift/co2/../../../secret.html",
        "/drift/co2/..%2f..%2f..%2fsecret.html",
        "/drift/co2/link.html",
        "/drift/co2/%00.html",
        "/drift/co2/",
        "/drift/bikes/2000-01-08T000000Z.html",
        "/drift/..%2fco2/2000-01-08T000000Z.html",
        "/drift/co2//etc/passwd",
    ],
)
def test_nothing_else_of_the_disk_is_served(gateway: Running, path: str) -> None:
    """A path that leads outside, through a link, or nowhere is a 404."""
    assert gateway.ask("GET", path).status == 404


def test_a_page_is_a_plain_file(tmp_path: Path) -> None:
    """A folder is no page."""
    (tmp_path / "monitor" / "co2" / "drift" / "a.html").mkdir(parents=True)
    with pytest.raises(Refusal):
        drift_page(tmp_path, "co2", "a.html")


def test_mlflow_is_linked_where_it_answers_now(tmp_path: Path) -> None:
    """A local MLflow that moved to another port is linked there; somebody else's server stays."""
    (tmp_path / "services.json").write_text('{"mlflow": "http://127.0.0.1:6000"}')
    local = standing(run_url="http://127.0.0.1:5000/#/models/co2/versions/3")
    other = standing(run_url="https://mlflow.example/#/models/co2/versions/3")
    assert moved(local, tmp_path).run_url == "http://127.0.0.1:6000/#/models/co2/versions/3"
    assert moved(other, tmp_path).run_url == other.run_url


def test_only_get_is_offered(gateway: Running) -> None:
    """A page can be asked for, and nothing be sent to it."""
    assert gateway.ask("POST", "/models/co2", "{}").status == 405


def test_a_watcher_may_ask_again_by_itself(gateway: Running) -> None:
    """`?every=N` lets the browser ask again; nonsense does not."""
    assert b'http-equiv="refresh" content="5"' in gateway.ask("GET", "/models/co2?every=5", headers=HTML).body
    assert b"http-equiv" not in gateway.ask("GET", "/models/co2?every=x%22", headers=HTML).body


def test_two_hundred_windows_are_drawn_fast(tmp_path: Path) -> None:
    """A page of 200 windows takes under 100 ms of processor time to draw, and stays under half a megabyte."""
    import time

    told = years(tmp_path, windows=200)
    one = read(told.ledger, told.records, "co2")
    took = []
    for _ in range(5):
        begun = time.thread_time()
        text = model.page(one)
        took.append(time.thread_time() - begun)
    assert len(one.windows) == 200
    assert min(took) < 0.1
    assert len(text) < 500_000


@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(1, 6))
@example(1.0000000000000002e308, 1)
def test_axes_take_any_number(most: float, wanted: int) -> None:
    """Ticks are few, rise from 0 and stay within the axis, whatever it ends at; figures are never NaN."""
    found = ticks(most, wanted)
    assert found[0] == 0
    assert found == sorted(found)
    assert len(found) <= 2 * wanted + 2
    assert "nan" not in figure(most)


def test_a_signal_nobody_knows_is_shown(tmp_path: Path) -> None:
    """A monitor that is newer than the page still gets its row in the table."""
    told = Story(tmp_path)
    told.registered("1")
    told.promoted("1")
    told.window(0.5, freshness=signal("alarm", "nothing came for a week"))
    assert "nothing came for a week" in model.page(read(told.ledger, told.records, "co2"))
