"""The gateway's pages in a real browser, made from a story in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from data import drift
from data.schema import Column
from tests.end_to_end.browser import browser
from tests.serving.gateway.conftest import Running, started
from tests.serving.standing.story import years

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("pages")
    years(home)
    running = started(home)
    yield running
    running.end()


def errors(page: Any) -> list[dict[str, Any]]:
    """What the browser complained of: a resource that was refused, a script that failed."""
    return [one for one in page.get_log("browser") if one["level"] == "SEVERE"]


def test_a_person_sees_a_model_age_and_recover(gateway: Running, tmp_path: Path) -> None:
    """Without JavaScript the overview leads to a model's page, whose chart is drawn with every window; the browser has no complaint."""
    with browser(tmp_path) as page:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        page.get(f"http://127.0.0.1:{gateway.port}/")
        page.find_element(By.LINK_TEXT, "co2").click()
        WebDriverWait(page, 10).until(lambda page: page.title == "co2: AI Prime")
        chart = page.find_element(By.CSS_SELECTOR, ".chart svg")
        assert chart.is_displayed()
        assert chart.size["width"] > 700
        assert len(chart.find_elements(By.CSS_SELECTOR, ".first .point")) == 2 * 40  # error and drift
        alarm = chart.find_element(By.CSS_SELECTOR, ".point.alarm").value_of_css_property("fill")
        assert alarm != chart.find_element(By.CSS_SELECTOR, ".point.ok").value_of_css_property("fill")
        assert page.find_element(By.CSS_SELECTOR, ".badge").text.endswith("healthy")
        assert errors(page) == []


def test_a_narrow_screen_does_not_scroll_sideways(gateway: Running, tmp_path: Path) -> None:
    """On a telephone's width the page itself fits; the wide chart scrolls in its frame."""
    with browser(tmp_path, (500, 900)) as page:
        page.get(f"http://127.0.0.1:{gateway.port}/models/co2")
        wide, seen = page.execute_script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= seen


def test_evidentlys_report_is_one_click_away_and_alone(gateway: Running, tmp_path: Path) -> None:
    """Evidently's own page draws under the gateway's rules: its scripts run, as nobody, and none of them asks anybody for anything."""
    seed = np.random.default_rng(0)
    known = pd.DataFrame({"a": seed.normal(size=2000), "b": seed.choice(list("xyz"), 2000)})
    moved = pd.DataFrame({"a": seed.normal(2, 1, size=300), "b": seed.choice(list("xyz"), 300)})
    columns = [Column(name="a", kind="number"), Column(name="b", kind="category")]
    limits = drift.calibrate(known, columns, window=300)
    file = gateway.home / "monitor" / "co2" / "drift" / "2000-01-08T000000Z.html"
    file.parent.mkdir(parents=True)
    drift.compare(moved, drift.reference(known, columns), limits, html=file)
    with browser(tmp_path / "profile") as page:
        page.get(f"http://127.0.0.1:{gateway.port}/drift/co2/{file.name}")
        drawn = WebDriverWait(page, 30).until(lambda page: page.find_elements(By.CSS_SELECTOR, ".js-plotly-plot svg"))
        assert drawn
        assert page.execute_script("return window.origin") == "null"
        assert errors(page) == []
