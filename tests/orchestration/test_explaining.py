"""`aiprime why` at the terminal: text, JSON, and documents of other standards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prov.model import ProvDocument

from data.errors import UserError
from data.places import Places
from orchestration import explaining
from tests.serving.why.home import EVIL, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def why(home: Home, prediction_id: str, explain: bool = False) -> dict:
    places = Places(root=home.home, home=home.home)
    return explaining.why(places, prediction_id, role=None, wanted=None, explain=explain)


def test_every_step_is_told_with_its_source(home: Home) -> None:
    """Numbered, in order, and what is gone is in capitals."""
    told = explaining.text(why(home, home.answered((1.0, 2.0, 3.0))))
    assert [f"{number:>2}. " in told for number in range(1, 12)] == [True] * 11
    assert "[records.db, record 1]" in told
    assert "GONE: " in told  # nothing is signed in this home
    assert "<script>" in told  # a terminal is no page: the text is what was recorded
    assert all(letter.isprintable() or letter == "\n" for letter in told)  # but it commands no terminal
    assert not EVIL.isprintable()


def test_the_exports_are_read_back(home: Home, tmp_path: Path) -> None:
    """The kind follows from the file's name, and each file is one of its standard."""
    found = why(home, home.answered((1.0, 2.0, 3.0)))
    for name, form in (("a.json", "json"), ("a.provn", "provn")):
        explaining.write(found, tmp_path / name, ("prov-json", "prov-n"))
        assert ProvDocument.deserialize(content=(tmp_path / name).read_text(), format=form).get_records()
    explaining.write(found, tmp_path / "events.json", ("openlineage",))
    assert {event["eventType"] for event in json.loads((tmp_path / "events.json").read_text())} == {"START", "COMPLETE"}
    with pytest.raises(UserError, match=r"end its name in \.json or \.provn"):
        explaining.write(found, tmp_path / "a.pdf", ("prov-json", "prov-n"))


def test_an_unknown_id_is_a_persons_mistake(home: Home) -> None:
    """Told in words."""
    with pytest.raises(UserError, match="no prediction 0190"):
        why(home, "0190a000-0000-7000-8000-000000000000")


@pytest.mark.slow
def test_the_answer_is_explained(home: Home) -> None:
    """Each input with its value, the usual one and its weight; what cannot be explained says why instead."""
    prediction_id = home.answered((1.0, 2.0, 3.0))
    assert "no keys" in explaining.text(why(home, prediction_id, explain=True))  # nobody signed it
    home.sign()
    told = explaining.text(why(home, prediction_id, explain=True))
    assert "usually 4.5, here 6" in told
    assert "+1.5" in told
    assert "n2 = 3 (usually 1.5)" in told
    (home.folder / "model.onnx").write_bytes(b"another")
    assert "model.onnx is not the file that was signed" in explaining.text(why(home, prediction_id, explain=True))
