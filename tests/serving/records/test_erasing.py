"""Erasure and retention: what went is gone, from the file too; what stays still verifies."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.records import Erased, Label, Records, by_id, by_time
from tests.serving.records.samples import FORECAST, WEEK, answered, new_id


def _label(about: str, value: float = 1.0) -> Label:
    return Label(workload="co2", about=about, value=value)


def test_an_erased_prediction_leaves_its_record(records: Records) -> None:
    """Content, outcomes and labels of an id go, of every role; the record, its digest and both chains stay."""
    one, other = (answered(FORECAST, [0], [[1, 2]], entities=("a",)) for _ in range(2))
    records.append([one, one._replace(role="shadow"), other])
    records.label([_label(by_id(one.id, 0, 4)), _label(by_id(other.id, 0, 4))])
    records.absorb(FORECAST)
    assert records.erase("other", ids=[one.id]) == Erased()
    assert records.erase("co2", ids=[f"{one.id}/0", new_id()]) == Erased(predictions=2, outcomes=4, labels=1)
    assert records.erase("co2", ids=[one.id]) == Erased()
    assert [(found.request, found.entities, found.status) for found in records.find(one.id)] == [(b"", (), 200)] * 2
    assert records.find(other.id)[0].request == other.request
    assert [row["truth"] for row in records.outcomes("co2", since=None, until=None, roles=None).to_pylist()] == [1.0, None]
    assert records.verify() is None


def test_an_entity_is_found_in_contents_that_were_not_absorbed(records: Records) -> None:
    """Everything about an entity goes: batches that name it beside others, what was not absorbed yet, and its labels by time."""
    records.append([answered(FORECAST, [0], [[1, 2]], entities=("a",)), answered(FORECAST, [0], [[1, 2]], entities=("b",))])
    records.absorb(FORECAST)
    records.append(
        [answered(FORECAST, [0, 0], [[1, 2], [3, 4]], entities=("b", "a")), answered(FORECAST, [0], [[1, 2]], entities=(7,))]
    )
    records.label([_label(by_time(4 * WEEK, "a")), _label(by_time(4 * WEEK, "b"))])
    assert records.count("co2", entity="a") == Erased(predictions=2, outcomes=2, labels=1)
    assert records.erase("co2", entity="a") == Erased(predictions=2, outcomes=2, labels=1)
    assert records.erase("co2", entity=7) == Erased(predictions=1)
    records.absorb(FORECAST)
    assert [row["entity"] for row in records.outcomes("co2", since=None, until=None, roles=None).to_pylist()] == ["b", "b"]
    assert records.verify() is None


def test_retention_takes_what_is_old(records: Records) -> None:
    """Before a time everything goes, in pages, and what is given besides narrows it."""
    made = [answered(FORECAST, [n], [[1, 2]], entities=("ab"[n % 2],), at=1000.0 + n) for n in range(2500)]
    for start in range(0, 2500, 500):
        records.append(made[start : start + 500])
    assert records.erase("co2", before=1010.0, entity="a").predictions == 5
    assert records.erase("co2", before=1010.0, ids=[made[1].id, made[2000].id]).predictions == 1
    assert records.erase("co2", before=3400.0).predictions == 2400 - 6
    assert records.bounds("co2").contents == 100
    assert records.bounds("co2").predictions == 2500
    assert records.verify() is None


def test_erasing_names_what(records: Records) -> None:
    """Nothing named erases nothing: it is our mistake."""
    with pytest.raises(ValueError, match="erase what"):
        records.erase("co2")


def test_nothing_of_what_was_erased_is_left_in_the_files(tmp_path: Path) -> None:
    """No file of the store holds the erased values any more, nor does the dictionary that contents were packed with."""
    secret = answered(FORECAST, [0], [[123456.789, 2]], entities=("Erika Mustermann",))
    kept = answered(FORECAST, [0], [[1, 2]], entities=("b",))
    records = Records.at(tmp_path)
    records.append([secret, kept])
    records.label([_label(by_time(4 * WEEK, "Erika Mustermann"), 7654.25)])
    records.absorb(FORECAST)
    records.erase("co2", entity="Erika Mustermann")
    records.close()
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for value in (b"Erika", b"123456.789", b"7654.25"):
        assert value not in files
    assert records.find(kept.id)[0].answer == kept.answer
