"""A kept request, read again row by row: the same in every form that a client may have sent it in."""

from __future__ import annotations

import pytest

from serving.why import asked
from tests.serving.records.samples import CLASSES, FORECAST, WEEK, answered
from training.signature import Signature

FORMS = ["v1", "v2", "v2/N"]
TIMES = [10.0 * WEEK, 11.0 * WEEK]


@pytest.mark.parametrize("form", FORMS)
def test_a_row_is_the_same_in_every_form(form: str) -> None:
    """JSON by rows, JSON by columns, raw tensors: column by column what the model got, missing values as null."""
    one = answered(FORECAST, TIMES, [[1.0, 2.0], [3.0, 4.0]], form)
    assert asked.row(one, FORECAST, 0) == {"week": "1970-03-12T00:00:00Z", "level": None}
    assert asked.row(one, FORECAST, 1) == {"week": "1970-03-19T00:00:00Z", "level": 1.5}


@pytest.mark.parametrize("form", FORMS)
def test_each_horizon_is_a_quantity(form: str) -> None:
    """A forecast's row has one per horizon, with its time and interval; other rows' are left out."""
    found = asked.quantities(answered(FORECAST, TIMES, [[1.0, 2.0], [3.0, 4.0]], form), FORECAST, 1)
    assert [(one.horizon, one.prediction, one.low, one.high) for one in found] == [(4, 3.0, -7.0, 13.0), (52, 4.0, -6.0, 14.0)]
    assert found[0].target_time == 15 * WEEK


@pytest.mark.parametrize("form", FORMS)
def test_classes_keep_their_names(form: str) -> None:
    """Text is text again, whatever is in it."""
    one = answered(CLASSES, TIMES[:1], [[0.7, 0.2, 0.1]], form, region="Größe 東京")
    assert (asked.row(one, CLASSES, 0) or {})["region"] == "Größe 東京"
    assert [quantity.label for quantity in asked.quantities(one, CLASSES, 0)] == ['do"wn']


@pytest.mark.parametrize("request_", [b"", b"{", b"[]", b'{"instances": []}', b'{"instances": [{"x": 1}]}', b"\xff\xfe"])
def test_what_cannot_be_read_is_no_row(request_: bytes) -> None:
    """Damaged or foreign requests are said to be unreadable, not guessed at."""
    one = answered(FORECAST, TIMES[:1], [[1.0, 2.0]])
    assert asked.row(one._replace(request=request_), FORECAST, 0) is None


def test_another_versions_inputs_are_not_mixed_up() -> None:
    """A request that lacks what this signature takes has no row by it."""
    other: Signature = CLASSES
    assert asked.row(answered(FORECAST, TIMES, [[1.0, 2.0], [3.0, 4.0]]), other, 0) is None
