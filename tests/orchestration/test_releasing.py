"""`aiprime release`: what a person sees, and what they may decide, each time with a reason that stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.errors import UserError
from data.places import Places
from orchestration import releasing
from serving import routes
from serving.deploy import LocalTarget
from serving.ledger import Ledger
from serving.release import Exposure
from serving.supervision import Supervisor
from tests.serving.test_deploy import register, served

ROOT = Path(__file__).parents[2]
WHY = "the sensor at the second station was moved"


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    """Versions 1 to 4 of co2 are registered: 1 is the champion, the gate refused 4."""
    found = Places(root=ROOT, home=tmp_path / "home")
    ledger = Ledger.at(found.home)
    for version in (1, 2, 3, 4):
        register(found.home, version)
        verdict = "refused: worse than the champion" if version == 4 else "passed: mae 0.3"
        payload = {**ledger.history("co2", "registered")[-1].payload, "passed": version != 4, "verdict": verdict}
        ledger.record("registered", "co2", version, payload)
    LocalTarget(found.home).release("co2", 1, expected=None, reason="the first")
    yield found
    Supervisor(found.home).shutdown()


def states(places: Places) -> dict[str, str]:
    return {one["version"]: one["state"] for one in releasing.versions(places, "co2")}


def expose(places: Places, version: int, at: Exposure) -> None:
    fence = Ledger.at(places.home).release("co2").fence
    LocalTarget(places.home).expose("co2", version, at, expected=fence, reason="passed")


def test_the_list_says_what_each_version_is(places: Places) -> None:
    """Newest first: champion, previous, challenger and its step, held, refused, with the verdict and since when."""
    assert states(places) == {"4": "refused", "3": "registered", "2": "registered", "1": "champion"}
    expose(places, 2, Exposure(step=0, shadow=True))
    assert states(places)["2"] == "challenger at step 0 (shadow)"
    releasing.change(places, "approved", "co2", None, WHY)
    assert states(places)["2"] == "challenger at step 0 (shadow, approved)"
    releasing.rollback(places, "co2", None, WHY)
    releasing.promote(places, "co2", "3", WHY, override=False)
    assert states(places) == {"4": "refused", "3": "champion", "2": "held", "1": "previous"}
    ledger = Ledger.at(places.home)
    since = {one["version"]: one["since"] for one in releasing.versions(places, "co2")}
    assert since["3"] == since["1"] == ledger.history("co2", "promoted")[-1].at
    assert since["2"] == ledger.history("co2", "rolled_back")[0].at
    text = releasing.versions_text(releasing.versions(places, "co2"))
    assert text.splitlines()[0] == "co2"
    assert "refused: worse than the champion" in text
    assert " unsigned " in text  # for these are made by hand


def test_a_person_promotes_past_the_rollout(places: Places) -> None:
    """Without a version the challenger becomes the champion; the record is a person's, with the reason."""
    with pytest.raises(UserError, match="no rollout is under way"):
        releasing.promote(places, "co2", None, WHY, override=False)
    expose(places, 2, Exposure(step=1, share=0.1))
    done = releasing.promote(places, "co2", None, WHY, override=False)
    assert done.said == "version 2 is the champion; before it was 1"
    assert served(places.home) == "2"
    record = Ledger.at(places.home).champion("co2")
    assert record is not None
    assert (record.actor, record.payload["reason"]) == ("person", WHY)
    assert json.loads(json.dumps(vars(done)))["release"]["champion"] == "2"


def test_a_refused_version_needs_an_override(places: Places) -> None:
    """What the gate refused is promoted only with --override; the refusals and the reason stay on record."""
    with pytest.raises(UserError, match="was refused: refused: worse than the champion"):
        releasing.promote(places, "co2", "4", WHY, override=False)
    with pytest.raises(UserError, match="needs a reason"):
        releasing.promote(places, "co2", "4", "  ", override=True)
    assert served(places.home) == "1"
    releasing.promote(places, "co2", "4", WHY, override=True)
    record = Ledger.at(places.home).champion("co2")
    assert record is not None
    assert record.payload["override"] == WHY
    assert record.payload["refused"] == ["refused: worse than the champion"]
    with pytest.raises(UserError, match="never registered"):
        releasing.promote(places, "co2", "9", WHY, override=True)


def test_a_person_goes_back(places: Places) -> None:
    """With a challenger it goes; without one the version before the champion serves again; then there is nothing to go back to."""
    releasing.promote(places, "co2", "2", WHY, override=False)
    expose(places, 3, Exposure(step=1, share=0.1))
    assert releasing.rollback(places, "co2", None, WHY).said == "version 3 is out and held; 2 serves"
    assert routes.read(places.home)["co2"].challenger is None
    assert releasing.rollback(places, "co2", None, WHY).said == "version 1 serves again; 2 is held"
    assert served(places.home) == "1"
    with pytest.raises(UserError, match="no version to go back to"):
        releasing.rollback(places, "co2", None, WHY)
    with pytest.raises(UserError, match="does not lead to it"):
        releasing.rollback(places, "co2", "4", WHY)


def test_the_champion_can_be_named_while_a_challenger_is_tried(places: Places) -> None:
    """A rollback that names the champion leaves the challenger's rollout too: it was a comparison with that champion."""
    releasing.promote(places, "co2", "2", WHY, override=False)
    expose(places, 3, Exposure(step=1, share=0.1))
    releasing.rollback(places, "co2", "2", WHY)
    assert states(places) == {"4": "refused", "3": "registered", "2": "held", "1": "champion"}


def test_a_pause_is_a_record(places: Places) -> None:
    """Pausing and resuming are a person's decisions with a reason; pausing what is paused is told."""
    releasing.change(places, "paused", "co2", None, WHY)
    assert releasing.versions_text(releasing.versions(places, "co2")).startswith("co2  (paused")
    with pytest.raises(UserError, match="paused already"):
        releasing.change(places, "paused", "co2", None, WHY)
    releasing.change(places, "resumed", "co2", None, WHY)
    kinds = [(one.kind, one.actor) for one in Ledger.at(places.home).history("co2")][-2:]
    assert kinds == [("paused", "person"), ("resumed", "person")]
    with pytest.raises(UserError, match="not the challenger"):
        releasing.change(places, "approved", "co2", None, WHY)


def test_the_command_says_it_as_text_and_as_json(places: Places) -> None:
    """`aiprime release` prints a line for people and JSON for scripts; without a reason it does nothing."""

    def aiprime(*words: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"AIPRIME_HOME": str(places.home)}
        code = "from tests.serving import stand_in; stand_in.allow(); from orchestration.cli import main; main()"
        command = [sys.executable, "-c", code, "release", *words]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert "champion" in aiprime("list", "co2").stdout
    assert aiprime("promote", "co2", "2").returncode == 2
    told = aiprime("promote", "co2", "4", "--reason", WHY)
    assert (told.returncode, told.stdout) == (1, "")
    assert "--override promotes it all the same" in told.stderr
    done = json.loads(aiprime("promote", "co2", "2", "--reason", WHY, "--json").stdout)
    assert done["release"]["champion"] == "2"
    assert aiprime("rollback", "co2", "--reason", WHY).stdout == "co2: version 1 serves again; 2 is held\n"
    assert {one["version"]: one["state"] for one in json.loads(aiprime("list", "co2", "--json").stdout)}["2"] == "held"
    assert "no workload 'heaven'" in aiprime("pause", "heaven", "--reason", WHY).stderr
