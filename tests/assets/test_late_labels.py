"""Truth that is told late: each of it is judged in one window, in whatever order it comes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from assets import monitoring
from assets.spec import Spec
from assets.windows import Window
from serving.records import Label, Records, by_id, by_time
from tests.assets.test_loop import spec
from tests.assets.test_monitoring import WINDOW
from tests.serving.records.samples import FORECAST, WEEK, answered

SIGNATURE = FORECAST.model_copy(update={"workload": "hand"})


class Weeks:
    """Forecasts of week after week by two stations, and the windows of truth over them."""

    def __init__(self, folder: Path) -> None:
        self.records = Records(folder / "records.db")
        self.rules: Spec = spec()
        self.before: Window | None = None
        self.asked = []
        for week in range(8):
            for station in ("a", "b"):
                one = answered(SIGNATURE, [week * WEEK], [[week, week]], region=station, entities=(station,))
                self.asked.append(one._replace(workload="hand"))
        self.records.append(self.asked)
        self.records.absorb(SIGNATURE)

    def tell(self, week: int, station: str, value: float = 0.0) -> None:
        """The truth of the forecast 4 weeks ahead that was made in `week`."""
        self.records.label([Label(workload="hand", about=by_time((week + 4) * WEEK, station), value=value)])

    def judged(self) -> list[tuple[int, str, float]]:
        """What the next window judges: week, station and truth."""
        found = monitoring._labels(self.records, self.rules, self.before, end=60 * WEEK, after=0, clock=None)
        self.before = replace(self.before or WINDOW, labels_from=found.since, labels_to=found.until, told=found.told)
        four = found.rows[found.rows["horizon"] == 4]
        return [
            (int(at // WEEK), station, truth)
            for at, station, truth in zip(four["time"], four["entity"], four["truth"], strict=True)
        ]


@pytest.fixture
def weeks(tmp_path: Path) -> Weeks:
    return Weeks(tmp_path)


def test_the_truth_of_a_slow_station_is_judged_when_it_comes(weeks: Weeks) -> None:
    """A label behind the watermark is judged in the next window, once, and what was judged before is not judged again."""
    weeks.tell(0, "a")
    weeks.tell(1, "a")
    assert weeks.judged() == [(0, "a", 0.0), (1, "a", 0.0)]
    weeks.tell(0, "b", 7.0)
    weeks.tell(2, "a")
    assert sorted(weeks.judged()) == [(0, "b", 7.0), (2, "a", 0.0)]
    assert weeks.judged() == []


def test_late_truth_by_id_is_found_too(weeks: Weeks) -> None:
    """A label about a prediction's id, of a time that was judged already, is judged in the next window."""
    weeks.tell(3, "a")
    assert weeks.judged() == [(3, "a", 0.0)]
    of_week_1 = next(one.id for one in weeks.asked[2:] if one.entities == ("b",))
    weeks.records.label([Label(workload="hand", about=by_id(of_week_1, 0, horizon=4), value=5.0)])
    assert weeks.judged() == [(1, "b", 5.0)]


def test_a_corrected_truth_is_judged_as_corrected(weeks: Weeks) -> None:
    """A correction is news: the window after it judges the corrected value."""
    weeks.tell(0, "a", 1.0)
    assert weeks.judged() == [(0, "a", 1.0)]
    weeks.tell(0, "a", 2.0)
    assert weeks.judged() == [(0, "a", 2.0)]


def test_a_record_of_before_says_not_what_it_had_read(weeks: Weeks) -> None:
    """After a window whose record names no label, only truth of newer times is judged: nothing twice."""
    weeks.tell(0, "a")
    weeks.judged()
    assert weeks.before is not None
    weeks.before = replace(weeks.before, told=None)
    weeks.tell(1, "a")
    assert weeks.judged() == [(1, "a", 0.0)]
