"""The card of a version: whole, true to what the stages left, held to CycloneDX's schema, and made again where it is missing."""

import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from assets.cards import figures, sentences, validation
from assets.cards.figures import Figure
from assets.cards.rows import schema
from data import versions
from data.schema import ROW_ID, TARGET, TableSchema
from serving.cards import Card, bom_file, card_file, completeness, markdown_file, sections
from serving.cards.markdown import esc, markdown
from serving.cards.wanted import WANTED
from serving.gateway.pages.card import page
from serving.ledger import Decision
from tests.assets.judged import Workload

STATED = """  card:
    license: Apache-2.0
    data_license: CC0-1.0
    data_origin: made by hand
    people: No person is in the data.
    not_for: [anything <b>real</b>]
"""


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    made = Workload.at(tmp_path_factory.mktemp("cards"))
    root, file = made.here.places.root, made.here.places.defs("hand")
    file.write_text(file.read_text() + STATED)
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for command in (["init", "-q"], ["add", "orchestration"], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return made


def card_of(hand: Workload, version: str) -> Card:
    return Card.read(bom_file(hand.here.places.home, "hand", version))


def registered(hand: Workload) -> tuple[Card, Decision]:
    hand.fit(1.5)
    decision = hand.register()
    return card_of(hand, decision.version), decision


@pytest.mark.slow
@pytest.mark.xdist_group("cards")
def test_a_registered_version_has_a_whole_card(hand: Workload):
    """Completeness is 100 of 100; the schema holds with every format checked; Markdown and page lie beside; the ledger has the digest."""
    card, decision = registered(hand)
    assert completeness(card).missing == ()
    home, text = hand.here.places.home, json.dumps(card.document)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert decision.payload["card"] == card.digest
    assert markdown_file(home, "hand", "1").read_text() == markdown(card)
    assert card_file(home, "hand", "1").read_text() == page(card)


@pytest.mark.slow
@pytest.mark.xdist_group("cards")
def test_the_card_says_what_the_stages_left(hand: Workload):
    """Hashes are dvc.lock's, the verdict is the ledger's, the score is the evaluation's and lies in its interval, the licence is the YAML's."""
    card, decision = registered(hand)
    places = hand.here.places
    locked = versions.locked(places.root, "hand")
    scores = json.loads((places.store("hand") / "scores.json").read_text())
    assert card.component("data:dataset")["hashes"] == [{"alg": "MD5", "content": locked["dataset"]}]
    assert card.model["hashes"][0]["content"] == decision.payload["model_digest"]
    assert card.facts["verdict"] == decision.payload["verdict"]
    assert card.facts["commit"] == decision.payload["git_commit"] != "none"
    assert card.data["rows"] == "400"
    assert card.data["period"] == "2020-01-01 to 2021-02-03"
    assert card.model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    told = {(one["type"], one["slice"]): one for one in card.metrics}
    whole = told["mae", "holdout"]
    assert float(whole["value"]) == pytest.approx(scores["holdout"]["candidate"]["mae"], rel=1e-5)
    assert (
        float(whole["confidenceInterval"]["lowerBound"])
        <= float(whole["value"])
        <= float(whole["confidenceInterval"]["upperBound"])
    )
    assert float(told["mae", f"holdout, {scores['baseline']}"]["value"]) == pytest.approx(
        scores["holdout"]["baseline"]["mae"], rel=1e-5
    )
    limits = " ".join(card.considerations["technicalLimitations"])
    assert "Not for: anything <b>real</b>" in limits
    assert f"from {card.data['period'].partition(' ')[0]}" in limits


@pytest.mark.slow
@pytest.mark.xdist_group("cards")
def test_a_card_that_is_missing_is_made_again_the_same(hand: Workload):
    """Taken away, cut short before its page, or never there: the next registration makes it, says the same, and records nothing."""
    card, decision = registered(hand)
    home = hand.here.places.home
    for gone in (bom_file, card_file, markdown_file):
        card_file(home, "hand", "1").unlink()  # the last that is written: where another is missing, so is it
        gone(home, "hand", "1").unlink(missing_ok=True)
        assert hand.register() == decision
        assert card_of(hand, "1").digest == card.digest
        assert page(card).partition("Card made")[0] in card_file(home, "hand", "1").read_text()


@pytest.mark.slow
@pytest.mark.xdist_group("cards")
def test_a_card_tells_which_slices_are_weak(hand: Workload):
    """Where the model does not beat the baseline the limits name the slice; where it does everywhere, the nearest one."""
    card, _ = registered(hand)
    assert not [one for one in card.considerations["technicalLimitations"] if one.startswith("Weak slice")]
    hand.fit(-3)
    version = hand.register().version
    weak = [one for one in card_of(hand, version).considerations["technicalLimitations"] if one.startswith("Weak slice")]
    assert any("on holdout" in one for one in weak)
    measured = figures.figures(hand.spec, hand.here.places, schema(hand.spec, hand.here.places))
    assert len(weak) == sum(one.beaten for one in measured if one.metric == "mae")


def test_each_class_is_a_slice_and_a_bad_one_is_called_weak():
    """A class whose interval leaves that of the whole on the worse side is named, with its rows; the others are not."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.array(["a", "b"], dtype=object), 200)
    wrong = np.where(truth == "b", rng.random(400) < 0.5, rng.random(400) < 0.02).astype(float)
    rows = pd.DataFrame({ROW_ID: range(400), TARGET: truth})
    losses = pd.DataFrame({ROW_ID: range(400), "candidate/accuracy": wrong, "majority/accuracy": wrong}).set_index(ROW_ID)
    spec: Any = SimpleNamespace(promote=SimpleNamespace(confidence=0.9))
    found = figures._parts(spec, TableSchema(task="classification", target="y", inputs=()), rows, losses, "accuracy")
    assert [(one.slice, one.rows, one.value) for one in found] == [
        (f"truth {name}", 200, pytest.approx(1 - wrong[truth == name].mean(), rel=1e-5)) for name in ("a", "b")
    ]
    assert all(one.low is not None and one.low <= one.value <= (one.high or 0) for one in found)
    whole = Figure(metric="accuracy", slice="holdout", rows=400, value=1 - wrong.mean(), window="holdout")
    facts: Any = SimpleNamespace(figures=found)
    (said,) = sentences._weak_parts(facts, whole)
    assert said.startswith("Weak slice: on truth b its accuracy is")


def empty() -> Card:
    model = {"type": "machine-learning-model", "name": "", "modelCard": {}}
    return Card({"bomFormat": "CycloneDX", "metadata": {"component": model}, "components": []})


def test_each_wanted_field_can_be_missing():
    """A document that says nothing lacks every field: no check of completeness passes by itself."""
    said = empty()
    assert set(completeness(said).missing) == set(WANTED) - {"horizons"}
    assert completeness(said).score < 5
    said.model["modelCard"]["properties"] = [{"name": "aiprime:horizons", "value": "4, 52"}]
    assert "horizons" in completeness(Card(said.document)).missing


def test_a_document_without_a_model_is_refused(tmp_path: Path):
    """What CycloneDX's schema does not allow is our mistake, and said with its place."""
    wrong = {"bomFormat": "CycloneDX", "specVersion": "1.6", "surplus": True}
    with pytest.raises(ValueError, match="surplus"):
        validation.validate(wrong)


def test_what_others_wrote_is_no_markup():
    """A column's name can end no table, no list and no front matter, on the page or in the Markdown."""
    nasty = "| --- <script>alert(1)</script>\n---\n# x [a](javascript:b) `c`"
    card = empty()
    card.model.update(name=nasty, description=nasty, licenses=[{"license": {"name": nasty}}])
    card.model["modelCard"]["modelParameters"] = {"inputs": [{"format": f"{nasty}: number"}], "task": nasty}
    card.model["modelCard"]["considerations"] = {"useCases": [nasty]}
    assert "<script" not in page(card)
    text = markdown(card)
    assert "<script" not in text.replace("\\<script", "")
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(front)["license"] == nasty.lower()
    assert not re.search(r"^---$|^# x", body, re.M)
    assert esc("a|b") == "a\\|b"
    assert any(nasty in line for one in sections(card) for line in one.lines)


def test_the_shipped_workloads_state_what_no_machine_knows():
    """Licence of model and data, origin and people: every workload of ours says them."""
    from assets import spec
    from data.places import Places

    places = Places.find(Path(__file__))
    for name in spec.names(places):
        card = spec.load(places, name).card
        assert all((card.license, card.data_license, card.data_origin, card.people)), name


def test_an_entity_is_counted_and_not_named(tmp_path: Path):
    """Who is in the data does not leave with a card: the entity's values are a number, unless the YAML itself states them."""
    from assets.cards.rows import _values
    from data.schema import Column

    table = pd.DataFrame({"who": ["Ada", "Bo", "Bo"], "id": [7, 8, 8], "size": ["S", "L", "L"]})
    table.to_parquet(tmp_path / "x.parquet")
    with pq.ParquetFile(tmp_path / "x.parquet") as file:
        said = [
            _values(file, Column(name=name, kind=kind), hidden=hidden).said
            for name, kind, hidden in (("who", "category", True), ("id", "integer", True), ("size", "category", False))
        ]
    assert said == ["2 values", "nothing missing", "L, S"]
