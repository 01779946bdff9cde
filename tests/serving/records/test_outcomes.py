"""Outcomes: what was predicted, in whatever form it was asked and answered, beside the newest truth about it."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.records import Agreement, Label, Records, Traffic, Watermark, by_id, by_time
from tests.serving.records.samples import CLASSES, FORECAST, PLAIN, WEEK, answered, prediction
from training.signature import Signature

FORMS = ("v1", "v2", "v2/N")


def rows(records: Records, workload: str, **chosen: Any) -> list[dict[str, Any]]:
    """The outcomes as plain values."""
    asked: dict[str, Any] = {"since": None, "until": None, "roles": None}
    return records.outcomes(workload, **asked | chosen).to_pylist()


def truth(workload: str, about: str, value: str | float) -> Label:
    return Label(workload=workload, about=about, value=value)


@pytest.mark.parametrize("form", FORMS)
def test_forecasts_are_one_row_per_horizon(records: Records, form: str) -> None:
    """A forecast of several rows gives each row's horizons with their target times and 80 % interval, in every form alike."""
    one = answered(FORECAST, [0, WEEK], [[10, 20], [30, 40]], form, entities=("a", "b"), at=1e9 + 0.5)
    records.append([one])
    assert records.absorb(FORECAST) == 1
    found = rows(records, "co2")
    assert [row["id"] for row in found] == [bytes.fromhex(one.id.replace("-", ""))] * 4
    shared = {"sequence": 1, "version": "1", "role": "champion", "at": 1e9 + 0.5, "truth": None}
    expected = [
        {"row": n, "horizon": h, "entity": "ab"[n], "time": n * WEEK, "target_time": (n + h) * WEEK}
        | {"prediction": value, "low": value - 10, "high": value + 10}
        for n, h, value in [(0, 4, 10.0), (0, 52, 20.0), (1, 4, 30.0), (1, 52, 40.0)]
    ]
    assert [{k: v for k, v in row.items() if k != "id"} for row in found] == [shared | row for row in expected]


@pytest.mark.parametrize("form", FORMS)
def test_classes_come_with_their_probabilities(records: Records, form: str) -> None:
    """A classification gives label and confidence; a truth gives the probability of the true class, 0 for one that is unknown."""
    records.append([answered(CLASSES, [0, 1800, 3600], [[0.25, 0.5, 0.25], [0.125, 0.125, 0.75], [1, 0, 0]], form)])
    records.label([truth("elec2", by_time(1800, "NSW"), 'do"wn'), truth("elec2", by_time(3600, "NSW"), "üp")])
    records.absorb(CLASSES)
    records.label([truth("elec2", by_time(5400, "NSW"), "sideways")])
    found = rows(records, "elec2")
    assert [(row["label"], row["confidence"]) for row in found] == [("same", 0.5), ("üp", 0.75), ('do"wn', 1.0)]
    assert [(row["truth"], row["p_true"]) for row in found] == [('do"wn', 0.25), ("üp", 0.75), ("sideways", 0.0)]
    assert [(row["entity"], row["horizon"], row["target_time"]) for row in found] == [("NSW", 1, n * 1800) for n in (1, 2, 3)]


@pytest.mark.parametrize("form", FORMS)
def test_plain_rows_have_neither_time_nor_horizon(records: Records, form: str) -> None:
    """A regression without time stands at the time of its answer, and is labelled by its id."""
    one = answered(PLAIN, [0, 0], [1.5, 2.5], form, at=1234.75)
    records.append([one])
    records.label([truth("prices", by_id(f"{one.id}/1"), "2.75")])
    records.absorb(PLAIN)
    found = rows(records, "prices")
    assert [(row["row"], row["horizon"], row["entity"], row["time"], row["target_time"]) for row in found] == [
        (0, None, None, 1234, 1234),
        (1, None, None, 1234, 1234),
    ]
    assert [(row["prediction"], row["low"], row["truth"]) for row in found] == [(1.5, None, None), (2.5, None, 2.75)]


@pytest.mark.parametrize("early", [True, False])
def test_labels_find_outcomes_before_and_after_they_were_absorbed(records: Records, early: bool) -> None:
    """By id and horizon, or by entity and target time; a shadow's row has the same truth; the newest label wins, whichever way it came."""
    one = answered(FORECAST, [0], [[10, 20]], entities=("a",))
    other = answered(FORECAST, [0], [[1, 2]], entities=("b",))
    records.append([one, one._replace(role="shadow", version="2"), other])
    if not early:
        records.absorb(FORECAST)
    records.label(
        [truth("co2", by_time(4 * WEEK, "a"), 7), truth("co2", by_id(one.id, 0, 52), 8), truth("co2", by_id(one.id), 99)]
    )
    records.absorb(FORECAST)
    expected = {(1, 4): 7.0, (1, 52): 8.0, (2, 4): 7.0, (2, 52): 8.0, (3, 4): None, (3, 52): None}
    assert {(row["sequence"], row["horizon"]): row["truth"] for row in rows(records, "co2")} == expected
    records.label(
        [
            truth("co2", by_id(one.id, 0, 4), 5),
            truth("co2", by_time(52 * WEEK, "a"), 6),
            truth("co2", by_time(4 * WEEK, "b"), "no number"),
        ]
    )
    expected |= {(1, 4): 5.0, (1, 52): 6.0, (2, 4): 5.0, (2, 52): 6.0}
    assert {(row["sequence"], row["horizon"]): row["truth"] for row in rows(records, "co2")} == expected


def test_the_only_entity_need_not_be_named(records: Records) -> None:
    """Where a workload has one entity, predictions and labels that leave it out belong to it; where it has several, nothing is guessed."""
    named, unnamed = answered(FORECAST, [0], [[1, 2]], entities=("a",)), answered(FORECAST, [0], [[3, 4]])
    records.append([named, unnamed])
    records.absorb(FORECAST)
    records.label([truth("co2", by_time(4 * WEEK), 5), truth("co2", by_time(52 * WEEK, "a"), 6)])
    assert [row["truth"] for row in rows(records, "co2")] == [None, 6.0, None, None]
    records.absorb(FORECAST, "a")
    assert [row["truth"] for row in rows(records, "co2")] == [5.0, 6.0, 5.0, 6.0]


def test_outcomes_are_chosen_by_time_role_version_and_sequence(records: Records) -> None:
    """Target times from `since` to before `until`; roles, versions, labelled or not, behind a sequence number."""
    for week in range(6):
        one = answered(FORECAST, [week * WEEK], [[week, week]], entities=("a",), version=str(week % 2))
        records.append([one, one._replace(role="shadow", version="9")])
    records.absorb(FORECAST)
    records.label([truth("co2", by_time(5 * WEEK, "a"), 1)])

    def weeks(**chosen: Any) -> list[tuple[float, str]]:
        return [(row["prediction"], row["role"][0]) for row in rows(records, "co2", **chosen)]

    assert weeks(since=5 * WEEK, until=7 * WEEK) == [(1, "c"), (1, "s"), (2, "c"), (2, "s")]
    assert weeks(since=5 * WEEK, until=7 * WEEK, roles=["champion"], versions=["1"]) == [(1, "c")]
    assert weeks(labelled=True) == [(1, "c"), (1, "s")]
    assert weeks(since=0, until=7 * WEEK, labelled=False, roles=("champion",)) == [(0, "c"), (2, "c")]
    assert records.unlabelled("co2", since=0, until=7 * WEEK, roles=("champion",)) == 2
    assert weeks(after=10, roles=["shadow"]) == [(5, "s"), (5, "s")]
    assert weeks(roles=[]) == []


@pytest.mark.parametrize(("after", "newest"), [(0, [6, 7, 8]), (2, [6, 7, 8]), (7, [8])])
def test_the_newest_outcomes_are_chosen(records: Records, after: int, newest: list[int]) -> None:
    """`most` keeps the newest, in order: a short read however many there are."""
    records.append([answered(PLAIN, [n], [float(n)], at=float(n)) for n in range(8)])
    records.absorb(PLAIN)
    assert [row["sequence"] for row in rows(records, "prices", after=after, most=3)] == newest
    assert records.outcomes("prices", since=None, until=None, roles=None, most=0).num_rows == 0


def test_the_watermark_is_the_newest_known_target_time(records: Records) -> None:
    """How far truth is known, of how much that is due; nothing known gives no time."""
    assert records.watermark("co2") == Watermark(time=None, labelled=0, due=0)
    records.append([answered(FORECAST, [n * WEEK], [[1, 2]], entities=("a",)) for n in range(3)])
    records.absorb(FORECAST)
    assert records.watermark("co2").time is None
    records.label([truth("co2", by_time(4 * WEEK, "a"), 1), truth("co2", by_time(6 * WEEK, "a"), 1)])
    assert records.watermark("co2") == Watermark(time=6 * WEEK, labelled=2, due=3)
    assert records.watermark("co2", since=5 * WEEK) == Watermark(time=6 * WEEK, labelled=1, due=2)


def test_what_cannot_be_read_is_counted_and_stops_nothing(records: Records, caplog: pytest.LogCaptureFixture) -> None:
    """Failed requests predict nothing; an answer that makes no sense is logged by its id, and the rest is read."""
    bad = prediction(request=b"\xff", entities=("a",))
    good = answered(FORECAST, [0], [[1, 2]], entities=("a",))
    records.append([bad, good._replace(id=bad.id, role="shadow", answer=b"{}"), prediction(status=0, answer=b""), good])
    with caplog.at_level(logging.WARNING):
        assert records.absorb(FORECAST) == 4
    assert {row["sequence"] for row in rows(records, "co2")} == {4}
    assert sum(bad.id in line for line in caplog.messages) == 2
    assert records.absorb(FORECAST) == 0


def test_absorbing_goes_on_where_it_stood_over_many_chunks(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each prediction is read in once, other workloads' are left, in as many chunks as it takes."""
    monkeypatch.setattr("serving.records.absorbing._CHUNK", 7)
    for n in range(30):
        records.append([answered(FORECAST, [n * WEEK], [[n, n]], entities=("a",)), prediction("other")])
        records.label([truth("co2", by_time((4 + n) * WEEK, "a"), n), truth("other", by_time(n), 1)])
        if n % 10 == 5:
            records.absorb(FORECAST)
    assert records.absorb(FORECAST) == 30 - 26
    found = rows(records, "co2")
    assert [row["prediction"] for row in found[::2]] == list(range(30))
    assert [row["truth"] for row in found[::2]] == list(range(30))


_ABSORBER = """
import sys
from pathlib import Path
from serving.records import Records
from tests.serving.records.samples import FORECAST
url = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
print(Records(url).absorb(FORECAST, "a"))
"""


def test_two_processes_absorb_at_once(records: Records, database: Path | str) -> None:
    """Each prediction is read by one of them, whole."""
    records.append([answered(FORECAST, [n * WEEK], [[n, n]]) for n in range(2500)])
    records.label([truth("co2", by_time(4 * WEEK, "a"), 1)])
    code = [sys.executable, "-c", _ABSORBER, str(database)]
    both = [subprocess.Popen(code, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    done = [int(one.communicate(timeout=120)[0]) for one in both]
    assert sum(done) == 2500
    assert len(rows(records, "co2")) == 5000
    assert rows(records, "co2")[0]["truth"] == 1.0


def test_outcomes_are_made_again_where_the_records_are_older(tmp_path: Path) -> None:
    """A store that was put back from a copy gets outcomes of what it holds."""
    import shutil

    first, second = tmp_path / "first", tmp_path / "second"
    records = Records.at(first)
    records.append([answered(FORECAST, [0], [[1, 2]], entities=("a",))])
    records.close()
    records.verify()
    shutil.copytree(first, second)
    records.append([answered(FORECAST, [n], [[3, 4]], entities=("a",)) for n in range(3)])
    records.absorb(FORECAST)
    records.close()
    for file in first.glob("outcomes.db*"):
        shutil.copy(file, second)
    old = Records.at(second)
    assert old.absorb(FORECAST) == 1
    assert [row["prediction"] for row in rows(old, "co2")] == [1.0, 2.0]


def test_traffic_is_counted_by_version_and_role(records: Records) -> None:
    """Requests, errors, and latencies by nearest rank of those that were answered, behind a sequence number."""
    records.append([prediction(latency_ms=1000, version="0")])
    records.append([prediction(latency_ms=float(n)) for n in range(1, 101)])
    records.append([prediction(status=status, latency_ms=500) for status in (0, 503, 400)])
    records.append([prediction(role="challenger", version="2", status=status, latency_ms=3) for status in (200, 400, 0)])
    found = records.traffic("co2", after=1)
    assert found["1", "champion"] == Traffic(requests=103, errors=2, p50_ms=51.0, p99_ms=100.0)
    assert found["2", "challenger"] == Traffic(requests=3, errors=2, p50_ms=3.0, p99_ms=3.0)
    assert set(found) == {("1", "champion"), ("2", "challenger")}
    assert records.traffic("none", after=0) == {}


@pytest.mark.parametrize(
    ("signature", "champion", "shadow", "expected"),
    [
        (FORECAST, [10, 20], [12, 18], Agreement(n=2, difference=0.1)),  # 2 of an interval of 20
        (PLAIN, 8.0, 10.0, Agreement(n=1, difference=0.25)),
        (CLASSES, [0.5, 0.25, 0.25], [0.25, 0.5, 0.25], Agreement(n=1, equal=0.0)),
        (CLASSES, [0.5, 0.25, 0.25], [0.75, 0.25, 0], Agreement(n=1, equal=1.0)),
    ],
)
def test_a_shadow_is_compared_with_the_champion_by_id(
    records: Records, signature: Signature, champion: Any, shadow: Any, expected: Agreement
) -> None:
    """Equal labels, or the mean difference in units of the champion's interval (without one: of its size), of pairs alone."""
    one = answered(signature, [0], [champion])
    other = answered(signature, [0], [shadow])._replace(id=one.id, role="shadow", version="2")
    alone = answered(signature, [0], [shadow], role="shadow", version="2")
    records.append([one, other, alone])
    records.absorb(signature)
    found = records.agreement(signature.workload, after=0, version="2")
    assert (found.n, found.equal, found.difference and round(found.difference, 9)) == (
        expected.n,
        expected.equal,
        expected.difference,
    )
    assert records.agreement(signature.workload, after=2).n == 0
    assert records.agreement(signature.workload, after=0, version="3").n == 0
