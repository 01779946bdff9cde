"""Packing: small, reversible, and with a dictionary that knows names only."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.records.packing import Packer, dictionary_for
from serving.records.prediction import Content
from tests.serving.records.samples import CLASSES, FORECAST, answered, prediction


@given(content=st.binary(max_size=5000), dictionary=st.binary(max_size=3000))
def test_packing_is_undone(content: bytes, dictionary: bytes) -> None:
    """Any content comes back, with any dictionary."""
    assert Packer(1, dictionary).unpack(Packer(1, dictionary).pack(content)) == content


@given(stored=st.binary(max_size=200))
def test_what_was_not_packed_is_refused(stored: bytes) -> None:
    """Bytes of another origin are a ValueError, never another error; and what is cut off or longer is refused."""
    packed = Packer(1, b"").pack(b"some content")
    for wrong in (packed[:-1], packed + b"x"):
        with pytest.raises(ValueError, match="cannot be unpacked"):
            Packer(1, b"").unpack(wrong)
    with suppress(ValueError):  # by chance it may have been
        Packer(1, b"").unpack(stored)


@pytest.mark.parametrize("form", ["v1", "v2", "v2/N"])
def test_the_dictionary_holds_no_value(form: str) -> None:
    """It outlives what is erased, so it holds the names of a request and no value of any, also where a column is called `name`."""
    one = answered(CLASSES, [123456789], [[0.625, 0.25, 0.125]], form, region="Erika")
    dictionary = dictionary_for(one)
    assert b"region" in dictionary
    for value in (b"Erika", b"1973", b"0.625", b"1.5"):
        assert value not in dictionary
    named = prediction(request=json.dumps({"instances": [{"name": "Erika", "inputs": [{"name": "Erika"}]}]}).encode())
    assert b"Erika" not in dictionary_for(named)


def test_the_dictionary_makes_contents_smaller() -> None:
    """A forecast takes less than half of its bytes."""
    first, second = (answered(FORECAST, [n], [[n, 2]]).content() for n in range(2))
    dictionary = dictionary_for(answered(FORECAST, [5], [[7, 2]]))
    assert len(Packer(1, dictionary).pack(second)) < len(first) / 2


@given(raw=st.binary(max_size=60))
def test_a_content_of_wrong_form_is_refused(raw: bytes) -> None:
    """Bytes that are no content are a ValueError."""
    with suppress(ValueError):
        Content.read(raw)
        assert len(raw) >= 16
