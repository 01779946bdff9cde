"""PROV: documents that the library itself reads back as the same, whatever stands in them."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prov.model import ProvActivity, ProvDocument, ProvEntity, ProvGeneration, ProvUsage

from data.errors import UserError
from tests.training.lineage.walks import walk
from training import lineage
from training.lineage import prov

EVIL = "<a b='c\"'>\\ %% ) , endDocument\n東京\u202e"


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("evil", ["", EVIL])
@pytest.mark.parametrize("form", ["json", "provn"])
def test_a_document_comes_back_as_it_went(form: str, evil: str, gone: bool) -> None:
    """PROV-JSON and PROV-N round trip, with hostile text in every value."""
    told = walk(evil=evil, gone=gone)
    assert ProvDocument.deserialize(content=prov.text(told, form), format=form) == prov.document(told)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30).filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text)))
@example("~'()*!")
@example("\x00\x0b")
def test_any_text_survives(evil: str) -> None:
    """Names, values and reasons may be any text."""
    told = walk(evil=evil)
    assert ProvDocument.deserialize(content=prov.text(told, "json"), format="json") == prov.document(told)


def test_keys_do_not_contradict_each_other() -> None:
    """PROV-CONSTRAINTS 22-29: records of one name can be merged, so no entity is an activity, and nothing is generated twice."""
    document = prov.document(walk())
    merged = document.unified()
    names = {kind: {record.identifier for record in merged.get_records(kind)} for kind in (ProvEntity, ProvActivity)}
    assert not names[ProvEntity] & names[ProvActivity]
    generated = [str(dict(record.formal_attributes)[_entity(record)]) for record in merged.get_records(ProvGeneration)]
    assert len(generated) == len(set(generated))


def test_what_is_used_is_described() -> None:
    """No usage or generation leads to something that the document does not name."""
    document = prov.document(walk())
    named = {record.identifier for record in document.get_records(ProvEntity)}
    for record in (*document.get_records(ProvUsage), *document.get_records(ProvGeneration)):
        assert dict(record.formal_attributes)[_entity(record)] in named


def test_the_answer_leads_back_to_data_and_code() -> None:
    """The chain that the document is for: answer, model, dataset, code."""
    derived = {
        (one["prov:generatedEntity"], one["prov:usedEntity"])
        for one in json.loads(prov.text(walk(), "json"))["wasDerivedFrom"].values()
    }
    answer = "ap:answer/01a1ff24-40e4-74ed-bf1d-8e11d9be2f11/0/champion"
    assert {
        (answer, "ap:model/co2/2"),
        ("ap:model/co2/2", "ap:dataset/co2/v1"),
        ("ap:model/co2/2", f"ap:code/{'c' * 40}/clean"),
    } <= derived


def test_another_kind_is_refused() -> None:
    """A kind that is none names those that are."""
    with pytest.raises(UserError, match="no kind of document 'pdf'"):
        lineage.document(walk(), "pdf")


def _entity(record: object) -> object:
    return next(name for name, _ in record.formal_attributes if name.localpart == "entity")  # pyright: ignore[reportAttributeAccessIssue]
